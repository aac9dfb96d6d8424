package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tarn-backup/tarn/repo/storage"
)

// check is one demand on a store. It is given an empty one and may leave objects in it.
type check struct {
	name string
	run  func(ctx context.Context, s storage.Storage) error
}

// checks returns all checks, the protocol's first.
func checks() []check {
	return []check{
		{"1 put is atomic", putIsAtomic},
		{"2 get and list see what was done", readAfterWrite},
		{"3 list reports all that was there throughout", listIsComplete},
		{"4 nothing takes effect late", nothingLate},
		{"a missing object is not there", missingObject},
		{"ranges", ranges},
		{"an empty object", emptyObject},
		{"sizes", sizes},
		{"put replaces", putReplaces},
		{"put new replaces none", putNewReplacesNone},
		{"put keeps no data", putKeepsNoData},
		{"remove twice", removeTwice},
		{"list by prefix", listByPrefix},
		{"list ends with the error of fn", listEndsWithError},
		{"names", names},
		{"a context that has ended", endedContext},
		{"a context that ends during a list", contextEndsInList},
		{"many goroutines", manyGoroutines},
	}
}

// Run runs every check as a subtest, each on a store of its own from newStore, which must be empty.
func Run(t *testing.T, newStore func(t *testing.T) storage.Storage) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context(), newStore(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// pattern returns n bytes that tell objects, and places inside an object, from each other.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = seed + byte(i) + byte(i>>8)*31 + byte(i>>16)*17
	}
	return p
}

// wantObject returns an error unless the object has the bytes of want.
func wantObject(ctx context.Context, s storage.Storage, name string, want []byte) error {
	got, err := storage.ReadAll(ctx, s, name, int64(len(want)))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: got %d bytes that are not the %d bytes that were put", name, len(got), len(want))
	}
	return nil
}

// wantAbsent returns an error unless Get says that the object is not there.
func wantAbsent(ctx context.Context, s storage.Storage, name string) error {
	r, err := s.Get(ctx, name, 0, -1)
	if err == nil {
		r.Close()
		return fmt.Errorf("get %s: it is there", name)
	}
	if !errors.Is(err, storage.ErrNotExist) {
		return fmt.Errorf("get %s: got %v, want an error that wraps ErrNotExist", name, err)
	}
	return nil
}

// list returns the objects below prefix with their sizes, and an error if one is reported twice.
func list(ctx context.Context, s storage.Storage, prefix string) (map[string]int64, error) {
	sizes := map[string]int64{}
	err := s.List(ctx, prefix, func(name string, size int64) error {
		if _, ok := sizes[name]; ok {
			return fmt.Errorf("list %q: %s is reported twice", prefix, name)
		}
		sizes[name] = size
		return nil
	})
	return sizes, err
}

// wantList returns an error unless exactly the named objects are below prefix.
func wantList(ctx context.Context, s storage.Storage, prefix string, names ...string) error {
	got, err := list(ctx, s, prefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := got[name]; !ok {
			return fmt.Errorf("list %q: %s is missing", prefix, name)
		}
		delete(got, name)
	}
	for name := range got {
		return fmt.Errorf("list %q: %s should not be reported", prefix, name)
	}
	return nil
}

// readRange is Get to the end of its reader, whichever of the two fails.
func readRange(ctx context.Context, s storage.Storage, name string, off, n int64) ([]byte, error) {
	r, err := s.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func putAll(ctx context.Context, s storage.Storage, data []byte, names ...string) error {
	for _, name := range names {
		if err := s.Put(ctx, name, data); err != nil {
			return err
		}
	}
	return nil
}
