package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
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
	Objects   map[blob.Name][]blob.Name // index objects, and the packs that each names
	Unindexed []blob.Name               // live packs that no index object names; their directories were read
	orphans   []*index.Pack             // what those hold
	Damaged   map[blob.Name]error       // live packs whose directories can't be read
	Warnings  []error                   // damaged index or trash objects
}

// TakeView reads what the repository holds now, never from a cache. A damaged index object costs a warning and the reading of
// the directories of the packs that it named.
func (r *Repo) TakeView(ctx context.Context) (*View, error) {
	v := &View{Index: index.New(), Packs: map[blob.Name]int64{}, Trashed: map[blob.Name]bool{},
		Objects: map[blob.Name][]blob.Name{}, Damaged: map[blob.Name]error{}}
	if err := r.readTrash(ctx, v); err != nil {
		return nil, err
	}
	err := r.list(ctx, dataDir, func(n blob.Name, size int64) {
		if !v.Trashed[n] {
			v.Packs[n] = size
		}
	})
	if err != nil {
		return nil, err
	}
	if err := r.readIndex(ctx, v); err != nil {
		return nil, err
	}
	for n := range v.Packs {
		if _, ok := v.Index.Pack(n); !ok {
			v.Unindexed = append(v.Unindexed, n)
		}
	}
	sort.Slice(v.Unindexed, func(i, j int) bool { return v.Unindexed[i].String() < v.Unindexed[j].String() })
	for _, n := range v.Unindexed {
		p, err := r.ReadPackDirectory(ctx, n, v.Packs[n])
		if err == nil {
			err = v.Index.Add(p)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			v.Damaged[n] = err
			continue
		}
		v.orphans = append(v.orphans, p)
	}
	return v, nil
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
		body, _, err := r.getObject(ctx, seal.Trash, trashDir+n.String(), n)
		if errors.Is(err, storage.ErrNotExist) {
			continue // its packs are gone, and will not be listed
		}
		if err == nil && len(body)%len(n) != 0 {
			err = fmt.Errorf("trash %s: %w", n.Short(), seal.ErrCorrupt)
		}
		if err != nil {
			return fmt.Errorf("%w (what is about to be removed is unknown; run tarn check)", err)
		}
		for ; len(body) > 0; body = body[len(n):] {
			v.Trashed[blob.Name(body[:len(n)])] = true
		}
	}
	return nil
}

func (r *Repo) readIndex(ctx context.Context, v *View) error {
	var names []blob.Name
	if err := r.list(ctx, indexDir, func(n blob.Name, size int64) { names = append(names, n) }); err != nil {
		return err
	}
	for n, got := range r.getIndexes(ctx, names) {
		body, list, err := got.body, got.list, got.err
		if errors.Is(err, storage.ErrNotExist) {
			continue // replaced meanwhile: its packs are in a newer one, or their directories are read
		}
		if err == nil {
			err = v.addIndexObject(n, body, list)
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.Warnings = append(v.Warnings, fmt.Errorf("%w (its packs are read instead; run tarn repair index)", err))
		}
	}
	return nil
}

// indexObject is an index object that was opened, or why it could not be.
type indexObject struct {
	body, list []byte
	err        error
}

// getIndexes reads index objects, some at a time, in their order.
func (r *Repo) getIndexes(ctx context.Context, names []blob.Name) iter.Seq2[blob.Name, indexObject] {
	return func(yield func(blob.Name, indexObject) bool) {
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
				all.Go(func() {
					body, list, err := r.getObject(ctx, seal.Index, indexName(n), n)
					result <- indexObject{body, list, err}
				})
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

// addIndexObject adds the live packs of an index object, whose directory lists the packs and whose body has their directories.
func (v *View) addIndexObject(name blob.Name, body, list []byte) error {
	listed, err := index.DecodeList(string(list))
	if err != nil {
		return fmt.Errorf("index %s: %w", name.Short(), err)
	}
	rest := string(body)
	for i := range listed {
		l := &listed[i]
		if int(l.Directory) > len(rest) {
			return fmt.Errorf("index %s: %w: it ends early", name.Short(), seal.ErrCorrupt)
		}
		directory := rest[:l.Directory]
		rest = rest[l.Directory:]
		v.Objects[name] = append(v.Objects[name], l.Name)
		size, live := v.Packs[l.Name]
		if _, have := v.Index.Pack(l.Name); !live || have {
			continue
		}
		if size != int64(l.Size) {
			v.Damaged[l.Name] = fmt.Errorf("pack %s: %w: it has %d bytes, the index says %d", l.Name.Short(), seal.ErrCorrupt, size, l.Size)
		}
		p, err := l.Pack(directory)
		if err == nil {
			err = v.Index.Add(p)
		}
		if err != nil {
			return fmt.Errorf("index %s: %w", name.Short(), err)
		}
	}
	return nil
}

// encodeIndexObject seals an index object that names packs.
func encodeIndexObject(keys *seal.Keys, packs []*index.Pack) []byte {
	var body []byte
	list := make([]index.Listed, len(packs))
	for i, p := range packs {
		list[i] = p.Listed()
		body = index.AppendDirectory(body, p)
	}
	return sealObjectWith(keys, seal.Index, body, index.AppendList(nil, list), pack.SizeMin)
}
