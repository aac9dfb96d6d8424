package dir

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the kernel to begin to write a part of a file. It is only a hint, so errors are for the fsync to find: this
// flag alone waits for nothing, and takes no error away from it.
func startWriteback(f *os.File, off, n int64) {
	control(f, func(fd uintptr) { _ = unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE) })
}
