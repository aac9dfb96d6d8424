package locks

import (
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/repo/storage"
)

const (
	locksDir  = "locks/"
	dataDir   = "data/"
	nameHash  = 64 // hex digits of a SHA-256
	configKey = "config"
)

// Layout says which objects a server takes under their own names; the others go into envelopes. config and packs are always taken.
type Layout struct {
	Folders []string // flat ones, with the slash, besides data/
	Hashed  bool     // the names in them must be a SHA-256 in hex
}

// Restic is the layout of restic's rest-server.
func Restic() Layout {
	return Layout{Folders: []string{"keys/", "index/", "snapshots/"}, Hashed: true}
}

// Takes reports whether an object of a valid name is stored under it.
func (l Layout) Takes(name string) bool {
	if name == configKey {
		return true
	}
	at := strings.IndexByte(name, '/') + 1
	folder, rest := name[:at], name[at:]
	if folder == dataDir {
		return len(rest) == 3+nameHash && rest[2] == '/' && rest[:2] == rest[3:5] && isHash(rest[3:])
	}
	return slices.Contains(l.Folders, folder) && !strings.Contains(rest, "/") && (!l.Hashed || isHash(rest))
}

// overlaps reports whether names that the server takes may begin with prefix.
func (l Layout) overlaps(prefix string) bool {
	return prefix == "" || strings.HasPrefix(prefix, dataDir) || slices.Contains(l.Folders, prefix)
}

func isHash(s string) bool {
	return len(s) == nameHash && strings.Trim(s, "0123456789abcdef") == ""
}

// check returns an error if name is none.
func check(name string) error { return storage.CheckName(name) }
