package source

import "github.com/tarn-backup/tarn/snapshot"

// Stat is what the system says of an entry itself; symbolic links are not followed.
type Stat struct {
	Type       snapshot.Type // zero for what tarn does not know
	Mode       uint16        // the low 12 bits
	UID, GID   uint32
	Size       uint64 // bytes, of regular files and symbolic links
	Blocks     uint64 // of 512 bytes that are allocated
	ModTime    snapshot.Time
	AccessTime snapshot.Time
	ChangeTime snapshot.Time
	Inode      uint64
	Device     uint64 // the file system that it is on, as this boot numbers it
	Links      uint64
	Special    uint64 // of devices: major<<32 | minor
}

// SameContent reports whether nothing that a stat can tell says that the content changed from s to t.
func (s *Stat) SameContent(t *Stat) bool {
	return s.Size == t.Size && s.ModTime == t.ModTime && s.ChangeTime == t.ChangeTime && s.Inode == t.Inode
}

// Birth is when an inode was made. Numbers of inodes are given out again, but an inode that was made before some moment was there, under its number,
// at that moment.
type Birth struct {
	Device, Inode uint64
	Time          snapshot.Time // zero if it is not known
}
