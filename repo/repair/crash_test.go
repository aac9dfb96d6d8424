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
