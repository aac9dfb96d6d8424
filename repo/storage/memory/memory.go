package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Store is a storage.Storage in memory. The zero Store is empty and ready to use.
type Store struct {
	mu      sync.RWMutex
	objects map[string][]byte // the bytes are never changed, so that readers need no lock
}

// New returns an empty store.
func New() *Store { return &Store{} }

// Clone returns a store of its own that has the same objects.
func (s *Store) Clone() *Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Store{objects: maps.Clone(s.objects)}
}

// Put stores a copy of data.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = make(map[string][]byte)
	}
	s.objects[name] = slices.Clone(data)
	return nil
}

// Get returns a reader of the object as it is now, also if it is replaced or removed later.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	s.mu.RLock()
	data, ok := s.objects[name]
	s.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, storage.ErrNotExist)
	}
	n, err := storage.Range(int64(len(data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return io.NopCloser(bytes.NewReader(data[off : off+n])), nil
}

// List reports the objects that are there when it is called, in the order of their names: a simulation has to be repeatable.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	if err := check(ctx, storage.CheckPrefix(prefix)); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	s.mu.RLock()
	now := maps.Clone(s.objects) // fn may call the store
	s.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := fn(name, int64(len(now[name]))); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes an object.
func (s *Store) Remove(ctx context.Context, name string) error {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
	return nil
}

func check(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	return ctx.Err()
}
