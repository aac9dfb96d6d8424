package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// View is what a repository holds, taken in the order that makes it safe: trash, then packs, then index. A blob is there only in a
// pack that is listed and in no trash. Index objects are hints.
type View struct {
	Index     *index.Index              // of the live packs
	Packs     map[blob.Name]int64       // stored bytes of the live packs
	Trashed   map[blob.Name]bool        // packs named in trash
	Trash     map[blob.Name][]blob.Name // trash objects, and the packs that each names
	Objects   map[blob.Name][]blob.Name // index objects, and the packs that each names; of a view from a cache, only those that were read for it
	Unindexed []blob.Name               // live packs that no index object names; their directories were read
	orphans   []*index.Pack             // what those hold
	Damaged   map[blob.Name]error       // live packs whose directories can't be read
	Warnings  []error                   // damaged index or trash objects
	// Blind is set if a trash object can't be read, so that packs may be about to be removed and nobody can tell which. Whoever reads
	// loses nothing by it; who writes or removes must stop.
	Blind error

	// What is in trash and still there. A snapshot may need it, until a pruner has looked at it again: it is for reading, not for referring to.
	Doomed      map[blob.Name]int64 // stored bytes of the packs
	DoomedIndex *index.Index        // of those packs; empty in a live view

	live   bool              // what packs in trash hold was not read
	bodies map[blob.Name]int // of each of the Objects, bytes of directories
}

// ErrBlind is wrapped by View.Blind.
var ErrBlind = errors.New("nobody can tell which packs are about to be removed")

// TakeView reads what the repository holds now, never from a cache. A damaged index object costs a warning and the reading of
// the directories of the packs that it named.
func (r *Repo) TakeView(ctx context.Context) (*View, error) { return r.takeView(ctx, new(View)) }

// TakeLiveView is TakeView for who has a use for packs in trash seldom or never: what they hold is read by LookIntoTrash.
func (r *Repo) TakeLiveView(ctx context.Context) (*View, error) {
	return r.takeView(ctx, &View{live: true})
}

// LookIntoTrash reads what the packs in trash of a live view hold. One that is gone meanwhile is taken to hold nothing.
func (r *Repo) LookIntoTrash(ctx context.Context, v *View) error {
	if !v.live {
		return nil
	}
	v.live = false
	var names []blob.Name
	for name, packs := range v.Objects {
		if slices.ContainsFunc(packs, func(p blob.Name) bool { _, doomed := v.Doomed[p]; return doomed }) {
			names = append(names, name)
		}
	}
	if _, err := r.readIndex(ctx, v, names, (*index.Index).Add); err != nil {
		return err
	}
	return r.completeDoomed(ctx, v)
}

func (r *Repo) takeView(ctx context.Context, v *View) (*View, error) {
	if err := r.lookAtPacks(ctx, v); err != nil {
		return nil, err
	}
	names, err := r.IndexNames(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := r.readIndex(ctx, v, names, (*index.Index).Add); err != nil {
		return nil, err
	}
	return v, r.completeView(ctx, v)
}

// lookAtPacks begins a view: which packs are there, in the order that makes it safe.
func (r *Repo) lookAtPacks(ctx context.Context, v *View) error {
	v.Index, v.Packs = index.New(), map[blob.Name]int64{}
	v.DoomedIndex, v.Doomed = index.New(), map[blob.Name]int64{}
	v.Trashed, v.Trash = map[blob.Name]bool{}, map[blob.Name][]blob.Name{}
	v.Objects, v.bodies, v.Damaged = map[blob.Name][]blob.Name{}, map[blob.Name]int{}, map[blob.Name]error{}
	if err := r.readTrash(ctx, v); err != nil {
		return err
	}
	return r.list(ctx, dataDir, func(n blob.Name, size int64) {
		if v.Trashed[n] {
			v.Doomed[n] = size
			return
		}
		v.Packs[n] = size
	})
}

// completeView compares the packs with what the index says of them, and reads the directories of those that it does not know.
func (r *Repo) completeView(ctx context.Context, v *View) error {
	v.Unindexed = v.compare(v.Index, v.Packs)
	for _, n := range v.Unindexed {
		p, err := r.ReadPackDirectory(ctx, n, v.Packs[n])
		if err == nil {
			err = v.Index.Add(p)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.Damaged[n] = err
			continue
		}
		v.orphans = append(v.orphans, p)
	}
	if v.live {
		return nil
	}
	return r.completeDoomed(ctx, v)
}

// completeDoomed is completeView for the packs in trash.
func (r *Repo) completeDoomed(ctx context.Context, v *View) error {
	for _, n := range v.compare(v.DoomedIndex, v.Doomed) {
		p, err := r.ReadPackDirectory(ctx, n, v.Doomed[n])
		if err == nil {
			err = v.DoomedIndex.Add(p)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // what it holds is found in another pack or not at all
			v.Warnings = append(v.Warnings, err)
		}
	}
	return nil
}

// compare notes which packs don't have the size that an index says, and returns those that it does not know.
func (v *View) compare(x *index.Index, packs map[blob.Name]int64) (unknown []blob.Name) {
	for n, size := range packs {
		info, ok := x.Pack(n)
		if !ok {
			unknown = append(unknown, n)
		} else if size != int64(info.Size) {
			v.Damaged[n] = fmt.Errorf("pack %s: %w: it has %d bytes, the index says %d", n.Short(), seal.ErrCorrupt, size, info.Size)
		}
	}
	sortNames(unknown)
	return unknown
}

// Copies appends to buf all places of a blob that it can be read from: those in live packs, and then those in trash.
func (v *View) Copies(id blob.ID, buf []blob.Extent) []blob.Extent {
	return v.DoomedIndex.LookupAll(id, v.Index.LookupAll(id, buf))
}

// Pack returns what a view knows of a pack, in trash or not.
func (v *View) Pack(name blob.Name) (*index.PackInfo, bool) {
	if info, ok := v.Index.Pack(name); ok {
		return info, true
	}
	return v.DoomedIndex.Pack(name)
}

func sortNames(names []blob.Name) {
	slices.SortFunc(names, func(a, b blob.Name) int { return bytes.Compare(a[:], b[:]) })
}

// ReadPackDirectory reads what a pack holds from the pack itself.
func (r *Repo) ReadPackDirectory(ctx context.Context, name blob.Name, size int64) (*index.Pack, error) {
	return pack.ReadDirectory(r.keys, name, size, func(p []byte, off int64) error {
		return storage.ReadRange(ctx, r.storage, packName(name), p, off)
	})
}

// list calls fn for each object below dir that is named by a hash and is where that says; others are none of tarn's.
func (r *Repo) list(ctx context.Context, dir string, fn func(name blob.Name, size int64)) error {
	err := r.storage.List(ctx, dir, func(path string, size int64) error {
		n, err := blob.ParseName(base(path))
		if err == nil && (path == dir+n.String() || path == packName(n)) {
			fn(n, size)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	return nil
}

func (r *Repo) readTrash(ctx context.Context, v *View) error {
	var names []blob.Name
	if err := r.list(ctx, trashDir, func(n blob.Name, size int64) { names = append(names, n) }); err != nil {
		return err
	}
	for _, n := range names {
		packs, err := r.LoadTrash(ctx, n)
		if errors.Is(err, storage.ErrNotExist) {
			continue // its packs are gone, and will not be listed
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.Blind = fmt.Errorf("%w: %w", ErrBlind, err)
			v.Warnings = append(v.Warnings, v.Blind)
			continue
		}
		v.Trash[n] = packs
		for _, p := range packs {
			v.Trashed[p] = true
		}
	}
	return nil
}

// IndexNames lists the index objects, in no order.
func (r *Repo) IndexNames(ctx context.Context) (names []blob.Name, err error) {
	err = r.list(ctx, indexDir, func(n blob.Name, size int64) { names = append(names, n) })
	return names, err
}

// readIndex reads index objects, calls add for each pack that is there and that its index in the view does not know, and returns the objects
// that were good.
func (r *Repo) readIndex(ctx context.Context, v *View, names []blob.Name, add addPack) (good []blob.Name, err error) {
	for n, got := range r.getIndexes(ctx, names) {
		body, list, err := got.body, got.list, got.err
		if errors.Is(err, storage.ErrNotExist) {
			continue // replaced meanwhile: its packs are in a newer one, or their directories are read
		}
		if err == nil {
			err = v.addIndexObject(n, body, list, add)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			v.Warnings = append(v.Warnings, fmt.Errorf("%w (its packs are read instead; run tarn repair index)", err))
			continue
		}
		good = append(good, n)
	}
	return good, ctx.Err()
}

// addPack puts a pack into one of a view's indexes, or where that will be made from.
type addPack func(*index.Index, *index.Pack) error

// indexObject is an index object that was opened, or why it could not be.
type indexObject struct {
	body, list []byte
	err        error
}

// getIndexes reads index objects, some at a time, in their order.
func (r *Repo) getIndexes(ctx context.Context, names []blob.Name) iter.Seq2[blob.Name, indexObject] {
	get := func(ctx context.Context, n blob.Name) indexObject {
		body, list, err := r.getObject(ctx, seal.Index, indexName(n), n)
		return indexObject{body, list, err}
	}
	return func(yield func(blob.Name, indexObject) bool) {
		if r.far.Requests < 2 { // a folder of this machine: one after the other is as fast, and easier to follow
			for _, n := range names {
				if !yield(n, get(ctx, n)) {
					return
				}
			}
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		under := make(chan chan indexObject, r.far.requests()-1) // results of those that are under way, in order
		all.Go(func() {
			defer close(under)
			for _, n := range names {
				result := make(chan indexObject, 1)
				select {
				case under <- result:
				case <-ctx.Done():
					return
				}
				all.Go(func() { result <- get(ctx, n) })
			}
		})
		for _, n := range names {
			result, ok := <-under
			if !ok || !yield(n, <-result) {
				return
			}
		}
	}
}

// addIndexObject adds the packs that are there of an index object, whose directory lists the packs and whose body has their directories.
func (v *View) addIndexObject(name blob.Name, body, list []byte, add addPack) error {
	packs, err := index.DecodeList(string(list))
	if err != nil {
		return fmt.Errorf("index %s: %w", name.Short(), err)
	}
	rest := string(body)
	v.Objects[name], v.bodies[name] = make([]blob.Name, 0, len(packs)), len(body)
	for i := range packs {
		l := &packs[i]
		if int(l.Directory) > len(rest) {
			return fmt.Errorf("index %s: %w: it ends early", name.Short(), seal.ErrCorrupt)
		}
		directory := rest[:l.Directory]
		rest = rest[l.Directory:]
		v.Objects[name] = append(v.Objects[name], l.Name)
		x := v.Index
		_, listed := v.Packs[l.Name]
		if !listed && !v.live {
			x = v.DoomedIndex
			_, listed = v.Doomed[l.Name]
		}
		if _, have := x.Pack(l.Name); !listed || have {
			continue
		}
		p, err := l.Pack(directory)
		if err == nil {
			err = add(x, p)
		}
		if err != nil {
			return fmt.Errorf("index %s: %w", name.Short(), err)
		}
	}
	return nil
}

// encodeIndexObject seals an index object that names packs.
func encodeIndexObject(keys *seal.Keys, packs []*index.Pack) []byte {
	list, size := make([]index.Listed, len(packs)), 0
	for i, p := range packs {
		list[i] = p.Listed()
		size += int(list[i].Directory)
	}
	body := make([]byte, 0, size)
	for _, p := range packs {
		body = index.AppendDirectory(body, p)
	}
	return sealObjectWith(keys, seal.Index, body, index.AppendList(nil, list), pack.SizeMin)
}
