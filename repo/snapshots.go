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

// RemoveSnapshot removes a snapshot's record. What it referred to stays until a prune.
func (r *Repo) RemoveSnapshot(ctx context.Context, name blob.Name) error {
	return r.storage.Remove(ctx, snapshotName(name))
}
