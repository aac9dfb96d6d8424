package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGood(t *testing.T) {
	s, _ := small(t, 2)
	for _, o := range []check.Options{{}, {ReadData: true, Workers: 1}, {ReadData: true, Workers: 8}} {
		found, sum := run(t, open(t, s), o)
		if len(found) > 0 {
			t.Errorf("%+v: %v", o, found)
		}
		want := check.Summary{Snapshots: 2, Trees: sum.Trees, Blobs: sum.Blobs, Packs: 2, Objects: 10, Torn: 2, Clusters: 1, TornIn: 2}
		if o.ReadData {
			want.PacksRead, want.BytesRead = 2, 128<<10
		}
		if sum != want || sum.Trees < 20 || sum.Blobs < 250 {
			t.Errorf("%+v: got %+v, want %+v", o, sum, want)
		}
	}
}

func TestEmptyRepository(t *testing.T) {
	found, sum := run(t, create(t, memory.New()), check.Options{ReadData: true})
	if len(found) > 0 || sum != (check.Summary{Objects: 2}) {
		t.Errorf("got %v and %+v", found, sum)
	}
}

func TestMissingPack(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	b := begin(t, r)
	first := b.commit(b.dir("", b.dir("docs", b.file("old", "old words"))), 1)
	packs := names(objects(t, s), "data/")
	b = begin(t, r)
	second := b.commit(b.dir("", b.dir("docs", b.file("new", "new words"), b.file("old", "old words"))), 2)
	b = begin(t, r)
	third := b.commit(b.dir("", b.file("apart", "other words")), 3)
	if err := s.Remove(t.Context(), packs[0]); err != nil {
		t.Fatal(err)
	}
	found, _ := run(t, open(t, s), check.Options{})
	paths := map[string]string{}
	for _, f := range found {
		if f.Severity == check.Error {
			paths[f.Object] = fmt.Sprint(f.Paths)
		}
	}
	want := map[string]string{"snapshots/" + first.String(): "[/]", "snapshots/" + second.String(): "[docs/old]"}
	if fmt.Sprint(paths) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v; all: %v", paths, want, found)
	}
	found, sum := run(t, open(t, s), check.Options{Snapshots: []blob.Name{third}, ReadData: true})
	if sum.Errors > 0 || sum.Snapshots != 1 || sum.PacksRead != 1 {
		t.Errorf("of the third snapshot: %v, %+v", found, sum)
	}
	found, _ = run(t, open(t, s), check.Options{Snapshots: []blob.Name{{9}}})
	if !finds(found, "snapshots/"+blob.Name{9}.String()) {
		t.Errorf("a snapshot that is not there: %v", found)
	}
}

// TestDamagedSegment expects that what is lost is told exactly: one of three files is, and its folder's other entries are not.
func TestDamagedSegment(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	b := begin(t, r)
	one := b.file("one", "first words")
	b.must(b.lane.BreakAlways(t.Context()))
	two := b.file("two", "second words")
	b.must(b.lane.BreakAlways(t.Context()))
	name := b.commit(b.dir("", one, two, b.file("zwei", "second words")), 1)
	object := names(objects(t, s), "data/")[0]
	data := objects(t, s)[object]
	x, err := r.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, _ := x.Lookup(two.Content.Elements[0].ID)
	info, _ := x.Pack(e.Pack)
	g, _ := info.Segment(e.Segment)
	data[g.Offset+3] ^= 4
	if err := s.Put(t.Context(), object, data); err != nil {
		t.Fatal(err)
	}
	if found, _ := run(t, open(t, s), check.Options{}); len(found) > 0 {
		t.Errorf("without reading data: %v", found)
	}
	found, _ := run(t, open(t, s), check.Options{ReadData: true})
	if len(found) != 2 || found[0].Object != object || !strings.Contains(found[0].Effect, "1 of its 4 blobs can't be read, 1 of them in use") {
		t.Fatalf("got %v", found)
	}
	if f := found[1]; f.Object != "snapshots/"+name.String() || fmt.Sprint(f.Paths) != "[two zwei]" || f.More != 0 {
		t.Errorf("got %v", f)
	}
	// A second copy makes it good.
	w, err := r.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "", "", ""), Absent: func(blob.ID) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lane().Save(t.Context(), blob.Data, []byte("second words")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, _ := run(t, open(t, s), check.Options{ReadData: true}); len(found) != 1 || found[0].Object != object {
		t.Errorf("with a second copy: %v", found)
	}
}

// TestStructure has damage that is found without reading all data: in what any reader needs of a pack.
func TestStructure(t *testing.T) {
	s, _ := small(t, 1)
	all := objects(t, s)
	object := names(all, "data/")[0]
	data := all[object]
	for what, damaged := range map[string][]byte{
		"cut":    data[:len(data)-1],
		"header": flip(data, 20, 1),
		"footer": flip(data, len(data)-7, 1),
	} {
		l := newLayered(s)
		l.set(object, damaged)
		found, sum := run(t, open(t, l), check.Options{})
		if !finds(found, object) || !strings.Contains(found[0].Effect, "320 blobs are whole") || what != "cut" && len(found) > 1 {
			t.Errorf("%s: %v", what, found)
		}
		if sum.PacksRead != 1 {
			t.Errorf("%s: the pack was not read whole: %+v", what, sum)
		}
	}
}

func TestDamagedIndex(t *testing.T) {
	s, _ := small(t, 2)
	want := restored(t.Context(), open(t, s))
	l := newLayered(s)
	all := objects(t, s)
	for _, name := range names(all, "index/") {
		l.set(name, flip(all[name], 1000, 3))
	}
	r := open(t, l)
	found, _ := run(t, r, check.Options{ReadData: true})
	if len(found) != 2 || !strings.Contains(found[0].Effect, "nothing is lost") || !strings.Contains(found[1].Effect, "nothing is lost") {
		t.Errorf("got %v", found)
	}
	if got := restored(t.Context(), r); len(got) != len(want) {
		t.Errorf("%d of %d entries can be read", len(got), len(want))
	}
}

func TestDamagedTrash(t *testing.T) {
	s, _ := small(t, 1)
	l := newLayered(s)
	all := objects(t, s)
	trash, packed := names(all, "trash/")[0], names(all, "data/")[0]
	l.set(trash, []byte("?"))
	found, sum := run(t, open(t, l), check.Options{ReadData: true})
	if len(found) != 2 || !finds(found, trash) || sum.Blobs < 250 || sum.PacksRead != 1 {
		t.Errorf("got %v, %+v", found, sum)
	}
	l.set(packed, flip(all[packed], 200, 0))
	if found, _ := run(t, open(t, l), check.Options{ReadData: true}); !finds(found, trash) || !finds(found, packed) {
		t.Errorf("with a damaged pack: %v", found)
	}
}

// TestTrashedPack has a pack in the trash that is damaged: nothing is lost.
func TestTrashedPack(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	b := begin(t, r)
	b.commit(b.dir("", b.file("a", "a")), 1)
	object := names(objects(t, s), "data/")[0]
	name, err := blob.ParseName(object[len("data/ab/"):])
	if err != nil {
		t.Fatal(err)
	}
	copyAll(t, r)
	hashed(t, s, "trash/", sealed(r.SealKeys(), 6, name[:]))
	if found, _ := run(t, open(t, s), check.Options{ReadData: true}); len(found) > 0 {
		t.Errorf("whole: %v", found)
	}
	l := newLayered(s)
	l.set(object, flip(objects(t, s)[object], 100, 0))
	found, _ := run(t, open(t, l), check.Options{ReadData: true})
	if len(found) != 1 || found[0].Severity != check.Warning || found[0].Object != object {
		t.Errorf("damaged: %v", found)
	}
}

// copyAll stores all blobs that snapshots need once more, in new packs.
func copyAll(t *testing.T, r *repo.Repo) {
	t.Helper()
	ctx := context.Background()
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: repo.NewSession(repo.PurposePrune, "", "", ""), Absent: func(blob.ID) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	lane := w.Lane()
	save := func(kind blob.Kind, id blob.ID) {
		data, err := r.Load(ctx, kind, id)
		if err == nil {
			_, err = lane.Save(ctx, kind, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := r.SnapshotNames(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		data, err := r.LoadSnapshot(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := snapshot.DecodeRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range rec.Scan.Elements {
			save(blob.Scan, e.ID)
		}
		see := func(_ string, n *snapshot.Node, err error) error {
			kind := blob.Data
			if n.Type == snapshot.Dir {
				kind = blob.Tree
			}
			for _, e := range n.Content.Elements {
				save(kind, e.ID)
			}
			return err
		}
		if err := errors.Join(see("", &rec.Root, nil), snapshot.Walk(ctx, r, rec.Root, see)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(ctx), w.Abort(ctx)); err != nil {
		t.Fatal(err)
	}
}

// pruned is a repository that is pruned right after its view was taken, for the first few times.
type pruned struct {
	*repo.Repo
	prune func()
	times atomic.Int32
}

func (p *pruned) TakeView(ctx context.Context) (*repo.View, error) {
	v, err := p.Repo.TakeView(ctx)
	if p.times.Add(-1) >= 0 {
		p.prune()
	}
	return v, err
}

// TestPruneMeanwhile forgets a snapshot after the first view, and after that and the next ones moves all that is left to other packs.
func TestPruneMeanwhile(t *testing.T) {
	for _, times := range []int32{1, 2, 4} {
		s := memory.New()
		r := create(t, s)
		b := begin(t, r)
		b.commit(b.dir("", b.dir("docs", b.file("a", "a"))), 1)
		b = begin(t, r)
		gone := b.commit(b.dir("", b.dir("docs", b.file("b", "b"))), 2)
		p := &pruned{Repo: open(t, s), prune: func() {
			if err := r.RemoveSnapshot(t.Context(), gone); err != nil && !errors.Is(err, storage.ErrNotExist) {
				t.Error(err)
			}
			old := append(names(objects(t, s), "data/"), names(objects(t, s), "index/")...)
			copyAll(t, r)
			for _, name := range old {
				if err := s.Remove(context.Background(), name); err != nil {
					t.Error(err)
				}
			}
		}}
		p.times.Store(times)
		found, _ := run(t, p, check.Options{ReadData: true})
		for _, f := range found {
			if f.Severity == check.Error {
				t.Errorf("pruned %d times: %v", times, f)
			}
		}
	}
}

func TestEvictedSession(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	b := begin(t, r)
	root := b.dir("", b.file("a", "a"))
	root.Content.Elements[0].ID[0] ^= 1
	name := b.commit(root, 1)
	for _, evicted := range []bool{false, true} {
		want := check.Error
		if evicted {
			want = check.Warning
			if err := s.Put(t.Context(), "evictions/"+b.w.Session().String(), []byte("evicted\n")); err != nil {
				t.Fatal(err)
			}
		}
		found, _ := run(t, open(t, s), check.Options{})
		if len(found) != 1 || found[0].Severity != want || found[0].Object != "snapshots/"+name.String() {
			t.Errorf("evicted %v: %v", evicted, found)
		}
	}
}

func TestForeign(t *testing.T) {
	s, _ := small(t, 1)
	foreign := []string{"readme.txt", "data/desktop.ini", "data/00/" + strings.Repeat("1", 64), "index/0", "sessions/x", "other/" + strings.Repeat("1", 64)}
	for _, name := range foreign {
		if err := s.Put(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	found, sum := run(t, open(t, s), check.Options{})
	text := fmt.Sprint(found)
	for _, name := range foreign {
		if !strings.Contains(text, "warning: "+name+": this is none of tarn's") {
			t.Errorf("%s is not named", name)
		}
	}
	t.Logf("%+v %v", sum, text)
	for i := range 50 {
		if err := s.Put(t.Context(), fmt.Sprintf("x%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if found, _ := run(t, open(t, s), check.Options{}); len(found) > 25 {
		t.Errorf("%d findings", len(found))
	}
}

func TestFraction(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	for i := range 12 {
		b := begin(t, r)
		b.commit(b.dir("", b.file("a", fmt.Sprint("version ", i))), i)
	}
	r = open(t, s)
	for _, share := range []float64{1, 0.5, 1. / 3, 0.15} {
		turns, read := 0, 0
		for float64(turns) < 1/share {
			var done, total int64
			o := check.Options{ReadData: true, Fraction: share, Turn: uint64(turns + 7), Progress: func(d, all int64) { done, total = d, all }}
			_, sum := run(t, r, o)
			read += sum.PacksRead
			if share == 0.5 && sum.PacksRead == 12 || sum.BytesRead != done || done != total {
				t.Errorf("share %v, turn %d: %d of %d, %+v", share, turns, done, total, sum)
			}
			turns++
		}
		if read != 12 {
			t.Errorf("share %v: %d packs were read in %d turns, want 12", share, read, turns)
		}
	}
	for _, share := range []float64{-0.1, 1.1} {
		if _, err := check.Run(t.Context(), r, check.Options{Fraction: share}, func(check.Finding) {}); err == nil {
			t.Errorf("share %v was taken", share)
		}
	}
}

// failing is a store that can't read one object.
type failing struct {
	storage.Storage
	name string
}

var errDisk = errors.New("input/output error")

func (f *failing) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if name == f.name {
		return nil, errDisk
	}
	return f.Storage.Get(ctx, name, off, n)
}

func (f *failing) List(ctx context.Context, prefix string, fn func(string, int64) error) error {
	if f.name == "" {
		return errDisk
	}
	return f.Storage.List(ctx, prefix, fn)
}

func TestFailingStorage(t *testing.T) {
	s, _ := small(t, 2)
	f := &failing{Storage: s, name: "none"}
	r := open(t, f)
	for name := range objects(t, s) {
		if strings.HasPrefix(name, "index/") || strings.HasPrefix(name, "trash/") {
			continue // the view can't be taken: the next test
		}
		f.name = name
		if found, _ := run(t, r, check.Options{ReadData: true}); !finds(found, name) {
			t.Errorf("%s can't be read: %v", name, found)
		}
	}
	f.name = ""
	if _, err := check.Run(t.Context(), r, check.Options{}, func(check.Finding) {}); !errors.Is(err, errDisk) {
		t.Errorf("nothing can be listed: got %v", err)
	}
}

func TestCancel(t *testing.T) {
	s, _ := small(t, 1)
	r := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := check.Run(ctx, r, check.Options{ReadData: true}, func(f check.Finding) { t.Error(f) }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := check.Scrub(ctx, s, func(f check.Finding) { t.Error(f) }); !errors.Is(err, context.Canceled) {
		t.Errorf("scrub: got %v", err)
	}
}

func TestScrub(t *testing.T) {
	s, _ := small(t, 1)
	sum, err := check.Scrub(t.Context(), s, func(f check.Finding) { t.Error(f) })
	if err != nil || sum.PacksRead != 1 || sum.Objects != 5 {
		t.Errorf("got %+v, %v", sum, err)
	}
	for name, data := range objects(t, s) {
		named := len(name) > 64
		for _, damaged := range [][]byte{flip(data, len(data)/2, 5), data[:len(data)-1], append(bytes.Clone(data), 0)} {
			l := newLayered(s)
			l.set(name, damaged)
			var found []check.Finding
			if _, err := check.Scrub(t.Context(), l, func(f check.Finding) { found = append(found, f) }); err != nil {
				t.Fatal(err)
			}
			if finds(found, name) != named {
				t.Errorf("%s: %v", name, found)
			}
		}
	}
}
