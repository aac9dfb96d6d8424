package prune_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// history is a repository with snapshots, of which one is to be forgotten, and something that waits in the trash.
type history struct {
	repo     *repo.Repo
	names    []blob.Name
	contents []map[string]string
}

func newHistory(t testing.TB, s storage.Storage) *history {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 9))
	h := &history{repo: create(t, s)}
	files := random(rng, 12)
	for i := range 9 { // more than what it takes to put small packs together
		h.names, h.contents = append(h.names, save(t, h.repo, i, files)), append(h.contents, files)
		files = change(rng, files)
	}
	return h
}

// reclaim forgets a snapshot, and prunes.
func (h *history) reclaim(r *repo.Repo) error {
	ctx := context.Background()
	if err := r.RemoveSnapshot(ctx, h.names[0]); err != nil {
		return err
	}
	_, err := prune.Run(ctx, r, options())
	return err
}

// looks at what is left after something went wrong: all snapshots that were not forgotten are whole, and the next prune reclaims what is left.
func (h *history) afterwards(t *testing.T, s storage.Storage, what string, deep bool) {
	t.Helper()
	ctx := context.Background()
	r, err := h.repo.WithStorage(s)
	if err != nil {
		t.Fatal(err)
	}
	findings := func(r *repo.Repo) {
		t.Helper()
		_, err := check.Run(ctx, r, check.Options{ReadData: true}, func(f check.Finding) {
			if f.Severity == check.Error {
				t.Errorf("%s: check: %v", what, f)
			}
		})
		if err != nil {
			t.Errorf("%s: check: %v", what, err)
		}
	}
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range h.names[1:] {
		if !slices.Contains(names, name) {
			t.Errorf("%s: snapshot %s is gone", what, name.Short())
		}
	}
	findings(r)
	if !deep {
		return
	}
	if err := r.RemoveSnapshot(ctx, h.names[0]); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		o := options()
		o.Gone = func(repo.Session) bool { return true }
		result, err := prune.Run(ctx, r, o)
		if err != nil {
			t.Errorf("%s: prune %d: %v", what, i, err)
		}
		if i == 1 && (result.Unused > 0 || result.Waiting.Packs > 0) {
			t.Errorf("%s: something is left for a second prune: %+v", what, result)
		}
	}
	if got := listed(t, s); got["trash"]+got["wait"]+got["sessions"] > 0 {
		t.Errorf("%s: left behind: %v", what, got)
	}
	if r, err = r.Fresh(); err != nil {
		t.Fatal(err)
	}
	findings(r)
	for i, name := range h.names[1:] {
		whole(t, r, name, h.contents[i+1])
	}
}

// TestPowerCuts cuts the power at each stage of each operation of a forget and a prune, and keeps nothing, all, or seeded parts of what was
// not durable.
func TestPowerCuts(t *testing.T) {
	seeds := 3
	if os.Getenv("TARN_SOAK") != "" {
		seeds = 64
	}
	cuts, states, active := 0, 0, false
	var h *history
	var s *crash.Store
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
			h.afterwards(t, s.CrashClone(rand.New(rand.NewPCG(uint64(cuts), uint64(i))), mode), string(step.Stage)+" "+step.Name, i < 3)
		}
	}})
	h = newHistory(t, s)
	active = true
	if err := h.reclaim(h.repo); err != nil {
		t.Fatal(err)
	}
	active = false
	h.afterwards(t, s, "at the end", true)
	t.Logf("%d cuts, %d disk states", cuts, states)
	if cuts < 40 {
		t.Errorf("only %d cuts", cuts)
	}
}

// TestEveryOperationFails lets the nth operation of a forget and a prune fail, for each n, in all ways: there is no success with something missing.
func TestEveryOperationFails(t *testing.T) {
	m := memory.New()
	h := newHistory(t, m)
	total := 0
	for _, effect := range []faulty.Effect{faulty.Nothing, faulty.Torn, faulty.Done} {
		for _, errno := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
			if effect != faulty.Nothing && errno != syscall.EIO {
				continue // the effect is what matters then
			}
			for n := 1; ; n++ {
				clone := m.Clone()
				s := faulty.Wrap(clone, faulty.Options{Faults: []faulty.Fault{{Nth: n, Effect: effect, Err: errno}}})
				r, err := h.repo.WithStorage(s)
				if err != nil {
					t.Fatal(err)
				}
				err = h.reclaim(r)
				ops := s.Ops()
				if len(ops) < n {
					break
				}
				total++
				what := ops[n-1].String()
				if effect == faulty.Torn && ops[n-1].Method == faulty.Put {
					// A store that leaves half an object breaks its promise; what it names is damaged, and that must be said and harm nothing else.
					if err == nil {
						t.Errorf("%s was torn, and nobody noticed", what)
					}
					continue
				}
				if err == nil && ops[n-1].Method != faulty.Get {
					t.Errorf("%s failed, and the prune succeeded", what)
				}
				if err != nil && !errors.Is(err, errno) {
					t.Logf("%s: %v", what, err)
				}
				h.afterwards(t, clone, what, errno == syscall.EIO && effect != faulty.Torn)
			}
		}
	}
	t.Logf("%d operations failed", total)
}
