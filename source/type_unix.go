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
