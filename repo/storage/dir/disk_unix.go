//go:build unix

package dir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	openFlags     = unix.O_NONBLOCK // a FIFO under an object's name must not hold us up
	syncFileFlags = os.O_RDONLY     // enough for fsync, and objects may be read-only
)

// syncFile is fsync. macOS has a stronger one that os uses, which some of its file systems (exFAT, shares) refuse with varying
// errors; they get the plain one.
func syncFile(f *os.File) error {
	err := f.Sync()
	if !noFolderSync(err) && !errors.Is(err, unix.ENOTTY) {
		return err
	}
	conn, connErr := f.SyscallConn()
	if connErr != nil {
		return err
	}
	if connErr := conn.Control(func(fd uintptr) { err = unix.Fsync(int(fd)) }); connErr != nil {
		return connErr
	}
	return err
}

func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	err = syncFile(f)
	if noFolderSync(err) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// isFull reports whether err says that there is no room, or no quota.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
