package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/snapshot"
)

// SnapshotDamage is a snapshot that needs what is not there, and what would stand in its place.
type SnapshotDamage struct {
	Name     blob.Name
	Record   *snapshot.Record // nil if the record itself can't be read: nothing can be done then
	Problem  error            // why the record can't be read
	Changes  []Change
	More     int       // changes that are not listed
	Replaced blob.Name // the snapshot that was made of it already; zero if there is none
}

// Change is one path that would not be as it was saved.
type Change struct {
	Path   string
	Kind   snapshot.ProblemKind // Unreadable: it is left out; ProblemTorn: parts are zeros; ProblemCarry: as another snapshot has it
	Reason string
}

// changesMax is how many changes of one snapshot are listed.
const changesMax = 10_000

// SnapshotsPlan is what a repair of snapshots would do.
type SnapshotsPlan struct {
	Looked  int
	Damaged []SnapshotDamage

	repo *repo.Repo
	all  []*saved
}

// saved is a snapshot whose record can be read.
type saved struct {
	name blob.Name
	rec  *snapshot.Record
}

// Empty reports whether there is nothing to store.
func (p *SnapshotsPlan) Empty() bool {
	return !slices.ContainsFunc(p.Damaged, func(d SnapshotDamage) bool { return d.Record != nil && d.Replaced.IsZero() })
}

// PlanSnapshots walks snapshots, all if none are named, and says what would become of those that lost something. A blob counts as lost if
// no live pack has it; damaged packs count until PlanPacks has dealt with them.
func PlanSnapshots(ctx context.Context, r *repo.Repo, only []blob.Name) (*SnapshotsPlan, error) {
	p := &SnapshotsPlan{repo: r}
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, byName)
	if err := p.load(ctx, names); err != nil {
		return nil, err
	}
	v, err := r.Refresh(ctx) // younger than the list: it has all that the snapshots need
	if err != nil {
		return nil, err
	}
	has := func(id blob.ID) bool {
		_, ok := v.Index.Lookup(id)
		return ok
	}
	m := newMender(r, r, has, dry{r}, p.all)
	m.whole = map[blob.ID]bool{} // snapshots have most of their folders in common
	for _, s := range p.all {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		p.Looked++
		if _, err := m.mend(ctx, s); err != nil {
			return nil, err
		}
		if len(m.changes) > 0 {
			p.Damaged = append(p.Damaged, SnapshotDamage{Name: s.name, Record: s.rec, Changes: m.changes, More: m.more, Replaced: p.successor(s.name, m.changes[0])})
		}
	}
	return p, nil
}

// load reads the records.
func (p *SnapshotsPlan) load(ctx context.Context, names []blob.Name) error {
	for _, name := range names {
		data, err := p.repo.LoadSnapshot(ctx, name)
		var rec *snapshot.Record
		if err == nil {
			rec, err = snapshot.DecodeRecord(data)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, storage.ErrNotExist): // forgotten meanwhile
		case err != nil:
			p.Damaged = append(p.Damaged, SnapshotDamage{Name: name, Problem: err})
		default:
			p.all = append(p.all, &saved{name, rec})
		}
	}
	slices.SortStableFunc(p.all, func(a, b *saved) int { return a.rec.Time.Compare(b.rec.Time) })
	return nil
}

// successor is the snapshot that a repair made of another one, if it did: it names the first change.
func (p *SnapshotsPlan) successor(of blob.Name, first Change) blob.Name {
	for _, s := range p.all {
		if s.rec.Original == of && slices.ContainsFunc(s.rec.Problems, func(q snapshot.Problem) bool {
			return q.Path == "/"+first.Path // the kind depends on which other snapshots there were
		}) {
			return s.name
		}
	}
	return blob.Name{}
}

// dry computes IDs and stores nothing.
type dry struct{ repo *repo.Repo }

func (d dry) Save(_ context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	return d.repo.ID(kind, plain), nil
}

// Replaced is a snapshot that was stored in place of a damaged one.
type Replaced struct {
	Old, New blob.Name
	Removed  bool // the old one
}

// evictedMax is how often a session may be evicted before a repair gives up.
const evictedMax = 3

// Old says what becomes of a damaged snapshot when its successor is durable.
type Old uint8

// The choices.
const (
	KeepOld   Old = iota // it stays until it is forgotten
	RemoveOld            // it goes, unless somebody prunes at that moment
)

// Run stores the new snapshots, each in a session of its own that session makes, and tells of each.
func (p *SnapshotsPlan) Run(ctx context.Context, session func() repo.Session, old Old, done func(Replaced)) error {
	for i := range p.Damaged {
		d := &p.Damaged[i]
		if d.Record == nil {
			continue
		}
		rep := Replaced{Old: d.Name, New: d.Replaced}
		var err error
		for try := 1; rep.New.IsZero(); try++ {
			rep.New, err = p.replace(ctx, &saved{d.Name, d.Record}, session())
			if errors.Is(err, repo.ErrEvicted) && try < evictedMax {
				if err := p.repo.RemoveSnapshot(ctx, rep.New); err != nil {
					return err
				}
				rep.New = blob.Name{}
				continue
			}
			if err != nil {
				return fmt.Errorf("snapshot %s: %w", d.Name.Short(), err)
			}
		}
		if old == RemoveOld {
			if rep.Removed, err = p.repo.ReplaceSnapshot(ctx, d.Name); err != nil {
				return fmt.Errorf("remove snapshot %s, which %s takes the place of: %w", d.Name.Short(), rep.New.Short(), err)
			}
		}
		done(rep)
	}
	return nil
}

// replace stores what can be had of one snapshot as a new one.
func (p *SnapshotsPlan) replace(ctx context.Context, s *saved, session repo.Session) (blob.Name, error) {
	w, err := p.repo.NewWriter(ctx, repo.WriterOptions{Session: session})
	if err != nil {
		return blob.Name{}, err
	}
	lane := w.Lane()
	rec, err := newMender(p.repo, w, w.Has, lane, p.all).mend(ctx, s)
	if err == nil {
		rec.Session, rec.Program = w.Session(), session.Program
		var name blob.Name
		if name, err = w.Commit(ctx, rec.Encode()); err == nil || errors.Is(err, repo.ErrEvicted) {
			return name, err
		}
	}
	return blob.Name{}, errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
}
