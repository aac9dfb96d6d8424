package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/tarn-backup/tarn/repo/storage"
)

// listStep is how many entries of a folder are in memory at once.
const listStep = 64

// List walks the folders below prefix, without tmp/ and without what is no object: files whose names [storage.CheckName] refuses,
// links, devices.
func (d *Dir) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	err := check(ctx, storage.CheckPrefix(prefix))
	if err == nil {
		err = d.walk(ctx, strings.TrimSuffix(prefix, "/"), fn)
	}
	if own, ok := err.(callerError); ok {
		return own.error
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", path.Join(d.path, prefix), err)
	}
	return nil
}

// callerError is an error of List's fn, which is not List's to explain.
type callerError struct{ error }

// walk lists one folder, "" for the whole store.
func (d *Dir) walk(ctx context.Context, folder string, fn func(name string, size int64) error) error {
	return d.readFolder(ctx, path.Clean(folder), func(e fs.DirEntry) error {
		name := path.Join(folder, e.Name())
		if e.IsDir() {
			if storage.CheckPrefix(name+"/") != nil {
				return nil
			}
			return d.walk(ctx, name, fn)
		}
		if !e.Type().IsRegular() || storage.CheckName(name) != nil {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed since the folder was read
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(name, info.Size()); err != nil {
			return callerError{err}
		}
		return nil
	})
}

// readFolder calls fn for each entry of a folder, for none if it is not there.
func (d *Dir) readFolder(ctx context.Context, folder string, fn func(fs.DirEntry) error) error {
	var f fs.File
	err := retry(func() (err error) {
		f, err = d.disk.Open(folder)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && folder != "." {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.IsDir() { // "config/" could be a prefix, but holds nothing
		return err
	}
	entries, ok := f.(fs.ReadDirFile)
	if !ok {
		return fmt.Errorf("read folder %s: %w", folder, errors.ErrUnsupported)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, readErr := entries.ReadDir(listStep)
		for _, e := range batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}
