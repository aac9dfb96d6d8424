package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// SnapshotNames lists the stored snapshots, in no order.
func (r *Repo) SnapshotNames(ctx context.Context) ([]blob.Name, error) {
	var names []blob.Name
	err := r.list(ctx, snapshotsDir, func(n blob.Name, size int64) { names = append(names, n) })
	return names, err
}

// LoadSnapshot returns a snapshot's record, encoded. storage.ErrNotExist is wrapped if it is gone.
func (r *Repo) LoadSnapshot(ctx context.Context, name blob.Name) ([]byte, error) {
	body, _, err := r.getObject(ctx, seal.Snapshot, snapshotName(name), name)
	if errors.Is(err, storage.ErrNotExist) {
		return nil, fmt.Errorf("snapshot %s: %w", name.Short(), err)
	}
	return body, err
}

// RemoveReplaced removes snapshots that one which is stored takes the place of, and reports whether it did. While somebody prunes they
// stay: the list that he is just making might have neither.
func (r *Repo) RemoveReplaced(ctx context.Context, names []blob.Name) (bool, error) {
	if len(names) == 0 {
		return true, nil
	}
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return false, err
	}
	for _, s := range sessions {
		if s.Purpose == PurposePrune || s.Purpose == "" { // one that can't be read might be anybody
			return false, nil
		}
	}
	for _, name := range names {
		if err := r.RemoveSnapshot(ctx, name); err != nil {
			return false, fmt.Errorf("remove snapshot %s: %w", name.Short(), err)
		}
	}
	return true, nil
}

// RemoveSnapshot removes a snapshot's record. What it referred to stays until a prune.
func (r *Repo) RemoveSnapshot(ctx context.Context, name blob.Name) error {
	return r.storage.Remove(ctx, snapshotName(name))
}
