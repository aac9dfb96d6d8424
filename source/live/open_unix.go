//go:build unix && !linux

package live

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Stat is what the system knows about a file.
type Stat = unix.Stat_t

func openIn(dirfd int, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.ENXIO):
			return nil, fmt.Errorf("%w: %w", ErrNotRegular, err)
		case !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
}

func statOf(f *os.File) (Stat, error) {
	var st Stat
	err := unix.Fstat(int(f.Fd()), &st)
	return st, err
}

func withSize(st Stat, size int64) Stat {
	st.Size = size
	return st
}

func unchanged(a, b Stat) bool {
	return a.Size == b.Size && a.Ino == b.Ino && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}
