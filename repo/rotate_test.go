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

// TestRotationKilled kills a rotation before each of its operations. When the new password opens the repository and something was saved with it, the
// old ones can do nothing that would lose that: no other rotation, no change of a password, no removal of the new one, and no backup, which the old
// master key would seal. Who has both passwords the same gets the new key. The next rotation removes them all.
func TestRotationKilled(t *testing.T) {
	t.Parallel()
	slot := seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}
	between := 0
	for nth := 1; ; nth++ {
		store := newStore(t)
		open := func(s storage.Storage, password string) (*repo.Repo, error) {
			return repo.Open(t.Context(), s, func() ([]byte, error) { return []byte(password), nil }, repo.OpenOptions{})
		}
		first, err := open(store, string(password))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.AddKey(t.Context(), slot, []byte("another")); err != nil {
			t.Fatal(err)
		}
		ops := -1 << 20
		killed, err := open(faulty.Wrap(store, faulty.Options{Before: func(context.Context, faulty.Op) error {
			if ops++; ops >= nth {
				return errors.New("killed")
			}
			return nil
		}}), string(password))
		if err != nil {
			t.Fatal(err)
		}
		ops = 0
		_, rotated := killed.RotateKey(t.Context(), slot, []byte("new"))
		fresh, err := open(store, "new")
		if err != nil {
			continue // as it was before
		}
		id := pack(t, fresh, "sealed with the new key")
		old, err := open(store, string(password))
		if err == nil {
			between++
			misuse(t, old, fresh, slot)
		}
		slots, err := fresh.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range slots {
			if k.Old == k.Current {
				t.Errorf("killed before operation %d: slot %s, old %v, current %v", nth, k.Name.Short(), k.Old, k.Current)
			}
		}
		if fresh, err = open(store, "new"); err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.Load(t.Context(), blob.Data, id); err != nil {
			t.Errorf("killed before operation %d: %v", nth, err)
		}
		if _, err := fresh.RotateKey(t.Context(), slot, []byte("newest")); err != nil {
			t.Errorf("killed before operation %d: rotated again: %v", nth, err)
		}
		for _, old := range []string{string(password), "another", "new"} {
			if _, err := open(store, old); !errors.Is(err, repo.ErrPassword) {
				t.Errorf("killed before operation %d, and rotated again: %q opens with %v", nth, old, err)
			}
		}
		if rotated == nil {
			break
		}
	}
	if between == 0 {
		t.Error("the old password was never left")
	}
}

// misuse does with the old password all that would do harm, and expects that none of it is done.
func misuse(t *testing.T, old, fresh *repo.Repo, slot seal.Slot) {
	t.Helper()
	slots, err := fresh.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range slots {
		if k.Current {
			if err := old.RemoveKey(t.Context(), k.Name); !errors.Is(err, repo.ErrOldKey) {
				t.Errorf("the new key is removed by an old one: %v", err)
			}
		}
	}
	for what, change := range map[string]func(*repo.Repo, context.Context, seal.Slot, []byte) (blob.Name, error){
		"rotate": (*repo.Repo).RotateKey, "add": (*repo.Repo).AddKey, "change": (*repo.Repo).ChangePassword,
	} {
		if _, err := change(old, t.Context(), slot, []byte("misused")); !errors.Is(err, repo.ErrOldKey) {
			t.Errorf("%s with an old key: %v", what, err)
		}
	}
	if _, err := old.NewWriter(t.Context(), repo.WriterOptions{Session: session(repo.PurposeBackup)}); !errors.Is(err, repo.ErrOldKey) {
		t.Errorf("a backup with an old key: %v", err)
	}
}

// TestSamePasswordTwice has a rotation to the same password killed before the old key goes: the new one opens the repository, whatever their names are.
func TestSamePasswordTwice(t *testing.T) {
	t.Parallel()
	for range 8 {
		store := newStore(t)
		open := func() *repo.Repo {
			r, err := repo.Open(t.Context(), store, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		before := open()
		slots, err := before.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		name := "keys/" + slots[0].Name.String()
		data, err := storage.ReadAll(t.Context(), store, name, seal.SlotSizeMax)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := before.RotateKey(t.Context(), seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}, password); err != nil {
			t.Fatal(err)
		}
		if err := store.Put(t.Context(), name, data); err != nil { // as if it had never gone
			t.Fatal(err)
		}
		if epoch := open().SealKeys().Epoch(); epoch != 1 {
			t.Errorf("opened with the key of epoch %d, want 1", epoch)
		}
	}
}

// TestAddBesideRotation adds a password, from beginning to end, before each operation of a rotation. If that comes to its end the password is gone: it
// would open only what came before.
func TestAddBesideRotation(t *testing.T) {
	t.Parallel()
	slot := seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}
	for nth := 1; ; nth++ {
		store := newStore(t)
		second, err := repo.Open(t.Context(), store, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ops, added := -1<<20, errors.New("it did not run")
		first, err := repo.Open(t.Context(), faulty.Wrap(store, faulty.Options{Before: func(ctx context.Context, op faulty.Op) error {
			if ops++; ops == nth {
				_, added = second.AddKey(ctx, slot, []byte("added"))
			}
			return nil
		}}), func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ops = 0
		_, rotated := first.RotateKey(t.Context(), slot, []byte("rotated"))
		if ops < nth {
			break
		}
		_, err = repo.Open(t.Context(), store, func() ([]byte, error) { return []byte("added"), nil }, repo.OpenOptions{})
		if rotated == nil && err == nil {
			t.Errorf("a password that was added before operation %d (%v) opens the repository after the rotation", nth, added)
		}
	}
}
