package repair_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

func TestNothingToDo(t *testing.T) {
	s, _, _ := three(t)
	r := open(t, s)
	before := fmt.Sprint(len(objects(t, s, "")))
	i, err := repair.PlanIndex(t.Context(), r)
	if err != nil || !i.Empty() || i.Packs != 3 {
		t.Errorf("index: %+v, %v", i, err)
	}
	p, err := repair.PlanPacks(t.Context(), r, repair.PacksOptions{})
	if err != nil || !p.Empty() || p.Looked != 3 {
		t.Errorf("packs: %+v, %v", p, err)
	}
	n, err := repair.PlanSnapshots(t.Context(), r, nil)
	if err != nil || !n.Empty() || n.Looked != 3 {
		t.Errorf("snapshots: %+v, %v", n, err)
	}
	if got := fmt.Sprint(len(objects(t, s, ""))); got != before {
		t.Errorf("%s objects, before %s", got, before)
	}
}

// TestSalvage damages one file of the first snapshot and goes through all repairs.
func TestSalvage(t *testing.T) {
	s, names, want := three(t)
	r := open(t, s)
	damaged := hurt(t, s, r, r.ID(blob.Data, []byte("third")))
	before := contents(r)
	p, err := repair.PlanPacks(t.Context(), open(t, s), repair.PacksOptions{})
	if err != nil || len(p.Damaged) != 1 || p.Damaged[0].Way != repair.Salvage || p.Lost != 1 || p.Damaged[0].Name != damaged {
		t.Fatalf("plan %+v, %v", p, err)
	}
	if err := p.Run(t.Context(), session()); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	notLess(t, "after packs", before, contents(r))
	v, err := r.TakeView(t.Context())
	if err != nil || !v.Trashed[damaged] {
		t.Errorf("the damaged pack is not in the trash: %v", err)
	}
	if again, err := repair.PlanPacks(t.Context(), r, repair.PacksOptions{}); err != nil || !again.Empty() {
		t.Errorf("again: %+v, %v", again, err)
	}
	n, err := repair.PlanSnapshots(t.Context(), r, nil)
	if err != nil || len(n.Damaged) != 1 || n.Damaged[0].Name != names[0] || len(n.Damaged[0].Changes) != 1 {
		t.Fatalf("plan %+v, %v", n, err)
	}
	if c := n.Damaged[0].Changes[0]; c.Path != "docs/report" || c.Kind != snapshot.ProblemCarry {
		t.Errorf("change %+v", c)
	}
	var done []repair.Replaced
	if err := n.Run(t.Context(), session, repair.KeepOld, func(d repair.Replaced) { done = append(done, d) }); err != nil || len(done) != 1 {
		t.Fatal(done, err)
	}
	r = open(t, s)
	all := contents(r)
	notLess(t, "after snapshots", before, all)
	expect := want[0].plain()
	expect["docs/report"] = want[1].plain()["docs/report"]
	if got := of(all, done[0].New); digest(got) != digest(expect) {
		t.Errorf("got %s, want %s", digest(got), digest(expect))
	}
	if n, err = repair.PlanSnapshots(t.Context(), r, nil); err != nil || !n.Empty() {
		t.Errorf("again: %+v, %v", n, err)
	}
	if err := n.Run(t.Context(), session, repair.RemoveOld, func(d repair.Replaced) { done = append(done, d) }); err != nil || len(done) != 2 || !done[1].Removed {
		t.Fatal(done, err)
	}
	for _, f := range findings(t, open(t, s)) {
		if !strings.HasPrefix(f, "warning: data/") { // the damaged pack, until a prune takes it out of the trash
			t.Error(f)
		}
	}
}

// TestNoDonor has losses that no other snapshot can make good: zeros for a part, and nothing for the whole.
func TestNoDonor(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	name := save(t, r, repo.WriterOptions{}, 1, files{"part": "one|two|three", "gone": "all of it", "good": "good"})
	hurt(t, s, r, r.ID(blob.Data, []byte("two")))
	hurt(t, s, r, r.ID(blob.Data, []byte("all of it")))
	if err := mendAll(t.Context(), open(t, s), repair.PacksOptions{}); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	list, err := r.SnapshotNames(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, n := range list {
		if n == name {
			continue
		}
		if got, want := digest(of(contents(r), n)), digest(files{"part": "one\x00\x00\x00three", "good": "good"}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		data, _ := r.LoadSnapshot(t.Context(), n)
		rec, err := snapshot.DecodeRecord(data)
		if err != nil || rec.Original != name || len(rec.Problems) != 2 || rec.Capture.Torn != 1 || rec.Capture.Whole != 1 || rec.Stats.Files != 2 {
			t.Errorf("%+v, %v", rec, err)
		}
	}
}

// TestLostFolder loses the tree blobs of folders: a neighbouring snapshot gives its entries, all marked as carried.
func TestLostFolder(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	save(t, r, repo.WriterOptions{}, 1, files{"d/x": "old x", "d/e/y": "old y", "top": "1"})
	second := save(t, r, repo.WriterOptions{}, 2, files{"d/x": "new x", "d/e/y": "new y", "top": "2"})
	d, err := snapshot.Lookup(t.Context(), r, record(t, r, second).Root, "d")
	if err != nil {
		t.Fatal(err)
	}
	hurt(t, s, r, d.Content.Elements[0].ID)
	if err := mendAll(t.Context(), open(t, s), repair.PacksOptions{}); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	if list, err := r.SnapshotNames(t.Context()); err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	mended := successor(t, r, second)
	if got, want := digest(of(contents(r), mended)), digest(files{"d/x": "old x", "d/e/y": "old y", "top": "2"}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	rec := record(t, r, mended)
	if y, err := snapshot.Lookup(t.Context(), r, rec.Root, "d/e/y"); err != nil || y.State != snapshot.Carried || rec.Capture.Carried != 2 {
		t.Errorf("%+v, %v", y, err)
	}
}

// TestTornStaysTorn damages a snapshot that has torn files: what takes their place is no better if it is torn in the snapshot that it is of, and the new
// record counts what there is now.
func TestTornStaysTorn(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	save(t, r, repo.WriterOptions{}, 1, files{"d/x.torn": "old x", "d/y": "old y", "d/z": "old z", "lost.torn": "old", "kept.torn": "1", "top": "1"})
	second := save(t, r, repo.WriterOptions{}, 2, files{"d/x.torn": "new x", "d/y": "new", "lost.torn": "newer", "kept.torn": "2", "top": "2", "same/d/a": "a", "e/d/a": "a"})
	d, err := snapshot.Lookup(t.Context(), r, record(t, r, second).Root, "d")
	if err != nil {
		t.Fatal(err)
	}
	hurt(t, s, r, d.Content.Elements[0].ID)
	hurt(t, s, r, r.ID(blob.Data, []byte("newer")))
	if err := mendAll(t.Context(), open(t, s), repair.PacksOptions{}); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	rec := record(t, r, successor(t, r, second))
	for path, want := range map[string]snapshot.State{"d/x.torn": snapshot.Torn, "d/y": snapshot.Carried, "d/z": snapshot.Carried, "lost.torn": snapshot.Torn,
		"kept.torn": snapshot.Torn, "top": snapshot.Whole} {
		if n, err := snapshot.Lookup(t.Context(), r, rec.Root, path); err != nil || n.State != want {
			t.Errorf("%s is %v, want %v; %v", path, n.State, want, err)
		}
	}
	there := *rec
	recount(t, r, &there)
	if rec.Stats != there.Stats || rec.Capture != there.Capture || rec.Capture.Torn != 3 || rec.Capture.Carried != 2 || rec.Stats.Files != 8 {
		t.Errorf("counted %+v and %+v; there are %+v and %+v", rec.Stats, rec.Capture, there.Stats, there.Capture)
	}
}

// record is that of a snapshot.
func record(t testing.TB, r *repo.Repo, name blob.Name) *snapshot.Record {
	t.Helper()
	data, err := r.LoadSnapshot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// successor is the snapshot that stands in the place of a damaged one.
func successor(t testing.TB, r *repo.Repo, of blob.Name) blob.Name {
	t.Helper()
	names, err := r.SnapshotNames(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(names, func(n blob.Name) bool { return record(t, r, n).Original == of })
	if i < 0 {
		t.Fatal("no new snapshot")
	}
	return names[i]
}

// TestHeal saves the same files again with the bad blobs taken for absent: the repository is whole after that.
func TestHeal(t *testing.T) {
	s, names, want := three(t)
	r := open(t, s)
	hurt(t, s, r, r.ID(blob.Data, []byte("third")))
	p, err := repair.PlanPacks(t.Context(), open(t, s), repair.PacksOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	save(t, r, repo.WriterOptions{Absent: p.Absent}, 9, want[0])
	r = open(t, s)
	if got := of(contents(r), names[0]); digest(got) != digest(want[0].plain()) {
		t.Errorf("got %s", digest(got))
	}
	p, err = repair.PlanPacks(t.Context(), r, repair.PacksOptions{})
	if err != nil || p.Lost != 0 || len(p.Damaged) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context(), session()); err != nil {
		t.Fatal(err)
	}
	for _, f := range findings(t, open(t, s)) {
		if !strings.HasPrefix(f, "warning: data/") {
			t.Error(f)
		}
	}
}

// TestPackOfALiveSession is not removed, since its writer may still refer to it.
func TestPackOfALiveSession(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	w, err := r.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "", "", "")})
	if err != nil {
		t.Fatal(err)
	}
	lane := w.Lane()
	if _, err := lane.Save(t.Context(), blob.Data, []byte("words")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	hurt(t, s, r, r.ID(blob.Data, []byte("words")))
	p, err := repair.PlanPacks(t.Context(), open(t, s), repair.PacksOptions{})
	if err != nil || len(p.Damaged) != 1 || p.Damaged[0].Way != repair.Copy {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context(), session()); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "trash/")); n != 0 {
		t.Errorf("%d trash objects", n)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// unreadable is a store that can't read a range of one object, as a disk with a bad sector.
type unreadable struct {
	storage.Storage
	name     string
	from, to int64
}

func (u unreadable) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if name == u.name && off < u.to && (n < 0 || off+n > u.from) {
		return nil, &os.PathError{Op: "read", Path: name, Err: syscall.EIO}
	}
	return u.Storage.Get(ctx, name, off, n)
}

// TestBadSector salvages what a disk still gives, and keeps the pack: another try may give more.
func TestBadSector(t *testing.T) {
	s, names, want := three(t)
	var name string
	for n := range objects(t, s, "data/") {
		name = n
	}
	bad := unreadable{s, name, 300, 400}
	p, err := repair.PlanPacks(t.Context(), open(t, bad), repair.PacksOptions{})
	if err != nil || len(p.Damaged) != 1 || p.Damaged[0].Way != repair.Copy {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context(), session()); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "trash/")); n != 0 {
		t.Errorf("%d trash objects", n)
	}
	all := contents(open(t, s))
	for i, n := range names {
		if got := of(all, n); digest(got) != digest(want[i].plain()) {
			t.Errorf("snapshot %d: %s", i, digest(got))
		}
	}
}

// TestDamagedTrash lets a repository be written to again, and not while somebody prunes.
func TestDamagedTrash(t *testing.T) {
	s, names, want := three(t)
	r := open(t, s)
	var packs []blob.Name
	for name := range objects(t, s, "data/") {
		n, err := blob.ParseName(name[len("data/ab/"):])
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, n)
	}
	if err := r.PutTrash(t.Context(), packs[:1]); err != nil {
		t.Fatal(err)
	}
	for name, data := range objects(t, s, "trash/") {
		data[200] ^= 1
		put(t, s, name, data)
	}
	if _, err := open(t, s).NewWriter(t.Context(), repo.WriterOptions{Session: session()}); !errors.Is(err, repo.ErrBlind) {
		t.Fatal(err)
	}
	prune := repo.NewSession(repo.PurposePrune, "", "", "")
	if err := r.BeginSession(t.Context(), prune); err != nil {
		t.Fatal(err)
	}
	p, err := repair.PlanTrash(t.Context(), r)
	if err != nil || len(p.Damaged) != 1 || len(p.Pruners) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context()); !errors.Is(err, repair.ErrPruning) {
		t.Errorf("while somebody prunes: %v", err)
	}
	if err := r.EndSession(t.Context(), prune.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	if found := findings(t, r); len(found) > 0 {
		t.Error(found)
	}
	for i, name := range names {
		if got := of(contents(r), name); digest(got) != digest(want[i].plain()) {
			t.Errorf("snapshot %d: %s", i, digest(got))
		}
	}
}

// TestOldKeyMendsNothing has a slot left of a rotation that was interrupted. Who opens the repository with it takes what came later for damaged, and may not
// mend that.
func TestOldKeyMendsNothing(t *testing.T) {
	s, _, _ := three(t)
	slots := objects(t, s, "keys/")
	r := open(t, s)
	if _, err := r.RotateKey(t.Context(), seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}, []byte("new")); err != nil {
		t.Fatal(err)
	}
	fresh, err := repo.Open(t.Context(), s, func() ([]byte, error) { return []byte("new"), nil }, repo.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	save(t, fresh, repo.WriterOptions{}, 4, files{"later": "this came later"})
	if err := fresh.PutTrash(t.Context(), []blob.Name{{1}}); err != nil {
		t.Fatal(err)
	}
	for name, data := range slots {
		put(t, s, name, data)
	}
	old := open(t, s)
	index, err := repair.PlanIndex(t.Context(), old)
	if err == nil {
		err = index.Run(t.Context())
	}
	if !errors.Is(err, repo.ErrOldKey) {
		t.Errorf("index: %v", err)
	}
	trash, err := repair.PlanTrash(t.Context(), old)
	if err == nil && len(trash.Damaged) != 1 {
		t.Errorf("%d damaged trash objects", len(trash.Damaged))
	}
	if err == nil {
		err = trash.Run(t.Context())
	}
	if !errors.Is(err, repo.ErrOldKey) {
		t.Errorf("trash: %v", err)
	}
	packs, err := repair.PlanPacks(t.Context(), old, repair.PacksOptions{})
	if err == nil {
		err = packs.Run(t.Context(), session())
	}
	if !errors.Is(err, repo.ErrOldKey) {
		t.Errorf("packs: %v", err)
	}
}
