package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Remove removes an object, durably.
func (d *Dir) Remove(ctx context.Context, name string) error {
	err := check(ctx, storage.CheckName(name))
	if err == nil {
		err = d.remove(name)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func (d *Dir) remove(name string) error {
	err := retry(func() error { return d.disk.Remove(name) })
	if errors.Is(err, syscall.ENOTDIR) { // "config/x" could be an object's name, but "config" is no folder
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Also if it was gone: an earlier Remove may have failed just here.
	err = retry(func() error { return d.disk.SyncFolder(path.Dir(name)) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
