//go:build unix

package source

import (
	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sys/unix"
)

func typeOf(mode uint32) snapshot.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return snapshot.File
	case unix.S_IFDIR:
		return snapshot.Dir
	case unix.S_IFLNK:
		return snapshot.Symlink
	case unix.S_IFIFO:
		return snapshot.FIFO
	case unix.S_IFSOCK:
		return snapshot.Socket
	case unix.S_IFCHR:
		return snapshot.CharDevice
	case unix.S_IFBLK:
		return snapshot.BlockDevice
	}
	return 0
}

// timeOf converts a time that the system says. A file system in user space may give any number of nanoseconds, and a kernel of before 6.0 hands it
// on; more than a second of them stands in no snapshot.
func timeOf(sec, nsec int64) snapshot.Time {
	return snapshot.Time{Sec: sec, Nsec: uint32(min(max(nsec, 0), 999_999_999))}
}
