package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/repo/storage"
)

func missingObject(ctx context.Context, s storage.Storage) error {
	for _, name := range []string{"config", "data/ab/missing"} {
		if err := wantAbsent(ctx, s, name); err != nil {
			return err
		}
		for _, r := range [][2]int64{{0, 0}, {0, 10}, {10, -1}} {
			if _, err := s.Get(ctx, name, r[0], r[1]); !errors.Is(err, storage.ErrNotExist) {
				return fmt.Errorf("get %s from %d, %d bytes: got %v, want ErrNotExist", name, r[0], r[1], err)
			}
		}
	}
	return wantList(ctx, s, "data/ab/")
}

// putNewReplacesNone has many put the same object with bytes of their own: one of them succeeds, and what he put stays.
func putNewReplacesNone(ctx context.Context, s storage.Storage) error {
	c, ok := s.(storage.Creator)
	if !ok {
		return nil
	}
	const name, writers = "config", 8
	errs := make([]error, writers)
	var all errgroup.Group
	for i := range errs {
		all.Go(func() error {
			errs[i] = c.PutNew(ctx, name, pattern(1000+i, byte(i)))
			return nil
		})
	}
	_ = all.Wait() // each error is in its place
	first := -1
	for i, err := range errs {
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return nil
		case err == nil && first >= 0:
			return fmt.Errorf("both %d and %d made %s", first, i, name)
		case err == nil:
			first = i
		case !errors.Is(err, storage.ErrExist):
			return fmt.Errorf("put of %s as a new object: got %w, want ErrExist", name, err)
		}
	}
	if first < 0 {
		return fmt.Errorf("none of %d made %s", writers, name)
	}
	want := pattern(1000+first, byte(first))
	if err := c.PutNew(ctx, name, want); err != nil {
		return fmt.Errorf("put of %s as a new object again, with the same bytes: %w", name, err)
	}
	return wantObject(ctx, s, name, want)
}

func ranges(ctx context.Context, s storage.Storage) error {
	const name, size = "data/ab/ranges", 10_000
	data := pattern(size, 7)
	if err := s.Put(ctx, name, data); err != nil {
		return err
	}
	for _, off := range []int64{0, 1, 4095, 4096, 5000, size - 1, size} {
		for _, n := range []int64{-1, 0, 1, 100, size - off - 1, size - off} {
			if off == size && n == size-off-1 {
				continue // -1 by chance
			}
			want := data[off:]
			if n >= 0 {
				want = data[off:min(off+n, size)]
			}
			got, err := readRange(ctx, s, name, off, n)
			if off+n > size {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					return fmt.Errorf("get %d bytes at %d of %d: got %d bytes and %v, want io.ErrUnexpectedEOF", n, off, size, len(got), err)
				}
			} else if err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("get %d bytes at %d of %d: got %d bytes and %v, want %d", n, off, size, len(got), err, len(want))
			}
		}
	}
	for _, r := range [][2]int64{{0, size + 1}, {size - 1, 2}, {size, 1}, {size + 1, 1}, {size + 1, -1}, {1 << 40, 1}, {1, 1<<63 - 1}} {
		if got, err := readRange(ctx, s, name, r[0], r[1]); !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("get %d bytes at %d of %d: got %d bytes and %v, want io.ErrUnexpectedEOF", r[1], r[0], size, len(got), err)
		}
	}
	if _, err := readRange(ctx, s, name, -1, 1); err == nil {
		return errors.New("get from -1: no error")
	}
	return nil
}

func emptyObject(ctx context.Context, s storage.Storage) error {
	const name = "data/ab/empty"
	for _, data := range [][]byte{nil, {}} {
		if err := s.Put(ctx, name, data); err != nil {
			return err
		}
		if err := wantObject(ctx, s, name, nil); err != nil {
			return err
		}
	}
	if _, err := readRange(ctx, s, name, 0, 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("get 1 byte of an empty object: got %v, want io.ErrUnexpectedEOF", err)
	}
	got, err := list(ctx, s, "")
	if size, ok := got[name]; err != nil || !ok || size != 0 {
		return fmt.Errorf("list: got %v and %v, want %s with 0 bytes", got, err, name)
	}
	return nil
}

func sizes(ctx context.Context, s storage.Storage) error {
	lengths := []int{1, 511, 512, 4095, 4096, 4097, 1 << 20, 1<<20 + 1, 4 << 20}
	if !testing.Short() {
		lengths = append(lengths, 9<<20+1)
	}
	for _, n := range lengths {
		name, data := fmt.Sprintf("data/ab/%d", n), pattern(n, byte(n))
		if err := s.Put(ctx, name, data); err != nil {
			return err
		}
		if err := wantObject(ctx, s, name, data); err != nil {
			return err
		}
		got, err := list(ctx, s, "data/ab/")
		if err != nil || got[name] != int64(n) {
			return fmt.Errorf("list: %s has %d bytes and %v, want %d", name, got[name], err, n)
		}
	}
	return nil
}

func putReplaces(ctx context.Context, s storage.Storage) error {
	const name = "keys/replaced"
	for i, n := range []int{5000, 5000, 5000, 100, 20_000, 0} {
		data := pattern(n, byte(i/2)) // the second and third differ in bytes alone, the first and second not at all
		if err := s.Put(ctx, name, data); err != nil {
			return err
		}
		if err := wantObject(ctx, s, name, data); err != nil {
			return fmt.Errorf("put %d: %w", i, err)
		}
		if err := wantList(ctx, s, "", name); err != nil {
			return err
		}
	}
	return nil
}

func putKeepsNoData(ctx context.Context, s storage.Storage) error {
	const name = "data/ab/kept"
	data, want := pattern(5000, 1), pattern(5000, 1)
	if err := s.Put(ctx, name, data); err != nil {
		return err
	}
	if !bytes.Equal(data, want) {
		return errors.New("put changed the bytes that it was given")
	}
	clear(data)
	if err := wantObject(ctx, s, name, want); err != nil {
		return fmt.Errorf("after the caller used its buffer again: %w", err)
	}
	return nil
}

func removeTwice(ctx context.Context, s storage.Storage) error {
	const name, other = "snapshots/removed", "snapshots/stays"
	if err := putAll(ctx, s, []byte("x"), name, other); err != nil {
		return err
	}
	for range 2 {
		if err := s.Remove(ctx, name); err != nil {
			return err
		}
		if err := wantAbsent(ctx, s, name); err != nil {
			return err
		}
	}
	for _, never := range []string{"config", "nothing/here", "no/such/folder"} {
		if err := s.Remove(ctx, never); err != nil {
			return fmt.Errorf("of an object that never was: %w", err)
		}
	}
	return wantList(ctx, s, "", other)
}

func listByPrefix(ctx context.Context, s storage.Storage) error {
	all := []string{"config", "keys/1", "data/ab/1", "data/ab/2", "data/abc/1", "data/cd/1", "data2/1", "index/1"}
	if err := wantList(ctx, s, ""); err != nil {
		return fmt.Errorf("an empty store: %w", err)
	}
	if err := putAll(ctx, s, []byte("x"), all...); err != nil {
		return err
	}
	for _, prefix := range []string{"", "keys/", "data/", "data/ab/", "data/cd/", "data2/", "index/", "snapshots/", "data/ef/", "config/"} {
		want := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.HasPrefix(name, prefix) })
		if err := wantList(ctx, s, prefix, want...); err != nil {
			return err
		}
	}
	return nil
}

func listEndsWithError(ctx context.Context, s storage.Storage) error {
	if err := putAll(ctx, s, []byte("x"), "config", "keys/1", "keys/2", "data/ab/1", "data/ab/2"); err != nil {
		return err
	}
	stop := errors.New("enough")
	for _, after := range []int{1, 3} {
		calls := 0
		err := s.List(ctx, "", func(string, int64) error {
			if calls++; calls == after {
				return stop
			}
			return nil
		})
		if err != stop || calls != after { // as it is, not wrapped
			return fmt.Errorf("list whose fn fails at call %d: got %v after %d calls", after, err, calls)
		}
	}
	return nil
}

func names(ctx context.Context, s storage.Storage) error {
	good := []string{"config", "keys/0", "data/ab/cd", "a/b/c", "a-b_c.d/x", "-/_", "1.2.3", strings.Repeat("l", 128) + "/" + strings.Repeat("m", 64)}
	for i, name := range good {
		if err := s.Put(ctx, name, pattern(10+i, 0)); err != nil {
			return err
		}
	}
	for i, name := range good {
		if err := wantObject(ctx, s, name, pattern(10+i, 0)); err != nil {
			return err
		}
	}
	if err := wantList(ctx, s, "", good...); err != nil {
		return err
	}
	bad := []string{"", ".", "..", "/", "/config", "config/", "a//b", "../config", "a/../b", "a/./b", "a/..", ".hidden", "a/.nfs01", "dot.",
		"Config", "a b", "a\\b", "a:b", "a\x00b", "ä", "a\n", "tmp", "tmp/x", "a/b/c/d", strings.Repeat("l", storage.NameSizeMax+1)}
	for _, name := range bad {
		_, getErr := readRange(ctx, s, name, 0, -1)
		for method, err := range map[string]error{"put": s.Put(ctx, name, nil), "get": getErr, "remove": s.Remove(ctx, name)} {
			if !errors.Is(err, fs.ErrInvalid) {
				return fmt.Errorf("%s %q: got %v, want fs.ErrInvalid", method, name, err)
			}
		}
	}
	for _, prefix := range []string{"/", "data", "../", "./", "data//", "tmp/", "a/b/c/", "Data/", "data/a"} {
		if _, err := list(ctx, s, prefix); !errors.Is(err, fs.ErrInvalid) {
			return fmt.Errorf("list %q: got %v, want fs.ErrInvalid", prefix, err)
		}
	}
	return wantList(ctx, s, "", good...)
}

func endedContext(ctx context.Context, s storage.Storage) error {
	if err := s.Put(ctx, "data/ab/there", []byte("x")); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, getErr := readRange(ended, s, "data/ab/there", 0, -1)
	_, listErr := list(ended, s, "")
	for method, err := range map[string]error{
		"get":    getErr,
		"list":   listErr,
		"put":    s.Put(ended, "data/ab/new", []byte("x")),
		"remove": s.Remove(ended, "data/ab/there"),
	} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: got %v, want context.Canceled", method, err)
		}
	}
	return wantList(ctx, s, "", "data/ab/there")
}

func contextEndsInList(ctx context.Context, s storage.Storage) error {
	if err := putAll(ctx, s, []byte("x"), "data/ab/1", "data/ab/2", "data/ab/3", "data/cd/1", "data/cd/2"); err != nil {
		return err
	}
	ending, cancel := context.WithCancel(ctx)
	defer cancel()
	err := s.List(ending, "", func(string, int64) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("list: got %v, want context.Canceled", err)
	}
	return nil
}

// manyGoroutines mixes all methods, on names of their own and on one that all share.
func manyGoroutines(ctx context.Context, s storage.Storage) error {
	const workers, rounds = 8, 8
	shared := pattern(3000, 9)
	g, working := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			ctx := working
			for i := range rounds {
				own, data := fmt.Sprintf("data/%02x/own-%d", i%3, w), pattern(1000*i, byte(w))
				if err := s.Put(ctx, own, data); err != nil {
					return err
				}
				if err := s.Put(ctx, "evictions/shared", shared); err != nil {
					return err
				}
				if err := wantObject(ctx, s, "evictions/shared", shared); err != nil {
					return err
				}
				if err := wantObject(ctx, s, own, data); err != nil {
					return err
				}
				got, err := list(ctx, s, "evictions/")
				if err != nil || len(got) != 1 {
					return fmt.Errorf("list evictions/: got %v and %v, want one object", got, err)
				}
				if err := s.Remove(ctx, own); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return wantList(ctx, s, "", "evictions/shared")
}
