package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// indexSmall is how many bytes of directories an index object has at least that is not put together with others.
const indexSmall = indexBodyMax / 8

// ConsolidateIndex puts fewer index objects in the place of those of a view that are small or name packs which are gone, and returns how many
// it removed and how many it made. The new ones are durable before the old ones go, so that at each moment every pack is in one.
func (r *Repo) ConsolidateIndex(ctx context.Context, v *View) (removed, made int, err error) {
	// Packs are listed after the index objects that name them were: one that is not here is gone, and never was about to come.
	there := map[blob.Name]bool{}
	if err := r.list(ctx, dataDir, func(n blob.Name, size int64) { there[n] = true }); err != nil {
		return 0, 0, err
	}
	var old, small []blob.Name
	for name, packs := range v.Objects {
		gone := slices.ContainsFunc(packs, func(p blob.Name) bool { return !there[p] })
		switch {
		case gone || len(packs) == 0:
			old = append(old, name)
		case v.bodies[name] < indexSmall:
			small = append(small, name)
		}
	}
	if len(old) > 0 || len(small) > 1 {
		old = append(old, small...)
	}
	sortNames(old)
	m := &indexMerge{repo: r, seen: map[blob.Name]bool{}}
	var done []blob.Name
	for _, name := range old {
		err := m.take(ctx, name, there)
		if errors.Is(err, storage.ErrNotExist) || IsCorrupt(err) && ctx.Err() == nil {
			continue // replaced meanwhile; or damaged, and left to repair
		}
		if err != nil {
			return 0, m.made, err
		}
		done = append(done, name)
	}
	if err := m.put(ctx); err != nil {
		return 0, m.made, err
	}
	for i, name := range done {
		if err := r.storage.Remove(ctx, indexName(name)); err != nil {
			return i, m.made, fmt.Errorf("remove the old index: %w", err)
		}
	}
	return len(done), m.made, nil
}

// indexMerge joins index objects. Directories are copied as they are: nothing of them is decoded.
type indexMerge struct {
	repo *Repo
	seen map[blob.Name]bool // packs that have a place
	list []index.Listed
	body bytes.Buffer
	made int
}

// take adds the packs of an index object that are there.
func (m *indexMerge) take(ctx context.Context, name blob.Name, there map[blob.Name]bool) error {
	body, list, err := m.repo.getObject(ctx, seal.Index, indexName(name), name)
	if err != nil {
		return err
	}
	packs, err := index.DecodeList(string(list))
	if err != nil {
		return fmt.Errorf("index %s: %w: %w", name.Short(), seal.ErrCorrupt, err)
	}
	for _, l := range packs {
		if int(l.Directory) > len(body) {
			return fmt.Errorf("index %s: %w: it ends early", name.Short(), seal.ErrCorrupt)
		}
		directory := body[:l.Directory]
		body = body[l.Directory:]
		if !there[l.Name] || m.seen[l.Name] {
			continue
		}
		if m.body.Len()+len(directory) > indexBodyMax && m.body.Len() > 0 {
			if err := m.put(ctx); err != nil {
				return err
			}
		}
		m.seen[l.Name] = true
		m.list = append(m.list, l)
		m.body.Write(directory)
	}
	return nil
}

// put stores what was taken.
func (m *indexMerge) put(ctx context.Context) error {
	if len(m.list) == 0 {
		return nil
	}
	data := sealObjectWith(m.repo.keys, seal.Index, m.body.Bytes(), index.AppendList(nil, m.list), pack.SizeMin)
	if _, err := m.repo.putObject(ctx, indexName, data); err != nil {
		return fmt.Errorf("store the index: %w", err)
	}
	m.list, m.made = nil, m.made+1
	m.body.Reset()
	return nil
}
