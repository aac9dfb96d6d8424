package repo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

func create(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Init(context.Background(), s, []byte("p"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Now: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func session(purpose repo.Purpose) repo.Session {
	return repo.NewSession(purpose, "host", "user", "test")
}

// pack stores one pack with one blob of data, and returns its ID.
func pack(t testing.TB, r *repo.Repo, text string) blob.ID {
	t.Helper()
	ctx := context.Background()
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.Lane().Save(ctx, blob.Data, []byte(text))
	if err == nil {
		err = w.Flush(ctx)
	}
	if err := errors.Join(err, w.Abort(ctx)); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestTrash: what is in trash can be read and not be referred to.
func TestTrash(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory.New())
	first, second := pack(t, r, "the first"), pack(t, r, "the second")
	v, err := r.TakeView(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := v.Index.Lookup(first)
	if err := r.PutTrash(ctx, []blob.Name{e.Pack}); err != nil {
		t.Fatal(err)
	}
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(ctx)
	if w.Has(first) || !w.Has(second) {
		t.Errorf("a writer may refer to what is in trash: %v, to what is not: %v", w.Has(first), w.Has(second))
	}
	if data, err := r.Load(ctx, blob.Data, first); err != nil || string(data) != "the first" {
		t.Errorf("got %q and %v", data, err)
	}
	if v := w.View(); len(v.Doomed) != 1 || len(v.Packs) != 1 || len(v.Copies(first, nil)) != 1 || !v.Trashed[e.Pack] {
		t.Errorf("the view has %d doomed packs and %d others", len(v.Doomed), len(v.Packs))
	}
	if err := r.RemovePack(ctx, e.Pack); err != nil {
		t.Fatal(err)
	}
	if r, err = r.Fresh(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Load(ctx, blob.Data, first); !errors.Is(err, repo.ErrNoBlob) && !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("when it is gone: %v", err)
	}
}

// TestLiveView: what packs in trash hold is read when it is asked for, from the index or from the packs.
func TestLiveView(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	r := create(t, s)
	first, second, third := pack(t, r, "the first"), pack(t, r, "the second"), pack(t, r, "the third")
	v, err := r.TakeView(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e1, _ := v.Index.Lookup(first)
	e2, _ := v.Index.Lookup(second)
	if err := r.PutTrash(ctx, []blob.Name{e1.Pack, e2.Pack}); err != nil {
		t.Fatal(err)
	}
	for name, packs := range v.Objects {
		if slices.Contains(packs, e2.Pack) { // no index object tells of it then
			if err := r.RemoveIndexObject(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if v, err = r.TakeLiveView(ctx); err != nil {
		t.Fatal(err)
	}
	if len(v.Doomed) != 2 || v.DoomedIndex.Len() != 0 || len(v.Objects) != 2 {
		t.Errorf("a live view has %d packs in trash that hold %d blobs, and %d index objects", len(v.Doomed), v.DoomedIndex.Len(), len(v.Objects))
	}
	if _, ok := v.Index.Lookup(third); !ok || v.Index.Len() != 1 {
		t.Errorf("%d blobs in live packs, the third one among them: %v", v.Index.Len(), ok)
	}
	for range 2 {
		if err := r.LookIntoTrash(ctx, v); err != nil {
			t.Fatal(err)
		}
		for _, e := range []struct {
			id   blob.ID
			pack blob.Name
		}{{first, e1.Pack}, {second, e2.Pack}} {
			if got, ok := v.DoomedIndex.Lookup(e.id); !ok || got.Pack != e.pack {
				t.Errorf("in trash, blob %s: %v, %v", e.id.Short(), got, ok)
			}
		}
		if v.DoomedIndex.Len() != 2 || v.Index.Len() != 1 || len(v.Objects) != 2 || len(v.Objects[objectOf(v, e1.Pack)]) != 1 {
			t.Errorf("%d blobs in trash, %d others; index objects %v", v.DoomedIndex.Len(), v.Index.Len(), v.Objects)
		}
	}
}

// objectOf is the index object that names a pack.
func objectOf(v *repo.View, pack blob.Name) (name blob.Name) {
	for object, packs := range v.Objects {
		if slices.Contains(packs, pack) {
			name = object
		}
	}
	return name
}

// TestDamagedTrash stops writers, and not readers.
func TestDamagedTrash(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	r := create(t, s)
	id := pack(t, r, "text")
	if err := s.Put(ctx, "trash/"+strings.Repeat("0", 64), []byte("?")); err != nil {
		t.Fatal(err)
	}
	r, err := r.Fresh()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Load(ctx, blob.Data, id); err != nil {
		t.Errorf("read: %v", err)
	}
	if _, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)}); !errors.Is(err, repo.ErrBlind) {
		t.Errorf("write: %v", err)
	}
	if list, err := r.Sessions(ctx); err != nil || len(list) > 0 {
		t.Errorf("sessions %v, %v", list, err)
	}
}

func TestEvict(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	r := create(t, s)
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it can be repeated
		if err := r.Evict(ctx, w.Session()); err != nil {
			t.Fatal(err)
		}
	}
	data, err := storage.ReadAll(ctx, s, "evictions/"+w.Session().String(), 100)
	if err != nil || string(data) != "evicted\n" {
		t.Errorf("an eviction is %q, %v", data, err)
	}
	if _, err := w.Commit(ctx, []byte("record")); !errors.Is(err, repo.ErrEvicted) {
		t.Errorf("got %v", err)
	}
	if sessions, err := r.SessionIDs(ctx); err != nil || len(sessions) != 0 {
		t.Errorf("sessions %v, %v", sessions, err)
	}
}

// failing fails to put snapshots, and may store them all the same.
type failing struct{ storage.Storage }

var errPut = errors.New("no answer")

func (f failing) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, "snapshots/") {
		return errPut
	}
	return f.Storage.Put(ctx, name, data)
}

// TestUnsure: a writer that does not know whether its snapshot is stored leaves its session evicted.
func TestUnsure(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	create(t, s)
	r, err := repo.Open(ctx, failing{s}, func() ([]byte, error) { return []byte("p"), nil }, repo.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ctx, []byte("record")); !errors.Is(err, errPut) {
		t.Errorf("got %v", err)
	}
	if err := w.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	if evicted, err := r.Evictions(ctx); err != nil || !evicted[w.Session()] {
		t.Errorf("evictions %v, %v", evicted, err)
	}
}

// TestLeftoversCarryTheSession: what a writer leaves behind in a crash says whose it is; its session object comes first and does not.
func TestLeftoversCarryTheSession(t *testing.T) {
	ctx := t.Context()
	labels := map[string]map[string]bool{}
	var s *crash.Store
	s = crash.New(crash.Options{Step: func(step crash.Step) {
		found, err := s.Leftovers(ctx)
		if err != nil {
			t.Fatal(err)
		}
		folder, _, _ := strings.Cut(step.Name, "/")
		for _, l := range found {
			if labels[folder] == nil {
				labels[folder] = map[string]bool{}
			}
			labels[folder][l.Session] = true
		}
	}})
	r := create(t, s)
	clear(labels)
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lane().Save(ctx, blob.Data, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ctx, []byte("record")); err != nil {
		t.Fatal(err)
	}
	mine := map[string]bool{w.Session().String(): true}
	want := map[string]map[string]bool{"sessions": {"": true}, "data": mine, "index": mine, "snapshots": mine}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Error(diff)
	}
}

func TestWaits(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	r := create(t, s)
	full := repo.Wait{Trash: blob.Name{1}, Time: time.Unix(5, 7), Sessions: []blob.Session{{1}, {2}}, Pruners: []blob.Session{{3}}}
	empty := repo.Wait{Trash: blob.Name{2}, Time: time.Unix(6, 0)}
	for _, w := range []*repo.Wait{&full, &empty} {
		if err := r.PutWait(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	damaged := "wait/" + strings.Repeat("0", 64)
	if err := s.Put(ctx, damaged, []byte("?")); err != nil {
		t.Fatal(err)
	}
	list, err := r.Waits(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := map[blob.Name]repo.Wait{}
	for _, w := range list {
		got[w.Name] = w
	}
	if diff := cmp.Diff(map[blob.Name]repo.Wait{full.Name: full, empty.Name: empty, {}: {}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestConsolidate joins small index objects, and leaves out packs that are gone.
func TestConsolidate(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	r := create(t, s)
	var ids []blob.ID
	for _, text := range []string{"one", "two", "three", "four"} {
		ids = append(ids, pack(t, r, text))
	}
	v, err := r.TakeView(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := v.Index.Lookup(ids[1])
	if err := r.RemovePack(ctx, e.Pack); err != nil {
		t.Fatal(err)
	}
	removed, made, err := r.ConsolidateIndex(ctx, v)
	if err != nil || removed != 4 || made != 1 {
		t.Fatalf("%d removed, %d made, %v", removed, made, err)
	}
	if v, err = r.TakeView(ctx); err != nil || len(v.Objects) != 1 || len(v.Unindexed) > 0 {
		t.Fatalf("%d index objects, %d packs in none, %v", len(v.Objects), len(v.Unindexed), err)
	}
	for i, id := range ids {
		if _, ok := v.Index.Lookup(id); ok != (i != 1) {
			t.Errorf("blob %d is there: %v", i, ok)
		}
	}
	if removed, made, err := r.ConsolidateIndex(ctx, v); err != nil || removed+made > 0 {
		t.Errorf("again: %d removed, %d made, %v", removed, made, err)
	}
}

// FuzzWait opens wait objects that are sealed well and hold anything.
func FuzzWait(f *testing.F) {
	f.Add([]byte{})
	f.Add(append([]byte{1, 32}, bytes.Repeat([]byte{7}, 32)...))
	f.Add(append([]byte{3, 16}, bytes.Repeat([]byte{7}, 16)...))
	f.Add([]byte{3, 15, 1})
	f.Add([]byte{2, 1, 200})
	s := memory.New()
	r := create(f, s)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<20 {
			return
		}
		plain := append(binary.AppendUvarint(nil, uint64(len(body))), 0) // not compressed
		plain = append(plain, body...)
		sealer := r.SealKeys().NewSealer(seal.Wait, nil, plain)
		sealer.Append(plain)
		data := sealer.Finish(nil, 0)
		name := blob.Name(sha256.Sum256(data))
		_, _, openErr := r.OpenObject("wait/"+name.String(), data)
		clone := s.Clone()
		if err := clone.Put(t.Context(), "wait/"+name.String(), data); err != nil {
			t.Fatal(err)
		}
		rc, err := r.WithStorage(clone)
		if err != nil {
			t.Fatal(err)
		}
		list, err := rc.Waits(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%d waits, %v", len(list), err)
		}
		if openErr != nil {
			if !repo.IsCorrupt(openErr) || !list[0].Trash.IsZero() || list[0].Sessions != nil {
				t.Errorf("%v, and %+v", openErr, list[0])
			}
			return
		}
		again := list[0]
		if err := rc.PutWait(t.Context(), &again); err != nil {
			t.Fatal(err)
		}
		if again.Name = list[0].Name; !cmp.Equal(again, list[0]) {
			t.Errorf("%+v is stored as %+v", list[0], again)
		}
	})
}
