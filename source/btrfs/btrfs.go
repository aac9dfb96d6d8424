package btrfs

import (
	"strconv"
	"strings"
	"time"
)

// Margin is how long before T0 a file's last change must be for the snapshot to be trusted with it.
const Margin = time.Second

// Placeholder is the inode number of the empty folder that stands in a snapshot where a nested subvolume was.
const Placeholder = 2

// folder is the name of root's folder for snapshots at the top of a subvolume. Other users have their id behind it.
const folder = ".tarn-snapshots"

// IsFolder reports whether an entry at the top of a subvolume is a folder for snapshots, of any user, by its name.
func IsFolder(name string) bool {
	if name == folder {
		return true
	}
	uid, ok := strings.CutPrefix(name, folder+"-")
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(uid, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == uid && n != 0
}

// Provider makes snapshots of Btrfs subvolumes. Its zero value is ready.
type Provider struct{}

// Subvolume is a subvolume that is nested in another.
type Subvolume struct {
	Path     string // of its top folder
	ID       uint64
	ReadOnly bool // it can't change; not known of one that may not be opened
	Snapshot bool // it is a snapshot of another subvolume
}
