package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/snapshot"
)

// backup is what a check keeps of a snapshot's record.
type backup struct {
	name    blob.Name
	time    time.Time
	series  string // host and paths
	session blob.Session
	root    snapshot.Node
	scan    snapshot.Content // of the newest of its series only
	torn    bool
}

func (b *backup) object() string { return snapshotsDir + b.name.String() }

// snapshots reads the records of the snapshots that are to be checked.
func (c *checker) snapshots(ctx context.Context) ([]*backup, error) {
	names := c.listed.snapshots
	if len(c.options.Snapshots) > 0 {
		names = c.options.Snapshots
	}
	var list []*backup
	newest, clusters := map[string]*backup{}, map[string]bool{}
	for _, name := range names {
		b := &backup{name: name}
		if !slices.Contains(c.listed.snapshots, name) {
			c.found(Finding{Severity: Error, Object: b.object(), Problem: "there is no such snapshot"})
			continue
		}
		err := c.readRecord(ctx, b, clusters)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, storage.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err != nil {
			c.found(Finding{Severity: Error, Object: b.object(), Problem: err.Error(),
				Effect: "this snapshot is lost, unless a copy of the object can be put back; no other is affected"})
			continue
		}
		list = append(list, b)
		if b.torn {
			c.summary.TornIn++
		}
		if old := newest[b.series]; old == nil || b.time.After(old.time) {
			newest[b.series] = b
		}
	}
	for _, b := range list {
		if newest[b.series] != b { // nobody compares with it any more, and its scan record may be gone
			b.scan = snapshot.Content{}
		}
	}
	c.summary.Snapshots, c.summary.Clusters = len(list), len(clusters)
	return list, nil
}

// readRecord reads a snapshot's record, and adds its torn clusters to those of others.
func (c *checker) readRecord(ctx context.Context, b *backup, clusters map[string]bool) error {
	body, _, err := c.object(ctx, b.object())
	if err != nil {
		return err
	}
	rec, err := snapshot.DecodeRecord(body)
	if err != nil {
		return err
	}
	b.time, b.session, b.root, b.scan = rec.Time, rec.Session, rec.Root, rec.Scan
	b.series = rec.Host + "\x00" + strings.Join(rec.Paths, "\x00")
	b.torn = rec.Capture.Torn > 0
	for _, p := range rec.Problems {
		if p.Kind == snapshot.ProblemCluster || p.Kind == snapshot.ProblemClusterOK { // torn also where that does not matter, as files are
			b.torn = true
			clusters[rec.Host+"\x00"+p.Path] = true
		}
	}
	return nil
}

// walk looks at all trees, and at which blobs they name.
func (c *checker) walk(ctx context.Context, snapshots []*backup) {
	w := newWalker(c, c.view)
	w.once = true
	c.walked = w
	for _, b := range snapshots {
		var saved, scanned tour
		w.snapshot(ctx, b, &saved, &scanned)
		if saved.count+scanned.count > 0 {
			c.look()
		}
	}
	c.summary.Trees = w.known.Len()
	for i := range w.refs {
		c.summary.Blobs += w.refs[i].Len()
	}
	c.summary.Appended, c.summary.Torn, c.summary.Carried = int(w.states[snapshot.Appended].Load()), int(w.states[snapshot.Torn].Load()),
		int(w.states[snapshot.Carried].Load())
}

// looksMax is how often the snapshots are looked at again while packs go away under the check.
const looksMax = 10

// lookAgain looks at the snapshots that are still there, in a view that is younger than they are, and reports which of them lost
// something. It knows by now which parts of packs can't be read. A look that found something while a prune removed packs proves nothing.
func (c *checker) lookAgain(ctx context.Context, snapshots []*backup) error {
	for try := 1; ; try++ {
		tours, err := c.tours(ctx, snapshots)
		if err != nil {
			return err
		}
		if len(tours) > 0 && try < looksMax {
			gone, err := c.packsWent(ctx)
			if err != nil {
				return err
			}
			if gone {
				continue
			}
		}
		for _, t := range tours {
			c.reportSnapshot(t.backup, &t.saved, &t.scanned)
		}
		return nil
	}
}

// snapshotTours is what was found in one snapshot.
type snapshotTours struct {
	backup         *backup
	saved, scanned tour
}

// tours takes a view and looks at the snapshots, and returns what was found in those that lost something.
func (c *checker) tours(ctx context.Context, snapshots []*backup) (found []*snapshotTours, err error) {
	if c.listed, err = list(ctx, c.store); err != nil {
		return nil, err
	}
	there := map[blob.Name]bool{}
	for _, name := range c.listed.snapshots {
		there[name] = true
	}
	if c.view, err = c.takeView(ctx); err != nil {
		return nil, err
	}
	w := newWalker(c, c.view)
	w.lost = &c.lost
	for _, b := range snapshots {
		if !there[b.name] {
			continue
		}
		t := &snapshotTours{backup: b}
		w.snapshot(ctx, b, &t.saved, &t.scanned)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if t.saved.count+t.scanned.count > 0 {
			found = append(found, t)
		}
	}
	return found, nil
}

// packsWent reports whether a pack of the view is not there any more.
func (c *checker) packsWent(ctx context.Context) (bool, error) {
	now, err := list(ctx, c.store)
	if err != nil {
		return false, err
	}
	for _, packs := range []map[blob.Name]int64{c.view.Packs, c.view.Doomed} {
		for name := range packs {
			if _, there := now.packs[name]; !there {
				return true, nil
			}
		}
	}
	return false, nil
}

func (c *checker) reportSnapshot(b *backup, saved, scanned *tour) {
	if saved.count > 0 {
		f := Finding{Severity: Error, Object: b.object(), Problem: saved.first.Error(), Paths: saved.paths, More: saved.count - len(saved.paths),
			Effect: fmt.Sprintf("this snapshot of %s can't be restored whole", b.time.Format(time.DateTime))}
		if c.listed.evicted[b.session] {
			f.Severity, f.Effect = Warning, "its session was evicted before it ended, so it was never confirmed: forget it"
		}
		c.found(f)
	}
	if scanned.count > 0 {
		c.found(Finding{Severity: Warning, Object: b.object(), Problem: "scan record: " + scanned.first.Error(),
			Effect: "the next backup reads files again that did not change; nothing is lost"})
	}
}

const (
	pathsMax    = 10   // paths that are named per snapshot
	problemsMax = 1000 // where the walk of one snapshot is given up
)

// tour gathers what is wrong with one snapshot.
type tour struct {
	mu    sync.Mutex
	first error
	paths []string // the first in order of those found
	count int
	seen  int // problems, also those of paths that are counted already
}

func (t *tour) add(path string, err error) {
	if path = strings.TrimSuffix(path, "/"); path == "" {
		path = "/"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen++
	if t.count++; t.count == 1 {
		t.first = err
	}
	at, known := slices.BinarySearch(t.paths, path)
	if known {
		t.count--
		return
	}
	t.paths = slices.Insert(t.paths, at, path)
	t.paths = t.paths[:min(len(t.paths), pathsMax)]
}

func (t *tour) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count >= problemsMax || t.seen >= 10*problemsMax
}
