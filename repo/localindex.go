package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
)

// localIndex is this machine's cache of what packs hold. Which packs there are, and which are in trash, it never answers.
type localIndex struct {
	dir    string
	failed func(error)

	mu     sync.Mutex // held while the cache is opened and filled; guards what follows
	cache  *index.Cache
	filled bool
	off    bool // it failed
}

// fillRows is how many blobs are held in memory before they are written to the cache.
const fillRows = 1 << 20

func newLocalIndex(dir string, failed func(error)) *localIndex {
	if dir == "" {
		return nil
	}
	if failed == nil {
		failed = func(error) {}
	}
	return &localIndex{dir: dir, failed: failed}
}

func (l *localIndex) close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = true
	if l.cache == nil {
		return nil
	}
	return l.cache.Close()
}

// takeLocalView is TakeView, but knows from the local cache what packs hold, and reads only those index objects that may tell of others.
func (r *Repo) takeLocalView(ctx context.Context) (*View, error) {
	if r.local == nil {
		return r.TakeView(ctx)
	}
	v := new(View)
	if err := r.lookAtPacks(ctx, v); err != nil {
		return nil, err
	}
	r.local.mu.Lock()
	defer r.local.mu.Unlock()
	if err := r.local.openLocked(r.config.Repo); err != nil {
		return r.TakeView(ctx)
	}
	problem, err := r.fillLocked(ctx, v)
	if err != nil {
		return nil, err
	}
	if problem != nil {
		r.local.failLocked(problem)
		return r.TakeView(ctx)
	}
	return v, r.completeView(ctx, v)
}

var errCacheOff = errors.New("the index cache can't be used")

// openLocked opens the cache, and makes a new one in place of one that is damaged.
func (l *localIndex) openLocked(id seal.RepoID) error {
	if l.off {
		return errCacheOff
	}
	if l.cache != nil {
		return nil
	}
	c, err := index.OpenCache(l.dir, id)
	if errors.Is(err, index.ErrBadCache) {
		if err = index.RemoveCache(l.dir); err == nil {
			c, err = index.OpenCache(l.dir, id)
		}
	}
	if err != nil {
		l.failLocked(err)
		return err
	}
	l.cache = c
	return nil
}

// failLocked goes on without the cache. It is not closed: views made from it may be in use.
func (l *localIndex) failLocked(err error) {
	l.off = true
	l.failed(fmt.Errorf("index cache %s: %w", l.dir, err))
}

// fillLocked gives the view an index from the cache, to which it first adds what is not there yet. A problem is one of the cache.
//
// It adds to the cache once. What a process finds new in later views it keeps in memory: each file that is merged away stays mapped, and a
// mount may live for a year.
func (r *Repo) fillLocked(ctx context.Context, v *View) (problem, err error) {
	cache := r.local.cache
	var missing, doomed []blob.Name
	v.DoomedIndex, doomed = cache.Index(maps.Keys(v.Doomed)) // first: the packs of the last Index are those that the cache keeps
	v.Index, missing = cache.Index(maps.Keys(v.Packs))
	if len(missing)+len(doomed) == 0 {
		return nil, nil
	}
	names, err := r.IndexNames(ctx)
	if err != nil {
		return nil, err
	}
	known := cache.Objects()
	var fresh, old []blob.Name
	for _, n := range names {
		if known[n] {
			old = append(old, n)
		} else {
			fresh = append(fresh, n)
		}
	}
	f := newFiller(cache, v.Index, slices.Concat(missing, doomed))
	add, noted := addPack(f.add), old
	if r.local.filled {
		add = f.pass
	}
	for _, n := range slices.Concat(fresh, old) { // an old one may name a pack that was not listed when it was read
		if len(f.wanted) == 0 {
			break
		}
		good, err := r.readIndex(ctx, v, []blob.Name{n}, add)
		if err != nil {
			return nil, err
		}
		if !known[n] {
			noted = append(noted, good...)
		}
		if f.rows >= fillRows {
			if err := f.flush(); err != nil {
				return err, nil
			}
		}
	}
	if r.local.filled {
		return nil, nil
	}
	r.local.filled = true
	if err := f.flush(); err != nil {
		return err, nil
	}
	v.Index, _ = cache.Index(maps.Keys(v.Packs))
	return cache.SetObjects(noted), nil
}

// filler collects packs for the cache.
type filler struct {
	cache  *index.Cache
	live   *index.Index // its packs go to the cache, and others into their index
	wanted map[blob.Name]bool
	packs  []*index.Pack
	rows   int
}

func newFiller(cache *index.Cache, live *index.Index, missing []blob.Name) *filler {
	f := &filler{cache: cache, live: live, wanted: make(map[blob.Name]bool, len(missing))}
	for _, n := range missing {
		f.wanted[n] = true
	}
	return f
}

func (f *filler) add(x *index.Index, p *index.Pack) error {
	if x != f.live {
		return f.pass(x, p)
	}
	if err := p.Check(); err != nil || !f.wanted[p.Name] {
		return err
	}
	delete(f.wanted, p.Name)
	f.packs = append(f.packs, p)
	f.rows += len(p.Blobs)
	return nil
}

// pass leaves the cache alone.
func (f *filler) pass(x *index.Index, p *index.Pack) error {
	delete(f.wanted, p.Name)
	return x.Add(p)
}

func (f *filler) flush() error {
	if len(f.packs) == 0 {
		return nil
	}
	err := f.cache.Extend(f.packs)
	f.packs, f.rows = nil, 0
	return err
}
