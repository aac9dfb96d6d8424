package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/storage"
	"golang.org/x/sync/errgroup"
)

// readsAtOnce is how many directories or objects are read at a time.
const readsAtOnce = 8

// Fault is one object that is not as it should be.
type Fault struct {
	Name    blob.Name
	Problem error
}

// IndexPlan is what a repair of the index would do.
type IndexPlan struct {
	Packs     int         // live packs, each of whose directories was read
	Blobs     int         // in them
	Damaged   []Fault     // index objects that can't be read
	Stale     []blob.Name // index objects that say what is not so: of packs that are gone, or hold something else
	Unindexed int         // packs that no index object names rightly
	Gone      []blob.Name // packs that the index names and that are not there
	Sealed    []Fault     // packs whose own directories can't be read, and that an index object describes: it is believed
	Unknown   []Fault     // packs whose own directories can't be read, and that no index object describes

	repo   *repo.Repo
	parity *parity.Set
	put    []*index.Pack
	remove []blob.Name
}

// Empty reports whether there is nothing to do.
func (p *IndexPlan) Empty() bool { return len(p.put) == 0 && len(p.remove) == 0 }

// PlanIndex compares the index with what the packs say of themselves.
func PlanIndex(ctx context.Context, r *repo.Repo) (*IndexPlan, error) {
	v, err := r.TakeView(ctx)
	if err != nil {
		return nil, err
	}
	p := &IndexPlan{repo: r, Packs: len(v.Packs)}
	own, faults, err := readDirectories(ctx, r, v.Packs)
	if err != nil {
		return nil, err
	}
	for _, pack := range own {
		p.Blobs += len(pack.Blobs)
	}
	if p.parity, err = r.Parity(ctx); err != nil {
		return nil, err
	}
	names, err := r.IndexNames(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, byName)
	good := map[blob.Name]bool{}         // packs that an object which stays names rightly
	told := map[blob.Name]*index.Pack{}  // what index objects say of packs that can't be read themselves
	stale := map[blob.Name][]blob.Name{} // objects to be replaced, and the packs that they name rightly
	for _, name := range names {
		packs, err := r.ReadIndexObject(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, storage.ErrNotExist):
			continue // replaced meanwhile
		case err != nil:
			p.Damaged = append(p.Damaged, Fault{name, err})
			continue
		}
		right, wrong := p.compare(ctx, v, own, faults, packs, told)
		if wrong {
			p.Stale, stale[name] = append(p.Stale, name), right
			continue
		}
		for _, n := range right {
			good[n] = true
		}
	}
	p.collect(v, own, faults, good, told)
	return p, nil
}

// compare returns the packs that an index object names rightly, and whether it says anything that is not so.
func (p *IndexPlan) compare(ctx context.Context, v *repo.View, own map[blob.Name]*index.Pack, faults map[blob.Name]error, packs []*index.Pack,
	told map[blob.Name]*index.Pack) (right []blob.Name, wrong bool) {
	for _, said := range packs {
		if v.Trashed[said.Name] {
			continue // a prune takes it out of the index when it is gone
		}
		is, readable := own[said.Name]
		_, listed := v.Packs[said.Name]
		switch {
		case !listed && isThere(ctx, p.repo, said.Name): // put since the packs were listed
			right = append(right, said.Name)
		case !listed && p.parity.Has(said.Name): // parity may make it again, and that it is missing only the index tells
			right = append(right, said.Name)
		case !listed:
			wrong = true
			if !slices.Contains(p.Gone, said.Name) {
				p.Gone = append(p.Gone, said.Name)
			}
		case !readable && faults[said.Name] != nil:
			told[said.Name] = said
			right = append(right, said.Name)
		case readable && same(is, said):
			right = append(right, said.Name)
		default:
			wrong = true
		}
	}
	return right, wrong
}

// isThere reports whether a pack can be read or, if that is not known, may be there.
func isThere(ctx context.Context, r *repo.Repo, name blob.Name) bool {
	err := storage.ReadRange(ctx, r.Storage(), repo.PackObject(name), make([]byte, 1), 0)
	return !errors.Is(err, storage.ErrNotExist)
}

// same reports whether an index object says of a pack what the pack says itself.
func same(a, b *index.Pack) bool {
	return a.Size == b.Size && a.Salt == b.Salt && a.Epoch == b.Epoch &&
		bytes.Equal(index.AppendDirectory(nil, a), index.AppendDirectory(nil, b))
}

// collect decides what is written and what goes.
func (p *IndexPlan) collect(v *repo.View, own map[blob.Name]*index.Pack, faults map[blob.Name]error, good map[blob.Name]bool,
	told map[blob.Name]*index.Pack) {
	for name := range v.Packs {
		switch pack := own[name]; {
		case pack != nil && !good[name]:
			p.Unindexed++
			p.put = append(p.put, pack)
		case pack == nil && told[name] != nil:
			p.Sealed = append(p.Sealed, Fault{name, faults[name]})
			if !good[name] {
				p.put = append(p.put, told[name])
			}
		case pack == nil:
			p.Unknown = append(p.Unknown, Fault{name, faults[name]})
		}
	}
	slices.SortFunc(p.put, func(a, b *index.Pack) int { return byName(a.Name, b.Name) })
	byFault := func(a, b Fault) int { return byName(a.Name, b.Name) }
	slices.SortFunc(p.Sealed, byFault)
	slices.SortFunc(p.Unknown, byFault)
	p.remove = slices.Clone(p.Stale)
	if len(p.Unknown) > 0 {
		return // a copy of a damaged index object may come up, and tell what these packs hold
	}
	for _, f := range p.Damaged {
		if repo.IsCorrupt(f.Problem) { // else it is the storage that could not be read, or a newer version's object
			p.remove = append(p.remove, f.Name)
		}
	}
}

// Run writes the new index objects, and removes those that they take the place of.
func (p *IndexPlan) Run(ctx context.Context) error {
	err := p.repo.CanWrite()
	if err == nil {
		err = p.repo.KeyStands(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.repo.PutIndexObjects(ctx, p.put); err != nil {
		return err
	}
	for _, name := range p.remove {
		if err := p.repo.RemoveIndexObject(ctx, name); err != nil {
			return fmt.Errorf("remove index object %s: %w", name.Short(), err)
		}
	}
	return nil
}

// readDirectories reads what packs say of themselves.
func readDirectories(ctx context.Context, r *repo.Repo, packs map[blob.Name]int64) (map[blob.Name]*index.Pack, map[blob.Name]error, error) {
	var mu sync.Mutex // guards own and faults
	own, faults := map[blob.Name]*index.Pack{}, map[blob.Name]error{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for name, size := range packs {
		g.Go(func() error {
			p, err := r.ReadPackDirectory(gctx, name, size)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case gctx.Err() != nil:
				return gctx.Err()
			case errors.Is(err, storage.ErrNotExist): // pruned meanwhile
				delete(own, name)
			case err != nil:
				faults[name] = err
			default:
				own[name] = p
			}
			return nil
		})
	}
	return own, faults, g.Wait()
}

func byName(a, b blob.Name) int { return strings.Compare(a.String(), b.String()) }
