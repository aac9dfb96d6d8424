package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Leftovers returns the temporaries that are there, of Puts that died and of Puts that are at work. Files in tmp/ that do
// not have the name of a temporary are not ours, and are not touched.
func (d *Dir) Leftovers(ctx context.Context) ([]storage.Leftover, error) {
	var found []storage.Leftover
	err := d.readFolder(ctx, tempFolder, func(e fs.DirEntry) error {
		session, ok := parseTempName(e.Name())
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
	var removed []storage.Leftover
	for _, l := range found {
		if !over(l) {
			continue
		}
		err := check(ctx, nil)
		if err == nil {
			err = retry(func() error { return d.disk.Remove(l.Name) })
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, fmt.Errorf("remove leftover %s: %w", l.Name, err)
		}
		removed = append(removed, l)
	}
	return removed, nil
}

// parseTempName returns the session of a temporary, and whether it is one.
func parseTempName(name string) (session string, ok bool) {
	session, random, ok := strings.Cut(name, "-")
	if !ok || len(random) != 16 || strings.Trim(random, "0123456789abcdef") != "" {
		return "", false
	}
	return session, session == "" || storage.ValidLabel(session)
}
