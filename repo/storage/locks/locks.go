package locks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/repo/storage"
	"golang.org/x/sync/errgroup"
)

// readsMax is how many envelopes are read at once.
const readsMax = 8

// looksMax is how often a Get looks again for an envelope that was replaced between the list and the read.
const looksMax = 50

// Store keeps what a server does not take under its own name in envelopes.
type Store struct {
	store  storage.Storage
	layout Layout

	changing sync.Mutex // held while envelopes are put or removed

	mu    sync.Mutex // guards known
	known map[string]label
}

// Wrap returns a store over s, which has to take the names of the layout, and 64 hex digits below locks/.
func Wrap(s storage.Storage, l Layout) *Store {
	return &Store{store: s, layout: l, known: map[string]label{}}
}

// Marked reports whether envelopes may be in a store.
func Marked(ctx context.Context, s storage.Storage) (bool, error) {
	name, _ := mark()
	r, err := s.Get(ctx, name, 0, -1)
	if errors.Is(err, storage.ErrNotExist) && !errors.Is(err, storage.ErrNoPlace) {
		return false, nil
	}
	if err != nil {
		return false, unnamed{err, strings.Replace(err.Error(), "get "+name+": ", "", 1)}
	}
	return true, r.Close()
}

// unnamed is an error of the read of the mark, which is nothing that people know of.
type unnamed struct {
	error
	text string
}

func (u unnamed) Error() string { return u.text }
func (u unnamed) Unwrap() error { return u.error }

// envelope is one that is listed.
type envelope struct {
	label
	object string // its name in storage
	length int64  // of what is in it
}

// look returns the envelopes that are there now by the name of what is in them, the one that counts first.
func (s *Store) look(ctx context.Context) (found map[string][]envelope, marked bool, err error) {
	sizes := map[string]int64{}
	err = s.store.List(ctx, locksDir, func(name string, size int64) error {
		if isHash(strings.TrimPrefix(name, locksDir)) {
			sizes[name] = size
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	labels, err := s.read(ctx, sizes)
	if err != nil {
		return nil, false, err
	}
	found = map[string][]envelope{}
	for object, l := range labels {
		if l.name == "" {
			marked = true
			continue
		}
		found[l.name] = append(found[l.name], envelope{l, object, sizes[object] - l.size()})
	}
	for _, list := range found {
		slices.SortFunc(list, func(a, b envelope) int {
			return cmp.Or(cmp.Compare(b.generation, a.generation), strings.Compare(b.object, a.object))
		})
	}
	return found, marked, nil
}

// read returns the labels of the envelopes that are listed. Those that are gone again are left out, and so is what is none: restic's locks.
func (s *Store) read(ctx context.Context, sizes map[string]int64) (map[string]label, error) {
	s.mu.Lock()
	maps.DeleteFunc(s.known, func(object string, _ label) bool { _, ok := sizes[object]; return !ok })
	labels := maps.Clone(s.known)
	s.mu.Unlock()
	var unread []string
	for object := range sizes {
		if _, ok := labels[object]; !ok {
			unread = append(unread, object)
		}
	}
	var mu sync.Mutex // guards labels
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(readsMax)
	for _, object := range unread {
		g.Go(func() error {
			head := make([]byte, min(sizes[object], int64(headMax)))
			err := storage.ReadRange(reading, s.store, object, head, 0)
			if errors.Is(err, storage.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if l, err := readLabel(head); err == nil {
				mu.Lock()
				labels[object] = l
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.known, labels)
	return labels, nil
}

// Put puts an object, or an envelope with it.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := check(name); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if s.layout.Takes(name) {
		return s.store.Put(ctx, name, data)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	found, marked, err := s.look(ctx)
	if err == nil && !marked { // before there is anything to miss
		object, mark := mark()
		err = s.store.Put(ctx, object, mark)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	l := label{name: name}
	older := found[name]
	if len(older) > 0 {
		l.generation = older[0].generation
		if object, _ := l.seal(data); object != older[0].object {
			l.generation++
		}
	}
	object, sealed := l.seal(data)
	if err := s.store.Put(ctx, object, sealed); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	older = slices.DeleteFunc(slices.Clone(older), func(e envelope) bool { return e.object == object })
	return s.drop(ctx, older)
}

// Get opens an object, or what is in its envelope.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := check(name); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	if s.layout.Takes(name) {
		return s.store.Get(ctx, name, off, n)
	}
	for looks := 1; ; looks++ {
		found, _, err := s.look(ctx)
		if err == nil && len(found[name]) == 0 {
			err = storage.ErrNotExist
		}
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", name, err)
		}
		e := found[name][0]
		length, err := storage.Range(e.length, off, n)
		if err != nil {
			return nil, fmt.Errorf("get %s: %w", name, err)
		}
		if length == 0 {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		r, err := s.store.Get(ctx, e.object, e.size()+off, length)
		if errors.Is(err, storage.ErrNotExist) && looks < looksMax {
			continue // replaced meanwhile, or removed
		}
		return r, err
	}
}

// List reports what is stored under its own name, and what is in envelopes.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	if err := storage.CheckPrefix(prefix); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	if s.layout.overlaps(prefix) {
		err := s.store.List(ctx, prefix, func(name string, size int64) error {
			if !s.layout.Takes(name) {
				return nil
			}
			return fn(name, size)
		})
		if err != nil {
			return err
		}
	}
	found, _, err := s.look(ctx)
	if err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := fn(name, found[name][0].length); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes an object, or all envelopes with one of its name.
func (s *Store) Remove(ctx context.Context, name string) error {
	if err := check(name); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	if s.layout.Takes(name) {
		return s.store.Remove(ctx, name)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	found, _, err := s.look(ctx)
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return s.drop(ctx, found[name])
}

// drop removes envelopes, the one that counts last, so that no older one comes to light.
func (s *Store) drop(ctx context.Context, list []envelope) error {
	for _, e := range slices.Backward(list) {
		if err := s.store.Remove(ctx, e.object); err != nil {
			return fmt.Errorf("remove %s: %w", e.name, err)
		}
	}
	return nil
}
