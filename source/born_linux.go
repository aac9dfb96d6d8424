package source

import (
	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sys/unix"
)

// Born says which inode is at a path now, and when that was made. It is the zero Birth where that can't be told.
func Born(path string) Birth {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return Birth{}
	}
	return Birth{Device: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino, Time: snapshot.Time{Sec: st.Btime.Sec, Nsec: st.Btime.Nsec}}
}
