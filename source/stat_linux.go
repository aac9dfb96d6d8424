package source

import (
	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sys/unix"
)

// FromUnix converts what fstat(2) says.
func FromUnix(st *unix.Stat_t) (s Stat) {
	fillStat(&s, st)
	return s
}

func fillStat(s *Stat, st *unix.Stat_t) {
	*s = Stat{
		Type: typeOf(uint32(st.Mode)), Mode: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid,
		Size: uint64(st.Size), Blocks: uint64(st.Blocks),
		ModTime:    timeOf(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)),
		AccessTime: timeOf(int64(st.Atim.Sec), int64(st.Atim.Nsec)),
		ChangeTime: timeOf(int64(st.Ctim.Sec), int64(st.Ctim.Nsec)),
		Inode:      st.Ino, Device: uint64(st.Dev), Links: uint64(st.Nlink),
	}
	if s.Type == snapshot.CharDevice || s.Type == snapshot.BlockDevice {
		s.Special = uint64(unix.Major(uint64(st.Rdev)))<<32 | uint64(unix.Minor(uint64(st.Rdev)))
	}
}
