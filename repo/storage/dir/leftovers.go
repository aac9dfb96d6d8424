package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Leftovers returns the temporaries that are there, of Puts that died and of Puts that are at work. Files in tmp/ that do
// not have the name of a temporary are not ours, and are not touched.
func (d *Dir) Leftovers(ctx context.Context) ([]storage.Leftover, error) {
	var found []storage.Leftover
	err := d.readFolder(ctx, tempFolder, func(e fs.DirEntry) error {
		session, ok := storage.ParseTempName(e.Name())
		if !ok || !e.Type().IsRegular() {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // its Put has ended
			return nil
		}
		if err != nil {
			return err
		}
		found = append(found, storage.Leftover{
			Name: path.Join(tempFolder, e.Name()), Session: session, Size: info.Size(), ModTime: info.ModTime(),
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list leftovers: %w", err)
	}
	return found, nil
}

// RemoveLeftovers removes the temporaries for which over returns true, and returns those that it removed, also with an error.
func (d *Dir) RemoveLeftovers(ctx context.Context, over func(storage.Leftover) bool) ([]storage.Leftover, error) {
	found, err := d.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	return storage.RemoveEach(ctx, found, over, func(l storage.Leftover) error {
		if err := retry(func() error { return d.disk.Remove(l.Name) }); err != nil {
			return fmt.Errorf("remove leftover %s: %w", l.Name, err)
		}
		return nil
	})
}
