package repair_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
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

// TestAllIndexObjectsDeleted restores everything without an index, and makes it again.
func TestAllIndexObjectsDeleted(t *testing.T) {
	s, names, want := three(t)
	for name := range objects(t, s, "index/") {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for step := range 2 {
		r := open(t, s)
		all := contents(r)
		for i, name := range names {
			if got := of(all, name); digest(got) != digest(want[i].plain()) {
				t.Errorf("step %d, snapshot %d: got %s", step, i, digest(got))
			}
		}
		p, err := repair.PlanIndex(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if step == 1 {
			if !p.Empty() {
				t.Errorf("again: %+v", p)
			}
			break
		}
		if p.Unindexed != 3 || p.Empty() {
			t.Errorf("plan: %+v", p)
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found := findings(t, open(t, s)); len(found) > 0 {
		t.Error(found)
	}
}

// TestOneIndexObjectDamaged expects that all that doesn't need it restores, here everything, with a warning.
func TestOneIndexObjectDamaged(t *testing.T) {
	s, names, want := three(t)
	for name, data := range objects(t, s, "index/") {
		data[500] ^= 8
		put(t, s, name, data)
		break
	}
	r := open(t, s)
	v, err := r.TakeView(t.Context())
	if err != nil || len(v.Warnings) != 1 {
		t.Fatalf("warnings %v, %v", v.Warnings, err)
	}
	all := contents(r)
	for i, name := range names {
		if got := of(all, name); digest(got) != digest(want[i].plain()) {
			t.Errorf("snapshot %d: got %s", i, digest(got))
		}
	}
	p, err := repair.PlanIndex(t.Context(), r)
	if err != nil || len(p.Damaged) != 1 || p.Unindexed != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := findings(t, open(t, s)); len(found) > 0 {
		t.Error(found)
	}
}

// TestIndexThatAloneKnows has a pack that can't say what it holds, and an index object that can: it stays, also next to a damaged one.
func TestIndexThatAloneKnows(t *testing.T) {
	s, names, want := three(t)
	for name, data := range objects(t, s, "data/") {
		data[len(data)-3] ^= 1 // the footer
		put(t, s, name, data)
		break
	}
	r := open(t, s)
	p, err := repair.PlanIndex(t.Context(), r)
	if err != nil || !p.Empty() || len(p.Sealed) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := of(contents(r), names[0]); digest(got) != digest(want[0].plain()) {
		t.Errorf("got %s", digest(got))
	}
	// Without the index nobody knows. A damaged index object is kept then: a copy of it could be put back.
	for name, data := range objects(t, s, "index/") {
		data[500] ^= 8
		put(t, s, name, data)
	}
	if p, err = repair.PlanIndex(t.Context(), open(t, s)); err != nil || len(p.Unknown) != 1 || len(p.Damaged) != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "index/")); n != 4 {
		t.Errorf("%d index objects, want the three damaged ones and a new one", n)
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
	data, err := r.LoadSnapshot(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	d, err := snapshot.Lookup(t.Context(), r, rec.Root, "d")
	if err != nil {
		t.Fatal(err)
	}
	hurt(t, s, r, d.Content.Elements[0].ID)
	if err := mendAll(t.Context(), open(t, s), repair.PacksOptions{}); err != nil {
		t.Fatal(err)
	}
	r = open(t, s)
	list, err := r.SnapshotNames(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	want := digest(files{"d/x": "old x", "d/e/y": "old y", "top": "2"})
	found := false
	for _, n := range list {
		data, _ := r.LoadSnapshot(t.Context(), n)
		if rec, err := snapshot.DecodeRecord(data); err == nil && rec.Original == second {
			found = true
			if got := digest(of(contents(r), n)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if y, err := snapshot.Lookup(t.Context(), r, rec.Root, "d/e/y"); err != nil || y.State != snapshot.Carried || rec.Capture.Carried != 2 {
				t.Errorf("%+v, %v", y, err)
			}
		}
	}
	if !found {
		t.Error("no new snapshot")
	}
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

// broken are repositories that need each repair.
func broken(t testing.TB) map[string]*memory.Store {
	all := map[string]*memory.Store{}
	for _, what := range []string{"index", "blob", "tree", "header", "cut", "several"} {
		s, _, _ := three(t)
		r := open(t, s)
		first := objects(t, s, "data/")
		switch what {
		case "index":
			for name, data := range objects(t, s, "index/") {
				put(t, s, name, data[:len(data)/2])
			}
		case "blob":
			hurt(t, s, r, r.ID(blob.Data, []byte("second")))
		case "tree":
			hurt(t, s, r, rootID(t, r))
		case "header":
			for name, data := range first {
				data[30] ^= 1
				put(t, s, name, data)
			}
		case "cut":
			for name, data := range first {
				put(t, s, name, data[:700])
				break
			}
		case "several":
			hurt(t, s, r, r.ID(blob.Data, []byte("alpha")))
			hurt(t, s, r, r.ID(blob.Data, []byte("yy")))
			for name := range objects(t, s, "index/") {
				if err := s.Remove(context.Background(), name); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		all[what] = s
	}
	return all
}

func rootID(t testing.TB, r *repo.Repo) blob.ID {
	list, err := r.SnapshotNames(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.LoadSnapshot(context.Background(), list[0])
	if err != nil {
		t.Fatal(err)
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Root.Content.Elements[0].ID
}

var errKilled = errors.New("killed")

// killer ends everything at the nth operation that changes the storage.
type killer struct {
	mu     sync.Mutex // guards what follows
	at     int
	effect faulty.Effect
	count  int
	dead   bool
}

func changes(op faulty.Op) bool { return op.Method == faulty.Put || op.Method == faulty.Remove }

func (k *killer) before(_ context.Context, op faulty.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return errKilled
	}
	if changes(op) {
		if k.count++; k.count == k.at && k.effect == faulty.Nothing {
			k.dead = true
			return errKilled
		}
	}
	return nil
}

func (k *killer) after(_ context.Context, op faulty.Op) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = k.dead || changes(op) && k.count >= k.at
}

func (k *killer) struck() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// failer lets the nth operation fail: any if it is an input error, else the nth Put.
type failer struct {
	mu    sync.Mutex // guards what follows
	err   error
	at    int
	count int
}

func (f *failer) arm(at int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.count = at, 0
}

func (f *failer) before(_ context.Context, op faulty.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == 0 || f.err != syscall.EIO && op.Method != faulty.Put {
		return nil
	}
	if f.count++; f.count == f.at {
		return f.err
	}
	return nil
}

func (f *failer) struck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count >= f.at
}

// TestKilledAnywhere ends the repairs at every operation that changes the storage: before it, torn where a store can tear, and after it. What could
// be read before can be read then, and the repairs run again to their end (promise I7).
func TestKilledAnywhere(t *testing.T) {
	states := 0
	for what, s := range broken(t) {
		before := contents(open(t, s))
		for _, effect := range []faulty.Effect{faulty.Nothing, faulty.Done} {
			for n := 1; ; n++ {
				clone := s.Clone()
				k := &killer{at: n, effect: effect}
				r := open(t, faulty.Wrap(clone, faulty.Options{Before: k.before, After: k.after}))
				err := mendAll(t.Context(), r, repair.PacksOptions{})
				if !k.struck() {
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					break
				}
				states++
				at := fmt.Sprintf("%s, %v operation %d", what, effect, n)
				notLess(t, at, before, contents(open(t, clone)))
				evict(t, clone)
				if err := mendAll(t.Context(), open(t, clone), repair.PacksOptions{}); err != nil {
					t.Errorf("%s: again: %v", at, err)
				}
				notLess(t, at+", again", before, contents(open(t, clone)))
				mended(t, at, clone)
			}
		}
	}
	t.Logf("%d crash states", states)
	if states < 40 {
		t.Errorf("only %d crash states", states)
	}
}

// evict ends all sessions, as somebody does who sees that their programs are gone.
func evict(t testing.TB, s storage.Storage) {
	t.Helper()
	for name := range objects(t, s, "sessions/") {
		id := strings.TrimPrefix(name, "sessions/")
		put(t, s, "evictions/"+id, []byte("evicted\n"))
		if err := s.Remove(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// mended expects that nothing is left to be repaired, and that each snapshot that lost something has a whole successor.
func mended(t testing.TB, at string, s storage.Storage) {
	t.Helper()
	ctx := context.Background()
	r := open(t, s)
	p, err := repair.PlanPacks(ctx, r, repair.PacksOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Empty() {
		t.Errorf("%s: packs are left: %+v", at, p.Damaged)
	}
	n, err := repair.PlanSnapshots(ctx, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !n.Empty() {
		t.Errorf("%s: snapshots are left: %+v", at, n.Damaged)
	}
}

// step goes through the first operations one by one, and then in growing steps; one by one with TARN_SOAK=1.
func step(n int) int {
	if os.Getenv("TARN_SOAK") != "" {
		return 1
	}
	return 1 + n/6
}

// TestEveryOperationFails lets each operation fail once: the repairs say so, or have done all that they should.
func TestEveryOperationFails(t *testing.T) {
	cases := 0
	for what, s := range broken(t) {
		before := contents(open(t, s))
		for _, e := range []error{syscall.EIO, storage.ErrFull, syscall.EDQUOT, io.ErrShortWrite} {
			for n := 1; ; n += step(n) {
				clone := s.Clone()
				k := &failer{err: e}
				r := open(t, faulty.Wrap(clone, faulty.Options{Before: k.before}))
				k.arm(n)
				err := mendAll(t.Context(), r, repair.PacksOptions{})
				if !k.struck() {
					break
				}
				cases++
				at := fmt.Sprintf("%s, operation %d: %v", what, n, e)
				notLess(t, at, before, contents(open(t, clone)))
				if err == nil {
					// A read that fails once makes a pack unsure at most; nothing may be worse than before.
					if err := mendAll(t.Context(), open(t, clone), repair.PacksOptions{}); err != nil {
						t.Errorf("%s: again: %v", at, err)
					}
					mended(t, at, clone)
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

// versionByte is damaged even where others are only sampled: what it then says is that the object is right, and of a newer format.
const versionByte = 4

// TestEveryFlipAndCut damages every object but config and keys, at sampled places or with TARN_SOAK=1 at each, and repairs: what could be
// read is still readable, and nothing reads wrong.
func TestEveryFlipAndCut(t *testing.T) {
	s, _, _ := three(t)
	whole := contents(open(t, s))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	cases := 0
	for name, data := range objects(t, s, "") {
		if name == "config" || strings.HasPrefix(name, "keys/") {
			continue
		}
		for i := range data {
			if os.Getenv("TARN_SOAK") == "" && i != versionByte && rng.IntN(len(data)) > 7 {
				continue
			}
			cases++
			clone := s.Clone()
			bad := bytes.Clone(data)
			what := fmt.Sprintf("%s flipped at %d", name, i)
			if rng.IntN(3) == 0 {
				bad, what = bad[:i], fmt.Sprintf("%s cut at %d", name, i)
			} else {
				bad[i] ^= 1 << rng.IntN(8)
			}
			put(t, clone, name, bad)
			before := contents(open(t, clone))
			notLess(t, what, before, whole) // nothing reads wrong
			if err := mendAll(t.Context(), open(t, clone), repair.PacksOptions{}); err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			notLess(t, what, before, contents(open(t, clone)))
			mended(t, what, clone)
		}
	}
	t.Logf("%d damages", cases)
}

// TestPowerCuts cuts the power at every step of every operation of the repairs, with nothing, all and seeded parts of what was not synced kept: what
// could be read is still there, and the repairs run to their end.
func TestPowerCuts(t *testing.T) {
	seeds := 1
	if os.Getenv("TARN_SOAK") != "" {
		seeds = 64
	}
	cuts, states := 0, 0
	for _, what := range []string{"index", "blob"} {
		start := broken(t)[what]
		before := contents(open(t, start))
		var s *crash.Store
		active := false
		s = crash.New(crash.Options{Step: func(step crash.Step) {
			if !active {
				return
			}
			cuts++
			for i := range seeds + 2 {
				mode := crash.KeepSome
				if i < 2 {
					mode = []crash.Keep{crash.KeepNothing, crash.KeepEverything}[i]
				}
				states++
				clone := s.CrashClone(rand.New(rand.NewPCG(uint64(cuts), uint64(i))), mode)
				at := fmt.Sprintf("%s, %v, state %d", what, step, i)
				notLess(t, at, before, contents(open(t, clone)))
				evict(t, clone)
				if err := mendAll(t.Context(), open(t, clone), repair.PacksOptions{}); err != nil {
					t.Errorf("%s: again: %v", at, err)
				}
				notLess(t, at+", again", before, contents(open(t, clone)))
			}
		}})
		for name, data := range objects(t, start, "") {
			put(t, s, name, data)
		}
		r := open(t, s)
		active = true
		if err := mendAll(t.Context(), r, repair.PacksOptions{}); err != nil {
			t.Fatal(err)
		}
		active = false
	}
	t.Logf("%d cuts, %d disk states", cuts, states)
	if cuts < 40 {
		t.Errorf("only %d cuts", cuts)
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
