package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStorage(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return memory.New() })
}

func TestZeroStore(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return &memory.Store{} })
}

func TestCloneIsApart(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	if err := s.Put(ctx, "config", []byte("old")); err != nil {
		t.Fatal(err)
	}
	clone := s.Clone()
	if err := errors.Join(s.Put(ctx, "config", []byte("new")), s.Put(ctx, "keys/1", nil), clone.Put(ctx, "keys/2", nil)); err != nil {
		t.Fatal(err)
	}
	for store, want := range map[*memory.Store]string{s: "new", clone: "old"} {
		if got, err := storage.ReadAll(ctx, store, "config", 10); err != nil || string(got) != want {
			t.Errorf("got %q and %v, want %q", got, err, want)
		}
	}
	if _, err := clone.Get(ctx, "keys/1", 0, -1); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("the clone has what was put later: %v", err)
	}
	if _, err := s.Get(ctx, "keys/2", 0, -1); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("the store has what was put into its clone: %v", err)
	}
}

func Example() {
	ctx := context.Background()
	s := memory.New()
	if err := s.Put(ctx, "snapshots/1", []byte("sealed")); err != nil {
		fmt.Println(err)
	}
	s.List(ctx, "snapshots/", func(name string, size int64) error {
		fmt.Println(name, size)
		return nil
	})
	// Output: snapshots/1 6
}
