package sftp

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Leftovers returns the temporaries that are there, of Puts that died and of Puts that are at work. Files in tmp/ that do not have the
// name of a temporary are not ours, and are not touched.
func (s *Store) Leftovers(ctx context.Context) ([]storage.Leftover, error) {
	var entries []os.FileInfo
	err := s.do(ctx, func(c *conn) (err error) {
		entries, err = c.ReadDirContext(ctx, s.at(tempFolder))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failed("list leftovers", "", err)
	}
	var found []storage.Leftover
	for _, e := range entries {
		session, ok := storage.ParseTempName(e.Name())
		if ok && e.Mode().IsRegular() {
			found = append(found, storage.Leftover{Name: path.Join(tempFolder, e.Name()), Session: session, Size: e.Size(), ModTime: e.ModTime()})
		}
	}
	return found, nil
}

// RemoveLeftovers removes the temporaries for which over returns true, and returns those that it removed, also with an error.
func (s *Store) RemoveLeftovers(ctx context.Context, over func(storage.Leftover) bool) ([]storage.Leftover, error) {
	found, err := s.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	return storage.RemoveEach(ctx, found, over, func(l storage.Leftover) error {
		return s.failed("remove leftover", l.Name, s.do(ctx, func(c *conn) error { return c.Remove(s.at(l.Name)) }))
	})
}
