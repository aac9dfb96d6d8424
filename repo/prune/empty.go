package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
)

// secondLook is step P7: a look that is younger than the trash and than the end of all sessions that may not have seen it. What a snapshot needs
// and is in trash only is stored again, and is durable and in the index when this returns.
func (p *pruner) secondLook(ctx context.Context) (*repo.View, error) {
	p.first.Index, p.first.DoomedIndex = index.New(), index.New() // nobody asks them any more, and two of them take twice the memory
	for try := 1; ; try++ {
		v, err := p.look(ctx)
		if errors.Is(err, errMoved) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return nil, err
		}
		failed, err := p.rescue(ctx, v)
		if err != nil {
			return nil, err
		}
		if len(failed) == 0 {
			return v, nil
		}
		for _, err = range failed {
			if repo.IsCorrupt(err) {
				return nil, fmt.Errorf("%w: what it needs is in trash only, and can't be read there: %w", ErrDamaged, err)
			}
			if !errors.Is(err, storage.ErrNotExist) || try == looksMax {
				return nil, fmt.Errorf("a snapshot needs what is in trash only: %w", err)
			}
		}
		// Another pruner took it up meanwhile, and stored it again before he removed the pack.
	}
}

// rescue stores again what is needed and is in trash only.
func (p *pruner) rescue(ctx context.Context, v *repo.View) (failed map[blob.Name]error, err error) {
	// What is needed may be found in packs that are in no index yet, and must be in one when this is done.
	if err := p.writer.Adopt(ctx, v); err != nil {
		return nil, err
	}
	var saved index.Set
	return p.move(ctx, func(yield func(job) bool) {
		if p.trashOnly.Len() == 0 {
			return
		}
		for info, rows := range v.DoomedIndex.Blobs() {
			j := job{info: info}
			for i := range rows {
				if id := idOf(&rows[i]); p.trashOnly.Has(id) && saved.Add(id) {
					j.rows = append(j.rows, rows[i])
				}
			}
			p.result.Rescued += len(j.rows)
			if len(j.rows) > 0 && !yield(j) {
				return
			}
		}
	})
}

// empty is step P9: the packs of ripe trash are removed and taken out of the index, and then the trash objects and what belongs to them. Each
// of its steps can be repeated, by anybody.
func (p *pruner) empty(ctx context.Context, v *repo.View, ripe []blob.Name) error {
	held := map[blob.Name]bool{} // packs that are locked, and trash objects that name some
	for _, d := range ripe {
		for _, name := range v.Trash[d] {
			size, there := v.Doomed[name]
			if !there {
				continue
			}
			if err := p.remove(ctx, name, size, held); err != nil {
				return err
			}
			if held[name] {
				held[d] = true
				continue
			}
			delete(v.Doomed, name) // it may be in several trash objects
		}
	}
	p.result.Waiting = Sum{}
	for name, size := range v.Doomed {
		if !held[name] {
			p.result.Waiting.add(size)
		}
	}
	if v == p.first { // which is older than what was put there
		p.result.Waiting.Packs += p.result.Trashed.Packs
		p.result.Waiting.Bytes += p.result.Trashed.Bytes
	}
	var err error
	if p.result.IndexRemoved, p.result.IndexMade, err = p.repo.ConsolidateIndex(ctx, v); err != nil {
		return err
	}
	for _, d := range ripe {
		if held[d] {
			continue
		}
		if err := p.repo.RemoveTrash(ctx, d); err != nil {
			return err
		}
	}
	return p.tidy(ctx)
}

// remove removes a pack, or notes that it is held: then it stays in trash, for the prune after its lock has run out.
func (p *pruner) remove(ctx context.Context, name blob.Name, size int64, held map[blob.Name]bool) error {
	if held[name] {
		return nil
	}
	err := p.repo.RemovePack(ctx, name)
	if until, ok := storage.HeldUntil(err); ok {
		held[name] = true
		p.result.Held.add(size)
		if until.After(p.result.HeldUntil) {
			p.result.HeldUntil = until
		}
		return nil
	}
	if err != nil {
		return err
	}
	p.result.Removed.add(size)
	p.options.Progress(Removing, uint64(p.result.Removed.Packs))
	return nil
}

// tidy removes what nobody has a use for: lists of sessions for trash that is gone, and unfinished uploads of sessions that are over.
func (p *pruner) tidy(ctx context.Context) error {
	waits, err := p.repo.Waits(ctx)
	if err != nil {
		return err
	}
	trash, err := p.repo.TrashNames(ctx) // after the lists: a list is made for what is there
	if err != nil {
		return err
	}
	for _, w := range waits {
		if !slices.Contains(trash, w.Trash) {
			if err := p.repo.RemoveWait(ctx, w.Name); err != nil {
				return err
			}
		}
	}
	return p.leftovers(ctx)
}

// leftovers removes what Puts of sessions that are over left behind. The sessions are listed after the leftovers: each of them belongs to a
// session that had begun.
func (p *pruner) leftovers(ctx context.Context) error {
	store, ok := p.repo.Storage().(storage.Cleaner)
	if !ok {
		return nil
	}
	var listed map[blob.Session]bool
	var listErr error
	removed, err := store.RemoveLeftovers(ctx, func(l storage.Leftover) bool {
		id, err := blob.ParseSession(l.Session)
		if err != nil {
			return false
		}
		if listed == nil && listErr == nil {
			listed, listErr = p.repo.SessionIDs(ctx)
		}
		return listErr == nil && !listed[id]
	})
	p.result.Leftovers = len(removed)
	return errors.Join(err, listErr)
}
