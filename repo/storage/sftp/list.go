package sftp

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/repo/storage"
)

// foldersAtOnce is how many folders are read at the same time: each takes some round trips, and a repository has 256 for packs alone.
const foldersAtOnce = 16

// callerError is an error of List's fn, which is not List's to explain.
type callerError struct{ error }

// object is one that was listed.
type object struct {
	name string
	size int64
}

// List walks the folders below prefix, without tmp/ and without what is no object.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	err := refused(ctx, storage.CheckPrefix(prefix))
	if err == nil {
		err = s.list(ctx, strings.TrimSuffix(prefix, "/"), fn)
	}
	if own, ok := err.(callerError); ok {
		return own.error
	}
	return s.failed("list", prefix, err)
}

func (s *Store) list(ctx context.Context, folder string, fn func(name string, size int64) error) error {
	objects, below, err := s.readFolder(ctx, folder)
	if err != nil {
		return err
	}
	if folder == "" { // the others are found below these
		for _, name := range below {
			if err := s.list(ctx, name, fn); err != nil {
				return err
			}
		}
		return report(ctx, objects, fn)
	}
	if err := report(ctx, objects, fn); err != nil {
		return err
	}
	lists := make(chan []object)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(foldersAtOnce)
	go func() {
		defer close(lists)
		for _, name := range below {
			g.Go(func() error {
				list, _, err := s.readFolder(reading, name)
				if err != nil {
					return err
				}
				select {
				case lists <- list:
					return nil
				case <-reading.Done():
					return reading.Err()
				}
			})
		}
		_ = g.Wait() // told below
	}()
	var failed error
	for list := range lists {
		if failed == nil {
			if failed = report(ctx, list, fn); failed != nil {
				cancel()
			}
		}
	}
	if failed != nil {
		return failed
	}
	return g.Wait()
}

func report(ctx context.Context, objects []object, fn func(name string, size int64) error) error {
	for _, o := range objects {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(o.name, o.size); err != nil {
			return callerError{err}
		}
	}
	return nil
}

// readFolder returns the objects in a folder, and the folders that may have more; none if it is not there.
func (s *Store) readFolder(ctx context.Context, folder string) (objects []object, below []string, err error) {
	var entries []os.FileInfo
	err = s.do(ctx, func(c *conn) (err error) {
		entries, err = c.ReadDirContext(ctx, s.at(folder))
		if isFailure(err) { // "config/" could be a prefix, but it is no folder
			if info, statErr := c.Stat(s.at(folder)); statErr == nil && !info.IsDir() {
				entries, err = nil, nil
			}
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && folder != "" {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := path.Join(folder, e.Name())
		switch {
		case e.IsDir() && storage.CheckPrefix(name+"/") == nil:
			below = append(below, name)
		case e.Mode().IsRegular() && storage.CheckName(name) == nil:
			objects = append(objects, object{name, e.Size()})
		}
	}
	return objects, below, nil
}
