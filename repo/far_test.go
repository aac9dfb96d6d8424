package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// shelf is a cache in memory that counts.
type shelf struct {
	mu      sync.Mutex // guards what follows
	entries map[string][]byte
	hits    int
}

func (s *shelf) Get(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.entries[key]
	if ok {
		s.hits++
	}
	return data, ok
}

func (s *shelf) Put(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[string][]byte{}
	}
	s.entries[key] = bytes.Clone(data)
}

func openFar(t *testing.T, s storage.Storage, far repo.Far) *repo.Repo {
	t.Helper()
	r, err := repo.Open(t.Context(), s, func() ([]byte, error) { return []byte("far"), nil },
		repo.OpenOptions{Far: func(seal.RepoID) repo.Far { return far }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saved is a blob that was saved.
type saved struct {
	id    blob.ID
	kind  blob.Kind
	plain []byte
}

// fill makes a repository with 40 MiB of data that can't be compressed, and some trees.
func fill(t *testing.T, s storage.Storage, far repo.Far) (blobs []saved) {
	t.Helper()
	kdf := seal.DefaultKDF
	kdf.MemoryKiB, kdf.Passes = 8<<10, 1
	if _, err := repo.Init(t.Context(), s, []byte("far"), repo.InitOptions{KDF: kdf}); err != nil {
		t.Fatal(err)
	}
	w, err := openFar(t, s, far).NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{1})
	lane := w.Lane()
	save := func(kind blob.Kind, size int) {
		b := saved{kind: kind, plain: make([]byte, size)}
		random.Read(b.plain)
		if b.id, err = lane.Save(t.Context(), kind, b.plain); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	for range 200 {
		save(blob.Data, 200<<10)
	}
	for range 60 {
		save(blob.Tree, 50<<10)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	return blobs
}

func loadAll(ctx context.Context, r *repo.Repo, blobs []saved) error {
	for i, b := range blobs {
		got, err := r.Load(ctx, b.kind, b.id)
		if err != nil {
			return fmt.Errorf("blob %d: %w", i, err)
		}
		if !bytes.Equal(got, b.plain) {
			return fmt.Errorf("blob %d: other bytes", i)
		}
	}
	return nil
}

// TestReadAhead compares how many requests it takes to read all, from the front to the back.
func TestReadAhead(t *testing.T) {
	store := memory.New()
	blobs := fill(t, store, repo.Far{})
	requests := map[string]int{}
	for name, far := range map[string]repo.Far{"near": {}, "far": {Requests: 8, ReadAhead: 4 << 20}} {
		counted := faulty.Wrap(store, faulty.Options{})
		if err := loadAll(t.Context(), openFar(t, counted, far), blobs); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		requests[name] = counted.Count(faulty.Get)
	}
	t.Logf("%d requests near, %d far", requests["near"], requests["far"])
	if requests["far"] > 30 || requests["far"]*2 > requests["near"] { // 43 MiB
		t.Errorf("%d requests far, %d near", requests["far"], requests["near"])
	}
}

// TestReadAheadByMany has many read at the same time, in other orders, over a store that fails now and then.
func TestReadAheadByMany(t *testing.T) {
	store := memory.New()
	blobs := fill(t, store, repo.Far{})
	r := openFar(t, store, repo.Far{Requests: 8, ReadAhead: 4 << 20})
	r.SetCacheSize(1) // all come from the stretches
	g, ctx := errgroup.WithContext(t.Context())
	for w := range 8 {
		g.Go(func() error {
			order := rand.New(rand.NewPCG(uint64(w), 1)).Perm(len(blobs))
			for _, i := range order[:60] {
				if err := loadAll(ctx, r, blobs[i:min(i+3, len(blobs))]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestReadAheadAfterAFailure(t *testing.T) {
	store := memory.New()
	blobs := fill(t, store, repo.Far{})
	bad := faulty.Wrap(store, faulty.Options{Faults: []faulty.Fault{{Method: faulty.Get, Prefix: "data/", Nth: 2, Err: syscall.EIO}}})
	r := openFar(t, bad, repo.Far{ReadAhead: 4 << 20})
	failures := 0
	for i := range blobs {
		if loadAll(t.Context(), r, blobs[i:i+1]) != nil {
			failures++
			if err := loadAll(t.Context(), r, blobs[i:i+1]); err != nil {
				t.Errorf("after the failure: %v", err)
			}
		}
	}
	if failures != 1 {
		t.Errorf("%d failures, want 1", failures)
	}
}

// TestCache has what was written here read without a request, and heals a cache with other bytes in it.
func TestCache(t *testing.T) {
	store := memory.New()
	c := &shelf{}
	far := repo.Far{Requests: 8, ReadAhead: 4 << 20, Cache: c}
	blobs := fill(t, store, far)
	trees := blobs[200:]
	read := func() (requests int) {
		t.Helper()
		counted := faulty.Wrap(store, faulty.Options{})
		if err := loadAll(t.Context(), openFar(t, counted, far), trees); err != nil {
			t.Fatal(err)
		}
		for _, op := range counted.Ops() {
			if op.Method == faulty.Get && (op.Name[:5] == "data/" || op.Name[:6] == "index/") {
				requests++
			}
		}
		return requests
	}
	if n := read(); n != 0 || c.hits == 0 {
		t.Errorf("%d requests for what was just written, %d hits", n, c.hits)
	}
	for key := range c.entries {
		c.entries[key] = make([]byte, len(c.entries[key]))
	}
	if n := read(); n == 0 {
		t.Error("no requests, with a cache of zeros")
	}
	if n := read(); n != 0 {
		t.Errorf("%d requests after the cache was healed", n)
	}
	clear(c.entries)
	if n := read(); n == 0 {
		t.Error("no requests, with an empty cache")
	}
}
