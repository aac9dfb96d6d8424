package crash_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

var _ storage.Cleaner = (*crash.Store)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStorage(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return crash.New(crash.Options{}) })
}

func TestStorageOfAClone(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return crash.New(crash.Options{}).CrashClone(nil, crash.KeepNothing) })
}

// object returns n bytes, none of them zero, so that a lost block shows.
func object(n int, fill byte) []byte { return bytes.Repeat([]byte{fill}, n) }

// run is one client's work, with a cut after every step.
type run struct {
	store *crash.Store
	acked map[string][]byte // nil for removed
	doing map[string][]byte // what the call under way would make of its object
	cuts  int
	torn  int // clones with a torn leftover
	err   error
}

func start(forget crash.Forget) *run {
	r := &run{acked: map[string][]byte{}, doing: map[string][]byte{}}
	r.store = crash.New(crash.Options{Forget: forget, Step: func(crash.Step) { r.cut() }})
	r.put("config", object(100, 1))
	r.put("data/ab/1", object(3000, 2))
	r.put("data/ab/2", object(5000, 3))
	r.put("data/ab/2", object(5000, 3))
	r.put("keys/1", object(1000, 4))
	r.put("keys/1", object(2000, 5))
	r.remove("data/ab/1")
	r.remove("data/ab/1")
	r.put("data/ab/1", object(10, 6))
	return r
}

func (r *run) put(name string, data []byte) {
	r.doing[name] = data
	r.fail(r.store.WithSession("5e55").Put(context.Background(), name, data))
	r.done(name, data)
}

func (r *run) remove(name string) {
	r.doing[name] = nil
	r.fail(r.store.Remove(context.Background(), name))
	r.done(name, nil)
}

func (r *run) done(name string, data []byte) {
	delete(r.doing, name)
	r.acked[name] = data
	r.cut()
}

func (r *run) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *run) cut() {
	r.cuts++
	for seed := range uint64(8) {
		mode := crash.KeepSome
		if seed < 2 {
			mode = crash.Keep(seed)
		}
		clone := r.store.CrashClone(rand.New(rand.NewPCG(uint64(r.cuts), seed)), mode)
		if err := r.verify(clone); err != nil {
			r.fail(fmt.Errorf("cut %d, mode %d, seed %d: %w", r.cuts, mode, seed, err))
		}
	}
}

// verify returns an error unless each object is as the last finished call left it, or as the call under way would.
func (r *run) verify(clone *crash.Store) error {
	ctx := context.Background()
	left, err := objects(clone)
	if err != nil {
		return err
	}
	for name, want := range r.acked {
		got, there := left[name]
		doing, busy := r.doing[name]
		if !same(got, there, want) && !(busy && same(got, there, doing)) {
			return fmt.Errorf("%s has %d bytes, want %d", name, len(got), len(want))
		}
		delete(left, name)
	}
	for name, got := range left {
		if doing, busy := r.doing[name]; !busy || !same(got, true, doing) {
			return fmt.Errorf("%s has %d bytes that nobody put", name, len(got))
		}
	}
	temps, err := clone.Leftovers(ctx)
	for _, l := range temps {
		if l.Session != "5e55" {
			return fmt.Errorf("leftover %+v is nobody's", l)
		}
		for _, data := range r.doing {
			if l.Size < int64(len(data)) {
				r.torn++
			}
		}
	}
	return err
}

func same(got []byte, there bool, want []byte) bool {
	return there == (want != nil) && bytes.Equal(got, want)
}

func objects(s storage.Storage) (map[string][]byte, error) {
	ctx, all := context.Background(), map[string][]byte{}
	err := s.List(ctx, "", func(name string, size int64) error {
		data, err := storage.ReadAll(ctx, s, name, size)
		all[name] = data
		return err
	})
	return all, err
}

func TestCuts(t *testing.T) {
	r := start(crash.ForgetNothing)
	if r.err != nil {
		t.Error(r.err)
	}
	if r.cuts < 35 || r.torn == 0 {
		t.Errorf("%d cuts, %d torn temporaries: nothing was in danger", r.cuts, r.torn)
	}
	t.Logf("%d cuts, %d clones, %d torn temporaries", r.cuts, 8*r.cuts, r.torn)
}

func TestCutsFindForgottenSyncs(t *testing.T) {
	for what, forget := range map[string]crash.Forget{"file": crash.ForgetFile, "folder": crash.ForgetFolder} {
		r := start(forget)
		if r.err == nil {
			t.Errorf("no fsync of the %s: nothing was found", what)
		}
		t.Logf("no fsync of the %s: %v", what, r.err)
	}
}

// TestKeep names for each stage of a Put over an old object what is left by a cut after it.
func TestKeep(t *testing.T) {
	old, data := object(50, 1), object(2000, 2)
	for _, c := range []struct {
		stage      crash.Stage
		nothing    []byte
		everything []byte
		leftovers  int // if everything is kept
	}{
		{crash.Written, old, old, 1}, {crash.Synced, old, old, 1}, {crash.Named, old, data, 0}, {crash.Durable, data, data, 0},
	} {
		var clones []*crash.Store
		var s *crash.Store
		armed := false
		s = crash.New(crash.Options{Step: func(step crash.Step) {
			if armed && step == (crash.Step{Name: "keys/1", Stage: c.stage}) {
				clones = append(clones, s.CrashClone(nil, crash.KeepNothing), s.CrashClone(nil, crash.KeepEverything))
			}
		}})
		if err := s.Put(t.Context(), "keys/1", old); err != nil {
			t.Fatal(err)
		}
		armed = true
		if err := s.Put(t.Context(), "keys/1", data); err != nil || len(clones) != 2 {
			t.Fatalf("%s: %d clones and %v", c.stage, len(clones), err)
		}
		for i, want := range [][]byte{c.nothing, c.everything} {
			if all, err := objects(clones[i]); err != nil || !bytes.Equal(all["keys/1"], want) {
				t.Errorf("%s, mode %d: got %d bytes and %v, want %d", c.stage, i, len(all["keys/1"]), err, len(want))
			}
		}
		if l, err := clones[1].Leftovers(t.Context()); err != nil || len(l) != c.leftovers {
			t.Errorf("%s: got leftovers %v and %v, want %d", c.stage, l, err, c.leftovers)
		}
	}
}

func TestSeedsRepeat(t *testing.T) {
	clone := func(seed uint64) (all map[string][]byte, temps []storage.Leftover) {
		var s *crash.Store
		s = crash.New(crash.Options{Forget: crash.ForgetFile, Step: func(step crash.Step) {
			if step == (crash.Step{Name: "data/ab/9", Stage: crash.Written}) {
				left := s.CrashClone(rand.New(rand.NewPCG(seed, 0)), crash.KeepSome)
				all, _ = objects(left)
				temps, _ = left.Leftovers(t.Context())
			}
		}})
		for i := range 10 {
			if err := s.Put(t.Context(), fmt.Sprintf("data/ab/%d", i), object(5000, 1)); err != nil {
				t.Fatal(err)
			}
		}
		return all, temps
	}
	equal := func(a, b map[string][]byte) bool {
		for name := range a {
			if !bytes.Equal(a[name], b[name]) {
				return false
			}
		}
		return len(a) == len(b)
	}
	first, temps := clone(1)
	again, tempsAgain := clone(1)
	if !equal(first, again) || !slices.Equal(temps, tempsAgain) {
		t.Error("one seed made two different clones")
	}
	if other, _ := clone(2); equal(first, other) {
		t.Error("two seeds made the same clone")
	}
}

// TestCloneIsApart changes each of the two after the cut.
func TestCloneIsApart(t *testing.T) {
	s := crash.New(crash.Options{})
	clone := s.CrashClone(nil, crash.KeepEverything)
	if err := errors.Join(s.Put(t.Context(), "config", nil), clone.Put(t.Context(), "keys/1", nil)); err != nil {
		t.Fatal(err)
	}
	if all, err := objects(s); err != nil || len(all) != 1 || all["config"] == nil {
		t.Errorf("the store: got %v and %v", all, err)
	}
	if all, err := objects(clone); err != nil || len(all) != 1 || all["keys/1"] == nil {
		t.Errorf("the clone: got %v and %v", all, err)
	}
}

// TestRemovedLeftover takes the temporary of a Put away while it is at work.
func TestRemovedLeftover(t *testing.T) {
	var s *crash.Store
	var once sync.Once
	s = crash.New(crash.Options{Step: func(step crash.Step) {
		once.Do(func() {
			removed, err := s.RemoveLeftovers(t.Context(), func(l storage.Leftover) bool { return l.Session == "aa" })
			if err != nil || len(removed) != 1 || removed[0].Size != 100 {
				t.Errorf("got %v and %v", removed, err)
			}
		})
	}})
	if err := s.WithSession("aa").Put(t.Context(), "config", object(100, 1)); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := s.WithSession("aa").Put(t.Context(), "config", object(100, 1)); err != nil {
		t.Errorf("again: %v", err)
	}
}

func Example() {
	ctx := context.Background()
	var s *crash.Store
	s = crash.New(crash.Options{Step: func(step crash.Step) {
		clone := s.CrashClone(nil, crash.KeepNothing)
		_, err := clone.Get(ctx, step.Name, 0, -1)
		fmt.Printf("%s: after a power cut it is there: %v\n", step.Stage, err == nil)
	}})
	if err := s.Put(ctx, "snapshots/1", []byte("sealed")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// written: after a power cut it is there: false
	// synced: after a power cut it is there: false
	// named: after a power cut it is there: false
	// durable: after a power cut it is there: true
}
