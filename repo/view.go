package repo

import (
	"context"
	"errors"
	"fmt"
	"sort"

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
	Objects   map[blob.Name][]blob.Name // index objects, and the packs that each names; only those that were read
	Unindexed []blob.Name               // live packs that no index object names; their directories were read
	orphans   []*index.Pack             // what those hold
	Damaged   map[blob.Name]error       // live packs whose directories can't be read
	Warnings  []error                   // damaged index or trash objects
}

// TakeView reads what the repository holds now, never from a cache. A damaged index object costs a warning and the reading of
// the directories of the packs that it named.
func (r *Repo) TakeView(ctx context.Context) (*View, error) {
	v, err := r.listPacks(ctx)
	if err != nil {
		return nil, err
	}
	names, err := r.listIndex(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := r.readIndex(ctx, v, names, v.Index.Add); err != nil {
		return nil, err
	}
	return v, r.completeView(ctx, v)
}

// listPacks begins a view: which packs are there.
func (r *Repo) listPacks(ctx context.Context) (*View, error) {
	v := &View{Index: index.New(), Packs: map[blob.Name]int64{}, Trashed: map[blob.Name]bool{},
		Objects: map[blob.Name][]blob.Name{}, Damaged: map[blob.Name]error{}}
	if err := r.readTrash(ctx, v); err != nil {
		return nil, err
	}
	return v, r.list(ctx, dataDir, func(n blob.Name, size int64) {
		if !v.Trashed[n] {
			v.Packs[n] = size
		}
	})
}

// completeView compares packs with what the index says of them, and reads the directories of those that it does not know.
func (r *Repo) completeView(ctx context.Context, v *View) error {
	for n, size := range v.Packs {
		info, ok := v.Index.Pack(n)
		if !ok {
			v.Unindexed = append(v.Unindexed, n)
		} else if size != int64(info.Size) {
			v.Damaged[n] = fmt.Errorf("pack %s: %w: it has %d bytes, the index says %d", n.Short(), seal.ErrCorrupt, size, info.Size)
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
				return ctx.Err()
			}
			v.Damaged[n] = err
			continue
		}
		v.orphans = append(v.orphans, p)
	}
	return nil
}

// ReadPackDirectory reads what a pack holds from the pack itself.
func (r *Repo) ReadPackDirectory(ctx context.Context, name blob.Name, size int64) (*index.Pack, error) {
	return pack.ReadDirectory(r.keys, name, size, func(p []byte, off int64) error {
		return storage.ReadRange(ctx, r.storage, packName(name), p, off)
	})
}

// list calls fn for each object below dir that is named by a hash; others are none of tarn's.
func (r *Repo) list(ctx context.Context, dir string, fn func(name blob.Name, size int64)) error {
	err := r.storage.List(ctx, dir, func(path string, size int64) error {
		if n, err := blob.ParseName(base(path)); err == nil {
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

func (r *Repo) listIndex(ctx context.Context) (names []blob.Name, err error) {
	err = r.list(ctx, indexDir, func(n blob.Name, size int64) { names = append(names, n) })
	return names, err
}

// readIndex reads index objects, calls add for the packs that are live and not in the view's index, and returns the objects that were good.
func (r *Repo) readIndex(ctx context.Context, v *View, names []blob.Name, add func(*index.Pack) error) (good []blob.Name, err error) {
	for _, n := range names {
		body, list, err := r.getObject(ctx, seal.Index, indexName(n), n)
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
	return good, nil
}

// addIndexObject adds the live packs of an index object, whose directory lists the packs and whose body has their directories.
func (v *View) addIndexObject(name blob.Name, body, list []byte, add func(*index.Pack) error) error {
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
		_, live := v.Packs[l.Name]
		if _, have := v.Index.Pack(l.Name); !live || have {
			continue
		}
		p, err := l.Pack(directory)
		if err == nil {
			err = add(p)
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
