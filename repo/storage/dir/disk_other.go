//go:build !unix

package dir

import (
	"errors"
	"os"
	"syscall"
)

const (
	openFlags     = 0
	syncFileFlags = os.O_RDWR // Windows flushes nothing through a handle that can't write
)

func syncFile(f *os.File) error { return f.Sync() }

// syncFolder does nothing: there is no such call.
func syncFolder(*os.Root, string) error { return nil }

// isFull reports whether err is Windows's ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL or ERROR_DISK_QUOTA_EXCEEDED.
func isFull(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && (errno == 112 || errno == 39 || errno == 1295)
}
