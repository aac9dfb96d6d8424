package prune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/snapshot"
)

// looksMax is how often a look is begun again because another pruner moved things while it lasted.
const looksMax = 4

// backup is what a pruner keeps of a snapshot's record.
type backup struct {
	name    blob.Name
	time    time.Time
	series  string // host and paths
	session blob.Session
	partial bool
	root    snapshot.Node
	scan    snapshot.Content
}

// errMoved says that something was not where a view has it: it was moved since, or it is lost.
var errMoved = errors.New("not in the repository")

// look lists the snapshots, takes a view, and then marks what those snapshots need that were not marked before. The list comes before the
// view, so that all that they need is in it. A look that misses something is begun again: another pruner may be at work.
func (p *pruner) look(ctx context.Context) (*repo.View, error) {
	for try := 1; ; try++ {
		fresh, err := p.snapshots(ctx)
		if err != nil {
			return nil, err
		}
		v, err := p.repo.TakeLiveView(ctx)
		if err != nil {
			return nil, err
		}
		p.trash = &trash{pruner: p, view: v}
		p.warn(v.Warnings)
		if v.Blind != nil {
			return nil, v.Blind
		}
		err = p.mark(ctx, v, fresh)
		if err == nil && p.first != nil {
			err = p.stillThere(ctx, v)
		}
		if p.trash.err != nil { // what is there only was taken for missing
			err = p.trash.err
		}
		if err == nil {
			return v, nil
		}
		if try == looksMax || !errors.Is(err, errMoved) || ctx.Err() != nil {
			return nil, err
		}
		// What was marked below a piece of a tree is not all that is needed below it. Begin from nothing.
		p.marker, p.seen, p.result.Unconfirmed = newMarker(p), map[blob.Name]*backup{}, 0
	}
}

// snapshots reads the records of the snapshots that were not marked yet.
func (p *pruner) snapshots(ctx context.Context) ([]*backup, error) {
	names, err := p.repo.SnapshotNames(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b blob.Name) int { return slices.Compare(a[:], b[:]) })
	var fresh []*backup
	for _, name := range names {
		if p.seen[name] != nil {
			continue
		}
		b, err := p.load(ctx, name)
		if errors.Is(err, storage.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("%w; nothing is removed while a snapshot can't be read: repair it or forget it", err)
		}
		fresh = append(fresh, b)
	}
	return fresh, nil
}

func (p *pruner) load(ctx context.Context, name blob.Name) (*backup, error) {
	data, err := p.repo.LoadSnapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", name.Short(), err)
	}
	return &backup{name: name, time: rec.Time, session: rec.Session, partial: rec.Partial, root: rec.Root, scan: rec.Scan,
		series: fmt.Sprintf("%q %q %v", rec.Host, rec.Paths, rec.Partial)}, nil
}

// mark marks what snapshots need. One whose session was evicted may lack something: it was never confirmed, and its writer knows.
func (p *pruner) mark(ctx context.Context, v *repo.View, fresh []*backup) error {
	evicted, err := p.repo.Evictions(ctx)
	if err != nil {
		return err
	}
	p.marker.view = v
	for _, b := range fresh {
		if evicted[b.session] {
			continue
		}
		if err := p.marker.backup(ctx, b); err != nil {
			return fmt.Errorf("snapshot %s of %s: %w", b.name.Short(), b.time.Format(time.DateTime), err)
		}
	}
	for _, b := range fresh {
		if evicted[b.session] {
			p.result.Unconfirmed++
			if err := p.marker.unconfirmed(ctx, b); err != nil {
				return err
			}
		}
	}
	newest := map[string]*backup{}
	for _, b := range slices.Concat(slices.Collect(maps.Values(p.seen)), fresh) {
		if old := newest[b.series]; old == nil || b.time.After(old.time) || b.time.Equal(old.time) && slices.Compare(b.name[:], old.name[:]) > 0 {
			newest[b.series] = b
		}
	}
	for _, b := range fresh { // what only the next backup wants is kept for the newest of a series, and may be missing
		if newest[b.series] == b {
			p.marker.scan(ctx, b)
		}
		p.seen[b.name] = b
	}
	return ctx.Err()
}

// firstLook is step P2. It returns the sessions that are not over.
func (p *pruner) firstLook(ctx context.Context) (map[blob.Session]bool, error) {
	before, err := p.repo.SessionIDs(ctx)
	if err != nil {
		return nil, err
	}
	v, err := p.look(ctx)
	if errors.Is(err, errMoved) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	p.first = v
	p.result.Snapshots, p.result.Blobs = len(p.seen), p.marker.live.Len()
	if !p.options.DryRun {
		if err := p.evictDead(ctx); err != nil {
			return nil, err
		}
	}
	// Sessions are listed on both sides of the view: whoever has a pack in it was there at one of these moments, or has ended since.
	s, err := p.sessions(ctx)
	if err != nil {
		return nil, err
	}
	busy := map[blob.Session]bool{}
	for id := range s.listed {
		busy[id] = !s.over(id)
	}
	for id := range before {
		if !s.listed[id] { // it ended meanwhile: its snapshot may be younger than the list
			busy[id] = !s.evicted[id]
		}
	}
	busy[p.options.Session.ID] = false
	return busy, nil
}

// stillThere reports errMoved if something that is needed, and was found before, is not in v. It notes what is in trash only.
func (p *pruner) stillThere(ctx context.Context, v *repo.View) error {
	p.trashOnly = new(index.Set)
	for id := range p.marker.live.All() {
		if _, ok := v.Index.Lookup(id); ok {
			continue
		}
		if !p.trash.has(ctx, id) {
			return fmt.Errorf("blob %s...: %w", id.Short(), errMoved)
		}
		p.trashOnly.Add(id)
	}
	return nil
}

// trash is what the packs in trash of a view hold. It is read when something is in no other pack, which most looks never find.
type trash struct {
	pruner *pruner
	view   *repo.View
	once   sync.Once
	err    error // of the reading
}

// index returns the index of the packs in trash.
func (t *trash) index(ctx context.Context) *index.Index {
	t.once.Do(func() {
		if len(t.view.Doomed) == 0 {
			return
		}
		told := len(t.view.Warnings)
		t.err = t.pruner.repo.LookIntoTrash(ctx, t.view)
		t.pruner.warn(t.view.Warnings[told:])
	})
	return t.view.DoomedIndex
}

func (t *trash) has(ctx context.Context, id blob.ID) bool {
	_, ok := t.index(ctx).Lookup(id)
	return ok
}

func (p *pruner) warn(warnings []error) {
	for _, err := range warnings {
		p.options.Warn(err)
	}
}
