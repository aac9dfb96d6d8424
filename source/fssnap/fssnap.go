package fssnap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// ErrDoubt is wrapped when a removal is refused because it isn't proven that the snapshot is a leftover of tarn's.
var ErrDoubt = errors.New("not proven to be a leftover of tarn")

// ErrInvalid is wrapped when a snapshot was lost while it was in use, so that what was read from it can't be trusted.
var ErrInvalid = errors.New("the file system snapshot was lost")

// Kind is the way in which a mount is held still.
type Kind uint8

// The kinds.
const (
	None     Kind = iota // not at all
	Btrfs                // a read-only snapshot of a subvolume
	LVMThick             // a snapshot volume with room of its own for what changes
	LVMThin              // a snapshot volume in the pool of its origin
	ZFS                  // a snapshot of a dataset
)

func (k Kind) String() string {
	names := [...]string{"none", "btrfs", "lvm thick", "lvm thin", "zfs"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Request asks for a snapshot of what holds Dir.
type Request struct {
	Mount      Mount
	Dir        string // an absolute folder at or below Mount.Point; empty means Mount.Point. It matters for nested subvolumes.
	Repository string // the first 8 hex digits of the repository's id
	Session    string // the backup's session: 32 hex digits
}

// Folder returns Dir, or the mount point if Dir is empty.
func (r Request) Folder() string {
	if r.Dir == "" {
		return r.Mount.Point
	}
	return filepath.Clean(r.Dir)
}

// Plan says what would be done with a mount. A plan of kind None says in Why why there is no snapshot.
type Plan struct {
	Kind Kind
	ID   string // what would be held, equal for two mounts that one snapshot serves; empty if nothing would be
	Why  string // a sentence for people
}

// Provider makes snapshots in one way.
type Provider interface {
	// Plan says what Take would do with the folder dir of a mount. It changes nothing. The zero Plan means that another provider
	// may be asked.
	Plan(ctx context.Context, m Mount, dir string) Plan
	// Take makes a snapshot.
	Take(ctx context.Context, r Request) (Snapshot, error)
	// Leftovers lists snapshots that seem to be tarn's, of any repository, in or below the mounts given.
	Leftovers(ctx context.Context, mounts []Mount) ([]Leftover, error)
}

// Snapshot is a file system held still. Its methods may be called by many goroutines, but none after Release.
type Snapshot interface {
	// Path returns where to read the file that the user calls p; false if p is not in this snapshot. The path is good for this
	// process alone, and must not be shown to people. What lies below a nested mount or subvolume is not there.
	Path(p string) (string, bool)
	// Exact reports whether a file with this change time in the snapshot is as it was at one moment. Where it says no, the file
	// was being written when the snapshot was made: take the live file with care instead.
	Exact(ctime time.Time) bool
	// Skip lists paths, as the user would write them, of what the provider put among the user's files to do its work.
	Skip() []string
	// Valid returns nil if all that was read until now was read from an intact snapshot. Ask after reading: a lost snapshot may
	// look like empty folders and vanished files, without any error.
	Valid(ctx context.Context) error
	// Release gives the snapshot back. All files opened below Path must be closed before. Releasing again does nothing.
	Release(ctx context.Context) error
}

// Leftover is a snapshot that has the looks of one of tarn's.
type Leftover struct {
	Kind    Kind
	Name    Name
	Where   string                      // its place, in the words of its file system or volume manager
	Life    Life                        // of the process that made it
	Doubt   string                      // why it is not proven to be tarn's; empty if it is
	Destroy func(context.Context) error // removes it after having proven again that it is the one that was listed
}

// Remove removes the leftover, unless its maker lives or its origin is in doubt. If Life is Unknown, the caller has to know that
// the session is over.
func (l Leftover) Remove(ctx context.Context) error {
	switch {
	case l.Doubt != "":
		return fmt.Errorf("remove %s %s: %w: %s", l.Kind, l.Where, ErrDoubt, l.Doubt)
	case l.Life == Alive:
		return fmt.Errorf("remove %s %s: %w: the backup that made it still runs", l.Kind, l.Where, ErrDoubt)
	}
	if err := l.Destroy(ctx); err != nil {
		return fmt.Errorf("remove %s %s: %w", l.Kind, l.Where, err)
	}
	return nil
}

// Decide asks the providers in turn what they would do with the folder dir of a mount. The provider is nil if the plan's kind is
// None.
func Decide(ctx context.Context, providers []Provider, m Mount, dir string) (Plan, Provider) {
	for _, p := range providers {
		plan := p.Plan(ctx, m, dir)
		switch {
		case plan.Kind != None:
			return plan, p
		case plan.Why != "":
			return plan, nil
		}
	}
	return Plan{Why: m.FSType + ": no snapshots here"}, nil
}

// Mapping maps the paths of the user to those of a snapshot.
type Mapping struct {
	From string // a folder as the user calls it
	To   string // the same folder in the snapshot
}

// Path maps p, which is From or lies below it.
func (m Mapping) Path(p string) (string, bool) {
	rel, ok := below(m.From, p)
	if !ok {
		return "", false
	}
	return filepath.Join(m.To, rel), true
}

// Has reports whether p is From or lies below it.
func (m Mapping) Has(p string) bool {
	_, ok := below(m.From, p)
	return ok
}

// below returns p relative to dir, with "" for dir itself, and whether it lies there.
func below(dir, p string) (string, bool) {
	dir, p = filepath.Clean(dir), filepath.Clean(p)
	if p == dir {
		return "", true
	}
	if !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	return strings.CutPrefix(p, dir)
}
