package repo_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
)

// TestRotateTwice has a second machine rotate the key, from beginning to end, before each operation of a first one that rotates it, adds a
// password or changes its own. One of the two gives up: a master key that was made is never lost, and no old one stays behind.
func TestRotateTwice(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*repo.Repo, context.Context, seal.Slot, []byte) (blob.Name, error){
		"rotate": (*repo.Repo).RotateKey, "add": (*repo.Repo).AddKey, "change": (*repo.Repo).ChangePassword,
	} {
		slot := seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}
		for nth := 1; ; nth++ {
			store := newStore(t)
			open := func(password string) (*repo.Repo, error) {
				return repo.Open(t.Context(), store, func() ([]byte, error) { return []byte(password), nil }, repo.OpenOptions{})
			}
			second, err := open(string(password))
			if err != nil {
				t.Fatal(err)
			}
			ops, secondErr := -1<<20, errors.New("it did not run")
			first, err := repo.Open(t.Context(), faulty.Wrap(store, faulty.Options{Before: func(ctx context.Context, op faulty.Op) error {
				if ops++; ops == nth {
					_, secondErr = second.RotateKey(ctx, slot, []byte("second"))
				}
				return nil
			}}), func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ops = 0
			_, firstErr := change(first, t.Context(), slot, []byte("first"))
			if ops < nth {
				if nth < 4 {
					t.Errorf("%s takes %d operations", what, ops)
				}
				break
			}
			gone := map[bool]error{true: firstErr, false: secondErr}[secondErr == nil]
			_, notFirst := open("first")
			_, notSecond := open("second")
			if (firstErr == nil) == (secondErr == nil) || !errors.Is(gone, repo.ErrKeyGone) || (firstErr == nil) != (notFirst == nil) || (secondErr == nil) != (notSecond == nil) {
				t.Errorf("a rotation before operation %d of %s: the first one says %v and opens with %v, the second says %v and opens with %v",
					nth, what, firstErr, notFirst, secondErr, notSecond)
			}
		}
	}
}

// TestRemoveEachOthersKey has a second machine remove the first one's key before each operation of the first, which removes the second one's.
// A key stays that opens the repository.
func TestRemoveEachOthersKey(t *testing.T) {
	t.Parallel()
	for nth := 1; ; nth++ {
		store := newStore(t)
		open := func(s storage.Storage, password string) (*repo.Repo, error) {
			return repo.Open(t.Context(), s, func() ([]byte, error) { return []byte(password), nil }, repo.OpenOptions{})
		}
		second, err := open(store, string(password))
		if err != nil {
			t.Fatal(err)
		}
		a, err := second.AddKey(t.Context(), seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}, []byte("first"))
		if err != nil {
			t.Fatal(err)
		}
		slots, err := second.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ops, ran := -1<<20, false
		first, err := open(faulty.Wrap(store, faulty.Options{Before: func(ctx context.Context, op faulty.Op) error {
			if ops++; ops == nth {
				ran = true
				_ = second.RemoveKey(ctx, a) // it may be the last one
			}
			return nil
		}}), "first")
		if err != nil {
			t.Fatal(err)
		}
		ops = 0
		for _, k := range slots {
			if k.Name != a {
				_ = first.RemoveKey(t.Context(), k.Name)
			}
		}
		if !ran {
			if nth < 4 {
				t.Errorf("a removal takes %d operations", ops)
			}
			break
		}
		_, notFirst := open(store, "first")
		_, notSecond := open(store, string(password))
		if notFirst != nil && notSecond != nil {
			t.Errorf("before operation %d: %v; %v", nth, notFirst, notSecond)
		}
	}
}
