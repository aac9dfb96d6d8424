package locks_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/locks"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// strict is a store that takes what rest-server does: names that are the hash of the bytes, and config.
type strict struct{ *memory.Store }

func (s strict) Put(ctx context.Context, name string, data []byte) error {
	sum := sha256.Sum256(data)
	if hash := hex.EncodeToString(sum[:]); name != "config" && (len(name) < 64 || name[len(name)-64:] != hash) {
		return fmt.Errorf("put %s: %w: its hash is %s", name, fs.ErrInvalid, hash)
	}
	return s.Store.Put(ctx, name, data)
}

func TestStorage(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return locks.Wrap(strict{memory.New()}, locks.Restic()) })
}

// TestTwoClients has one client see what the other does, whatever it remembers.
func TestTwoClients(t *testing.T) {
	server := strict{memory.New()}
	a, b := locks.Wrap(server, locks.Restic()), locks.Wrap(server, locks.Restic())
	const name = "sessions/0123456789abcdef0123456789abcdef"
	for i := range 3 {
		data := bytes.Repeat([]byte{byte(i)}, 10)
		if err := a.Put(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
		if got, err := storage.ReadAll(t.Context(), b, name, 100); err != nil || !bytes.Equal(got, data) {
			t.Errorf("round %d: got %v and %v", i, got, err)
		}
	}
	if err := b.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Get(t.Context(), name, 0, -1); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMarked(t *testing.T) {
	server := memory.New()
	s := locks.Wrap(server, locks.Restic())
	if marked, err := locks.Marked(t.Context(), server); marked || err != nil {
		t.Errorf("an empty store: got %v and %v", marked, err)
	}
	if err := s.Put(t.Context(), "sessions/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if marked, err := locks.Marked(t.Context(), server); !marked || err != nil {
		t.Errorf("got %v and %v", marked, err)
	}
	if err := s.Remove(t.Context(), "sessions/1"); err != nil {
		t.Fatal(err)
	}
	if marked, err := locks.Marked(t.Context(), server); !marked || err != nil {
		t.Errorf("after the last one is gone: got %v and %v", marked, err)
	}
}

// TestStrangersAreLeftAlone puts into locks/ what restic has there.
func TestStrangersAreLeftAlone(t *testing.T) {
	server := memory.New()
	foreign := "locks/" + hex.EncodeToString(make([]byte, 32))
	if err := server.Put(t.Context(), foreign, []byte("a lock of restic's")); err != nil {
		t.Fatal(err)
	}
	s := locks.Wrap(server, locks.Restic())
	if err := s.Put(t.Context(), "sessions/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := s.List(t.Context(), "", func(name string, size int64) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("got %d objects and %v, want 1", n, err)
	}
	if _, err := server.Get(t.Context(), foreign, 0, -1); err != nil {
		t.Errorf("the foreign lock: %v", err)
	}
}

func FuzzReadLabel(f *testing.F) {
	f.Add([]byte("tarnlock\x00\x00\x00\x00\x0asessions/1rest"))
	f.Add([]byte("tarnlock\x00\x00\x00\x00\x00"))
	f.Add([]byte("tarnlock\x01\x00\x00\x00\xffshort"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, head []byte) {
		name, _, begin, err := locks.ReadLabel(head)
		if err != nil {
			return
		}
		if begin > int64(len(head)) || name != "" && storage.CheckName(name) != nil {
			t.Errorf("name %q, begins at %d of %d", name, begin, len(head))
		}
	})
}
