package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// What a repair does to a repository's objects. None of it needs a lock: index objects are hints, and trash is only a proposal
// until a prune has waited for all sessions and looked once more.

// ReadIndexObject returns what an index object says of packs. storage.ErrNotExist is wrapped if it is gone.
func (r *Repo) ReadIndexObject(ctx context.Context, name blob.Name) ([]*index.Pack, error) {
	body, list, err := r.getObject(ctx, seal.Index, indexName(name), name)
	if err != nil {
		return nil, err
	}
	listed, err := index.DecodeList(string(list))
	if err != nil {
		return nil, fmt.Errorf("index %s: %w: %v", name.Short(), seal.ErrCorrupt, err)
	}
	packs, rest := make([]*index.Pack, 0, len(listed)), string(body)
	for i := range listed {
		n := min(int(listed[i].Directory), len(rest))
		p, err := listed[i].Pack(rest[:n])
		if err != nil {
			return nil, fmt.Errorf("index %s: %w: %v", name.Short(), seal.ErrCorrupt, err)
		}
		packs, rest = append(packs, p), rest[n:]
	}
	return packs, nil
}

// PutIndexObjects stores what packs hold, in as many index objects as it takes. The packs must be durable.
func (r *Repo) PutIndexObjects(ctx context.Context, packs []*index.Pack) error {
	for len(packs) > 0 {
		n, body := 0, 0
		for n < len(packs) {
			size := index.DirectorySize(packs[n])
			if n > 0 && body+size > indexBodyMax {
				break
			}
			n, body = n+1, body+size
		}
		if _, err := r.putObject(ctx, indexName, encodeIndexObject(r.keys, packs[:n])); err != nil {
			return fmt.Errorf("store the index: %w", err)
		}
		packs = packs[n:]
	}
	return nil
}

// RemoveIndexObject removes an index object. What its packs hold is then in others, or read from the packs.
func (r *Repo) RemoveIndexObject(ctx context.Context, name blob.Name) error {
	return r.storage.Remove(ctx, indexName(name))
}

// PackObject is a pack's name in storage.
func PackObject(n blob.Name) string { return packName(n) }

// PutPack puts a pack's own bytes back in its place.
func (w *Writer) PutPack(ctx context.Context, name blob.Name, data []byte) error {
	if err := w.storage.Put(ctx, packName(name), data); err != nil {
		return fmt.Errorf("store a pack again: %w", err)
	}
	return nil
}

// Confirm asks whether a session still stands and ends it (step W5), for one that stored packs or trash and no snapshot.
// ErrEvicted says that packs which it relied on may be gone.
func (w *Writer) Confirm(ctx context.Context) error {
	if err := w.FinishParity(ctx); err != nil {
		return err
	}
	ok, err := w.repo.Stands(ctx, w.Session())
	if err != nil {
		return fmt.Errorf("confirm the session: %w", err)
	}
	if !ok {
		return ErrEvicted
	}
	w.cancel()
	if err := w.repo.storage.Remove(ctx, sessionName(w.Session())); err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return nil
}

// ReplaceSnapshot removes a snapshot whose successor is durable and confirmed. It reports false, and leaves it, while somebody prunes: a
// list of snapshots that is just being made might have neither.
func (r *Repo) ReplaceSnapshot(ctx context.Context, old blob.Name) (removed bool, err error) {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return false, err
	}
	for _, s := range sessions {
		if s.Purpose == PurposePrune || s.Purpose == "" { // one that can't be read may be a pruner's
			return false, nil
		}
	}
	if err := r.RemoveSnapshot(ctx, old); err != nil && !errors.Is(err, storage.ErrNotExist) {
		return false, err
	}
	return true, nil
}

// LiveSessions are the sessions that are listed and not evicted: packs of theirs are not for anybody else to remove.
func (r *Repo) LiveSessions(ctx context.Context) (map[blob.Session]bool, error) {
	live, err := r.listSessions(ctx, sessionsDir)
	if err != nil {
		return nil, err
	}
	evicted, err := r.listSessions(ctx, evictionsDir)
	if err != nil {
		return nil, err
	}
	for s := range evicted {
		delete(live, s)
	}
	return live, nil
}
