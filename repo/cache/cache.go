package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	tempPrefix = "tmp-"
	tempAge    = 24 * time.Hour // after which a temporary file is from a crash
	useAge     = 24 * time.Hour // a use is noted once in this time
	entryMax   = 64 << 20       // bytes of one entry
)

// Dir is a cache in a folder.
type Dir struct {
	path  string
	max   int64
	added atomic.Int64 // bytes
}

// Open opens the cache in a folder, which it makes if need be. It holds about max bytes.
func Open(path string, max int64) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &Dir{path: path, max: max}, nil
}

// file is where an entry is: spread over folders by the first two digits, as packs are.
func (d *Dir) file(key string) string {
	kind, name, _ := strings.Cut(key, "/")
	return filepath.Join(d.path, kind, name[:min(2, len(name))], name)
}

// valid reports whether a key names a file below the folder, and no other.
func valid(key string) bool {
	kind, name, ok := strings.Cut(key, "/")
	return ok && kind != "" && len(name) > 2 && strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") == "" && strings.Trim(name, "0123456789abcdef-") == ""
}

// Get returns what was put under a key, or something else, or nothing.
func (d *Dir) Get(key string) ([]byte, bool) {
	if !valid(key) {
		return nil, false
	}
	f, err := os.Open(d.file(key))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > entryMax {
		return nil, false
	}
	data := make([]byte, info.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) || err != nil && n < len(data) {
		return nil, false
	}
	if now := time.Now(); now.Sub(info.ModTime()) > useAge {
		_ = os.Chtimes(d.file(key), now, now) // a cache that can't be written to serves all the same
	}
	return data, true
}

// Put keeps data under a key, if it can.
func (d *Dir) Put(key string, data []byte) {
	if !valid(key) || len(data) > entryMax {
		return
	}
	to := d.file(key)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return
	}
	f, err := os.CreateTemp(d.path, tempPrefix)
	if err != nil {
		return
	}
	_, err = f.Write(data)
	// No sync: what a power cut leaves does not stand the proof.
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		os.Remove(f.Name())
		return
	}
	d.added.Add(int64(len(data)))
}

// Close removes what is too much, if anything was added.
func (d *Dir) Close() error {
	if d.added.Load() == 0 {
		return nil
	}
	return d.Trim()
}

// entry is a file in a cache.
type entry struct {
	path string
	size int64
	used time.Time
}

// entries returns all files. What goes away meanwhile is left out.
func entries(path string) (list []entry, err error) {
	err = filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		list = append(list, entry{path, info.Size(), info.ModTime()})
		return nil
	})
	return list, err
}

// Trim removes what was used longest ago, until the cache is as small as it should be, and temporary files of crashes.
func (d *Dir) Trim() error {
	list, err := entries(d.path)
	if err != nil {
		return fmt.Errorf("trim cache: %w", err)
	}
	var total int64
	for _, e := range list {
		total += e.size
	}
	slices.SortFunc(list, func(a, b entry) int { return a.used.Compare(b.used) })
	for _, e := range list {
		crashed := strings.HasPrefix(filepath.Base(e.path), tempPrefix) && time.Since(e.used) > tempAge
		if total <= d.max && !crashed {
			continue
		}
		if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim cache: %w", err)
		}
		total -= e.size
	}
	return nil
}

// Usage is what a cache takes.
type Usage struct {
	Bytes int64
	Files int
	Used  time.Time // when it was last used, to the day; zero if it is empty
}

// Look returns what the cache in a folder takes.
func Look(path string) (u Usage, err error) {
	list, err := entries(path)
	if err != nil {
		return u, fmt.Errorf("look at cache: %w", err)
	}
	for _, e := range list {
		u.Bytes += e.size
		u.Files++
		if e.used.After(u.Used) {
			u.Used = e.used
		}
	}
	return u, nil
}
