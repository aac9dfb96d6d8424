package restore

import (
	"errors"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
)

// ErrNotEmpty is wrapped by Run's error when the target holds something and the options do not say how to overwrite: nothing was done.
var ErrNotEmpty = errors.New("the target is not empty")

// ErrIncomplete is wrapped by Run's error when everything was tried, but some entries could not be restored.
var ErrIncomplete = errors.New("not everything could be restored")

// Reporter is told what happens. Its methods are called by several goroutines.
type Reporter interface {
	Event(Event)
	Wrote(bytes uint64) // content that was written since the last call: progress within large files
}

// Event is what happened to one path.
type Event struct {
	Path   string // below the restored root, slash-separated, raw bytes; "." for the root
	Type   snapshot.Type
	Action Action
	State  snapshot.State // of a file that was made, replaced, updated or unchanged: whether its content was whole
	Size   uint64         // bytes of content, of files
	Aspect Aspect         // of Lost: what could not be restored
	Err    error          // of Failed and Lost: why
}

// Action says what happened, or in a dry run what would happen.
type Action uint8

// The actions.
const (
	Made      Action = iota + 1
	Replaced         // something else was there
	Updated          // the content was right, metadata was set
	Unchanged        // everything was right
	Skipped          // something was there and was kept
	Deleted          // not in the snapshot
	Lost             // an aspect of the entry could not be restored
	Failed           // the entry is not there, or not as the snapshot has it
	Verified         // the file was read back and is right
)

func (a Action) String() string {
	names := [...]string{"unknown", "made", "replaced", "updated", "unchanged", "skipped", "deleted", "lost", "failed", "verified"}
	if int(a) < len(names) {
		return names[a]
	}
	return names[0]
}

// Aspect is a part of an entry that may be impossible to restore while the rest is.
type Aspect uint8

// The aspects.
const (
	AspectOwner Aspect = iota + 1
	AspectMode
	AspectACL
	AspectXattr
	AspectCapability
	AspectTimes
	AspectFlags
	AspectLink  // a further name of a file became a file of its own
	AspectHoles // zeros were written where holes were
)

func (a Aspect) String() string {
	names := [...]string{"unknown", "owner", "mode", "acl", "xattr", "capability", "times", "flags", "hard link", "holes"}
	if int(a) < len(names) {
		return names[a]
	}
	return names[0]
}

// Tally counts something that happened to paths, and keeps the first few of them.
type Tally struct {
	Count    uint64
	Examples []Example
}

// Example is one path of a Tally.
type Example struct {
	Path string
	Err  error // nil if the path says it all
}

// Most examples that a Tally keeps, so that a damaged repository does not fill the memory. The Reporter gets all.
const (
	examplesMax = 20
	doubtfulMax = 1000
)

func (t *Tally) add(path string, err error, limit int) {
	if t.Count++; len(t.Examples) < limit {
		t.Examples = append(t.Examples, Example{path, err})
	}
}

// Summary counts what Run did, or in a dry run would do.
type Summary struct {
	Files     uint64 // made or replaced, further names of files included
	Folders   uint64 // made
	Others    uint64 // symlinks, devices, FIFOs and sockets made or replaced
	Links     uint64 // of the above: made as further names of an inode
	Bytes     uint64 // of content, in files made or replaced
	Replaced  uint64 // of the files and others: something else was there
	Updated   uint64 // entries whose metadata was set, the content was right
	Unchanged uint64
	Skipped   uint64 // kept, since OverwriteNever was asked for
	Deleted   uint64
	Verified  uint64 // files read back

	Kept     Tally                    // entries that the snapshot does not have, and that stayed all the same: see Options.Unsaved
	Failed   Tally                    // entries that are not there, or wrong
	Lost     map[Aspect]Tally         // metadata that could not be restored
	Doubtful map[snapshot.State]Tally // restored files that the snapshot itself has as appended, torn or carried
}

// ledger gathers the summary and passes events on.
type ledger struct {
	reporter Reporter
	mu       sync.Mutex
	sum      Summary // under mu
}

func newLedger(r Reporter) *ledger {
	return &ledger{reporter: r, sum: Summary{Lost: map[Aspect]Tally{}, Doubtful: map[snapshot.State]Tally{}}}
}

func (l *ledger) wrote(n uint64) {
	if l.reporter != nil {
		l.reporter.Wrote(n)
	}
}

// done notes that an entry was dealt with. The path is only made if somebody wants to know it.
func (l *ledger) done(dir *folder, n *snapshot.Node, a Action, linked linkage) {
	var path string
	if l.reporter != nil || n.State != snapshot.Whole {
		path = dir.join(n.Name)
	}
	l.mu.Lock()
	l.count(n, a, linked)
	if n.State != snapshot.Whole && a != Skipped && a != Verified {
		t := l.sum.Doubtful[n.State]
		t.add(path, nil, doubtfulMax)
		l.sum.Doubtful[n.State] = t
	}
	l.mu.Unlock()
	if l.reporter != nil {
		l.reporter.Event(Event{Path: path, Type: n.Type, Action: a, State: n.State, Size: n.Size})
	}
}

func (l *ledger) count(n *snapshot.Node, a Action, linked linkage) {
	s := &l.sum
	switch a {
	case Updated:
		s.Updated++
	case Unchanged:
		s.Unchanged++
	case Skipped:
		s.Skipped++
	case Verified:
		s.Verified++
	case Made, Replaced:
		if a == Replaced {
			s.Replaced++
		}
		switch {
		case n.Type == snapshot.Dir:
			s.Folders++
		case n.Type == snapshot.File:
			s.Files++
		default:
			s.Others++
		}
		if linked == furtherName {
			s.Links++
		} else if n.Type == snapshot.File {
			s.Bytes += n.Size
		}
	}
}

func (l *ledger) deleted(path string, t snapshot.Type) {
	l.mu.Lock()
	l.sum.Deleted++
	l.mu.Unlock()
	if l.reporter != nil {
		l.reporter.Event(Event{Path: path, Type: t, Action: Deleted})
	}
}

func (l *ledger) kept(path string, t snapshot.Type) {
	l.mu.Lock()
	l.sum.Kept.add(path, nil, examplesMax)
	l.mu.Unlock()
	if l.reporter != nil {
		l.reporter.Event(Event{Path: path, Type: t, Action: Skipped})
	}
}

func (l *ledger) failed(path string, t snapshot.Type, err error) {
	l.mu.Lock()
	l.sum.Failed.add(path, err, examplesMax)
	l.mu.Unlock()
	if l.reporter != nil {
		l.reporter.Event(Event{Path: path, Type: t, Action: Failed, Err: err})
	}
}

func (l *ledger) lost(path string, t snapshot.Type, a Aspect, err error) {
	l.mu.Lock()
	tally := l.sum.Lost[a]
	tally.add(path, err, examplesMax)
	l.sum.Lost[a] = tally
	l.mu.Unlock()
	if l.reporter != nil {
		l.reporter.Event(Event{Path: path, Type: t, Action: Lost, Aspect: a, Err: err})
	}
}

// err is what Run returns when it came to its end.
func (l *ledger) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &l.sum.Failed
	if f.Count == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of the entries, first %q: %w", ErrIncomplete, f.Count, f.Examples[0].Path, f.Examples[0].Err)
}
