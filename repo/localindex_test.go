package repo_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var password = []byte("correct horse")

// machine is one that uses a repository: with a cache of its own, or none.
type machine struct {
	t      *testing.T
	store  *faulty.Store // counts
	dir    string
	failed []error
}

func newMachine(t *testing.T, s storage.Storage, dir string) *machine {
	return &machine{t: t, store: faulty.Wrap(s, faulty.Options{}), dir: dir}
}

// open opens the repository, as one run of a program does.
func (m *machine) open() *repo.Repo {
	m.t.Helper()
	r, err := repo.Open(m.t.Context(), m.store, func() ([]byte, error) { return password, nil }, repo.OpenOptions{
		IndexCache:       func(seal.RepoID) string { return m.dir },
		IndexCacheFailed: func(err error) { m.failed = append(m.failed, err) },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { r.Close() })
	return r
}

// view takes a view, compares it with one that no cache had a part in, and returns how many index objects were read for it.
func (m *machine) view(r *repo.Repo) (v *repo.View, reads int) {
	m.t.Helper()
	before := m.indexReads()
	v, err := r.Refresh(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	reads = m.indexReads() - before
	want, err := r.TakeView(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if !maps.Equal(v.Packs, want.Packs) || v.Index.Len() != want.Index.Len() || !slices.Equal(v.Unindexed, want.Unindexed) {
		m.t.Errorf("%d packs, %d blobs, %d unindexed; want %d, %d, %d", len(v.Packs), v.Index.Len(), len(v.Unindexed), len(want.Packs), want.Index.Len(), len(want.Unindexed))
	}
	if fmt.Sprint(v.Damaged) != fmt.Sprint(want.Damaged) {
		m.t.Errorf("damaged: %v, want %v", v.Damaged, want.Damaged)
	}
	for _, rows := range want.Index.Blobs() {
		for i := range rows {
			id := blob.ID{}
			copy(id[:], rows[i].Prefix[:])
			if _, ok := v.Index.Lookup(id); !ok {
				m.t.Errorf("blob %s is not there", id.Short())
			}
		}
	}
	return v, reads
}

func (m *machine) indexReads() (n int) {
	for _, op := range m.store.Ops() {
		if op.Method == faulty.Get && strings.HasPrefix(op.Name, "index/") {
			n++
		}
	}
	return n
}

// save saves some blobs in a session of its own.
func save(t *testing.T, r *repo.Repo, texts ...string) {
	t.Helper()
	w, err := r.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	lane := w.Lane()
	for _, text := range texts {
		if _, err := lane.Save(t.Context(), blob.Data, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), []byte{}); err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) *memory.Store {
	t.Helper()
	s := memory.New()
	_, err := repo.Init(t.Context(), s, password, repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLocalIndex lets two machines work in turn: each reads every index object once, and sees all.
func TestLocalIndex(t *testing.T) {
	s := newStore(t)
	a, b := newMachine(t, s, t.TempDir()), newMachine(t, s, t.TempDir())
	for n := range 6 {
		saver := []*machine{a, b}[n%2]
		save(t, saver.open(), fmt.Sprint("text ", n), "the same in all")
		if n < 3 {
			continue // they don't look for a while
		}
		for _, m := range []*machine{a, b} {
			r := m.open()
			m.view(r)
			if _, reads := m.view(r); reads > 0 {
				t.Errorf("%d index objects were read, although nothing is new", reads)
			}
			if _, reads := m.view(m.open()); reads > 0 {
				t.Errorf("%d index objects were read in the next run, although nothing is new", reads)
			}
		}
	}
	for _, m := range []*machine{a, b} {
		if len(m.failed) > 0 {
			t.Error(m.failed)
		}
	}
}

// TestLocalIndexReadsWhatIsNew has one new index object beside many known ones.
func TestLocalIndexReadsWhatIsNew(t *testing.T) {
	s := newStore(t)
	a := newMachine(t, s, t.TempDir())
	for n := range 5 {
		save(t, a.open(), fmt.Sprint("text ", n))
	}
	a.view(a.open())
	r := a.open()
	a.view(r)
	save(t, newMachine(t, s, "").open(), "new")
	if _, reads := a.view(r); reads != 1 {
		t.Errorf("%d index objects were read, want the new one", reads)
	}
	if _, reads := a.view(r); reads > 1 {
		t.Errorf("%d index objects were read, want at most the new one", reads)
	}
	if _, reads := a.view(a.open()); reads != 0 {
		t.Errorf("%d index objects were read in the next run", reads)
	}
}

// TestLocalIndexBelievesTheStorage removes a pack, and cuts another: what the cache has of them must not count.
func TestLocalIndexBelievesTheStorage(t *testing.T) {
	s := newStore(t)
	a := newMachine(t, s, t.TempDir())
	for n := range 3 {
		save(t, a.open(), fmt.Sprint("text ", n))
	}
	v, _ := a.view(a.open())
	packs := slices.Collect(maps.Keys(v.Packs))
	path := func(n blob.Name) string { return "data/" + n.String()[:2] + "/" + n.String() }
	if err := s.Remove(t.Context(), path(packs[0])); err != nil {
		t.Fatal(err)
	}
	data, err := storage.ReadAll(t.Context(), s, path(packs[1]), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), path(packs[1]), data[:len(data)-1]); err != nil {
		t.Fatal(err)
	}
	v, _ = a.view(a.open())
	if _, ok := v.Index.Pack(packs[0]); ok || len(v.Packs) != len(packs)-1 {
		t.Error("a pack that is gone is in the view")
	}
	if v.Damaged[packs[1]] == nil {
		t.Error("a pack that was cut is not said to be damaged")
	}
}

// TestLocalIndexDamaged spoils every file of the cache.
func TestLocalIndexDamaged(t *testing.T) {
	s := newStore(t)
	a := newMachine(t, s, t.TempDir())
	for n := range 3 {
		save(t, a.open(), fmt.Sprint("text ", n))
	}
	a.view(a.open())
	files, err := filepath.Glob(filepath.Join(a.dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(f+".new", []byte("nonsense"), 0o600); err != nil { // not in place: others may have it mapped
			t.Fatal(err)
		}
		if err := os.Rename(f+".new", f); err != nil {
			t.Fatal(err)
		}
		if _, reads := a.view(a.open()); strings.HasSuffix(f, ".rows") && reads != 3 {
			t.Errorf("%d index objects were read, want all", reads)
		}
	}
	if len(a.failed) > 0 {
		t.Error(a.failed)
	}
}

// TestLocalIndexLost has a note of what was read, but not the packs: the objects are read again.
func TestLocalIndexLost(t *testing.T) {
	s := newStore(t)
	a := newMachine(t, s, t.TempDir())
	save(t, a.open(), "text")
	a.view(a.open())
	rows, err := filepath.Glob(filepath.Join(a.dir, "*.rows"))
	if err != nil || len(rows) == 0 {
		t.Fatal(rows, err)
	}
	for _, f := range rows {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, reads := a.view(a.open()); reads != 1 {
		t.Errorf("%d index objects were read, want 1", reads)
	}
}

// TestLocalIndexOutOfReach has a file where the cache should be.
func TestLocalIndexOutOfReach(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newMachine(t, s, path)
	save(t, a.open(), "text")
	a.failed = nil
	r := a.open()
	a.view(r)
	a.view(r)
	if len(a.failed) != 1 {
		t.Errorf("told of %v, want one error", a.failed)
	}
}

// TestLocalIndexConcurrently is for the race detector.
func TestLocalIndexConcurrently(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	save(t, newMachine(t, s, dir).open(), "text")
	r := newMachine(t, s, dir).open()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				v, err := r.Refresh(context.WithoutCancel(t.Context()))
				if err != nil || v.Index.Len() == 0 {
					t.Errorf("%v", err)
				}
			}
		})
		wg.Go(func() { save(t, r, "more") })
	}
	wg.Wait()
}
