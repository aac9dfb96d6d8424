package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/repo/storage"
)

// putIsAtomic lets readers look at one name while it is put, replaced by a longer and a shorter object, and removed.
func putIsAtomic(ctx context.Context, s storage.Storage) error {
	const name, rounds, readers = "data/ab/atomic", 40, 3
	versions := [][]byte{pattern(300_000, 1), pattern(100, 2), pattern(70_000, 3)}
	stop := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(stop)
		for i := range rounds {
			if err := s.Put(ctx, name, versions[i%len(versions)]); err != nil {
				return err
			}
			if i%5 == 4 {
				if err := s.Remove(ctx, name); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for range readers {
		g.Go(func() error {
			for !closed(stop) {
				if err := oneOf(ctx, s, name, versions); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// oneOf returns an error if an object is there, but not as one of versions: neither for Get nor for List.
func oneOf(ctx context.Context, s storage.Storage, name string, versions [][]byte) error {
	got, err := readRange(ctx, s, name, 0, -1)
	switch {
	case errors.Is(err, storage.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read %s while it is replaced: %w", name, err)
	default:
		whole := false
		for _, v := range versions {
			whole = whole || bytes.Equal(got, v)
		}
		if !whole {
			return fmt.Errorf("%s: a reader saw %d bytes that nobody put", name, len(got))
		}
	}
	return s.List(ctx, "data/ab/", func(listed string, size int64) error {
		for _, v := range versions {
			if listed == name && size == int64(len(v)) {
				return nil
			}
		}
		return fmt.Errorf("list: %s of %d bytes, which nobody put", listed, size)
	})
}

// readAfterWrite looks at once, in several goroutines, each with a folder of its own.
func readAfterWrite(ctx context.Context, s storage.Storage) error {
	g, ctx := errgroup.WithContext(ctx)
	for w := range 4 {
		g.Go(func() error {
			folder := fmt.Sprintf("data/%02x/", w)
			for i := range 6 {
				name, data := fmt.Sprintf("%s%d", folder, i), pattern(1000+i, byte(w))
				if err := s.Put(ctx, name, data); err != nil {
					return err
				}
				if err := wantObject(ctx, s, name, data); err != nil {
					return err
				}
				if err := wantList(ctx, s, folder, name); err != nil {
					return fmt.Errorf("after put: %w", err)
				}
				if err := s.Remove(ctx, name); err != nil {
					return err
				}
				if err := wantAbsent(ctx, s, name); err != nil {
					return fmt.Errorf("after remove: %w", err)
				}
				if err := wantList(ctx, s, folder); err != nil {
					return fmt.Errorf("after remove: %w", err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// listIsComplete lists while others put and remove objects around those that stay, and put those that stay once more with
// the same bytes, as two clients do that store the same chunk or retry. The names are long, so that a folder is read in
// several pieces.
func listIsComplete(parent context.Context, s storage.Storage) error {
	const folders, each, lists = 2, 100, 6
	stay := map[string]bool{}
	for i := range folders * each {
		name := fmt.Sprintf("data/%02x/stays-%0180d", i%folders, i)
		stay[name] = true
		if err := s.Put(parent, name, []byte("stays")); err != nil {
			return err
		}
	}
	stop := make(chan struct{})
	stopOnce := sync.OnceFunc(func() { close(stop) })
	g, ctx := errgroup.WithContext(parent)
	for w := range 2 {
		g.Go(func() error {
			for i := 0; !closed(stop); i++ {
				if err := disturb(ctx, s, w, i, stay); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer stopOnce()
		for range lists {
			if err := listsAll(ctx, s, stay); err != nil {
				return err
			}
		}
		return nil
	})
	err := g.Wait()
	stopOnce()
	if err != nil {
		return err
	}
	return listIsHeldUp(parent, s, stay)
}

// listIsHeldUp puts all objects once more in the middle of a list, and others besides: what happens by chance above
// happens here for certain.
func listIsHeldUp(ctx context.Context, s storage.Storage, stay map[string]bool) error {
	first := true
	seen := map[string]bool{}
	err := s.List(ctx, "data/", func(name string, _ int64) error {
		seen[name] = true
		if !first {
			return nil
		}
		first = false
		for again := range stay {
			if err := s.Put(ctx, again, []byte("stays")); err != nil {
				return err
			}
		}
		return s.Put(ctx, "data/00/new", []byte("new"))
	})
	if err != nil {
		return err
	}
	return wantAll(seen, stay)
}

func disturb(ctx context.Context, s storage.Storage, worker, i int, stay map[string]bool) error {
	passing := fmt.Sprintf("data/%02x/passes-%d-%d", i%2, worker, i%7)
	if err := s.Put(ctx, passing, []byte("passes")); err != nil {
		return err
	}
	n := 0
	for again := range stay { // in another order each time
		if err := s.Put(ctx, again, []byte("stays")); err != nil {
			return err
		}
		if n++; n == 10 {
			break
		}
	}
	return s.Remove(ctx, passing)
}

func listsAll(ctx context.Context, s storage.Storage, stay map[string]bool) error {
	seen := map[string]bool{}
	err := s.List(ctx, "data/", func(name string, size int64) error {
		if stay[name] && size != int64(len("stays")) {
			return fmt.Errorf("list: %s has %d bytes, %d were put", name, size, len("stays"))
		}
		seen[name] = true
		return nil
	})
	if err != nil {
		return err
	}
	return wantAll(seen, stay)
}

func wantAll(seen, stay map[string]bool) error {
	missing := 0
	for name := range stay {
		if !seen[name] {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("list: %d of %d objects that were there throughout are missing", missing, len(stay))
	}
	return nil
}

// nothingLate gives up a Put at some moment of it, tries again with other bytes, and looks whether the first ever comes through.
func nothingLate(ctx context.Context, s storage.Storage) error {
	const rounds = 25
	first, second := pattern(200_000, 1), pattern(500, 2)
	name := func(i int) string { return fmt.Sprintf("data/ab/late-%d", i) }
	for i := range rounds {
		early, cancel := context.WithCancel(ctx)
		returned, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; n < i*10 && !closed(returned); n++ { // a little later in each round
				wantAbsent(ctx, s, "data/ab/never")
			}
			cancel()
		}()
		s.Put(early, name(i), first) // it may succeed or not
		close(returned)
		if i%2 == 0 {
			if err := s.Put(ctx, name(i), second); err != nil {
				return err
			}
		} else if err := s.Remove(ctx, name(i)); err != nil {
			return err
		}
		<-done
	}
	for i := range rounds {
		err := wantAbsent(ctx, s, name(i))
		if i%2 == 0 {
			err = wantObject(ctx, s, name(i), second)
		}
		if err != nil {
			return fmt.Errorf("a put that was given up took effect after a later one or a remove: %w", err)
		}
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
