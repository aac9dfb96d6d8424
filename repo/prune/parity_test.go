package prune_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// TestParityBesideABackup has a backup run from beginning to end before each operation of a prune. What it stored keeps the parity that it made.
func TestParityBesideABackup(t *testing.T) {
	for nth := 1; ; nth++ {
		rng := rand.New(rand.NewPCG(5, 5))
		s := memory.New()
		r := create(t, s)
		ratio := parity.Ratio{Width: 3, Shards: 1}
		if err := r.SetParityPolicy(t.Context(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
			t.Fatal(err)
		}
		old := save(t, r, 1, random(rng, 5))
		save(t, r, 2, random(rng, 5))
		if err := r.RemoveSnapshot(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		ops := 0
		pruned, err := r.WithStorage(faulty.Wrap(s, faulty.Options{Before: func(context.Context, faulty.Op) error {
			if ops++; ops == nth {
				save(t, r, 3, random(rng, 5))
			}
			return nil
		}}))
		if err != nil {
			t.Fatal(err)
		}
		o := options()
		o.Workers, o.Inline = 1, true
		if _, err := prune.Run(t.Context(), pruned, o); err != nil {
			t.Errorf("a backup before operation %d: %v", nth, err)
		}
		if ops < nth {
			if nth < 20 {
				t.Errorf("a prune takes %d operations", ops)
			}
			return
		}
		covered(t, r, nth)
	}
}

// TestDamagedPackKeepsItsGroup damages a pack that parity can make again, with the help of one that no snapshot needs. That stays until it is mended.
func TestDamagedPackKeepsItsGroup(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	s := memory.New()
	r := create(t, s)
	files := random(rng, 5)
	first := save(t, r, 1, files)
	v, err := r.TakeView(t.Context())
	if err != nil || len(v.Packs) != 1 {
		t.Fatalf("%d packs, %v", len(v.Packs), err)
	}
	damaged := slices.Collect(maps.Keys(v.Packs))[0]
	old := save(t, r, 2, random(rng, 5))
	save(t, r, 3, random(rng, 5))
	ratio := parity.Ratio{Width: 3, Shards: 1}
	if err := r.SetParityPolicy(t.Context(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
		t.Fatal(err)
	}
	set, packs := parityOf(t, r)
	if _, err := set.Cover(t.Context(), packs, nil); err != nil {
		t.Fatal(err)
	}
	object := repo.PackObject(damaged)
	data, err := storage.ReadAll(t.Context(), s, object, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(data)
	bad[90] ^= 1 // in the first segment, which holds files
	if err := errors.Join(s.Put(t.Context(), object, bad), r.RemoveSnapshot(t.Context(), old)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first time it goes to the trash
		if _, err := prune.Run(t.Context(), r, options()); !errors.Is(err, prune.ErrMendable) {
			t.Errorf("got %v", err)
		}
	}
	set, _ = parityOf(t, r)
	again, err := set.Rebuild(t.Context(), damaged)
	if err != nil || !bytes.Equal(again, data) {
		t.Fatalf("the pack can't be made again: %v", err)
	}
	if err := s.Put(t.Context(), object, again); err != nil {
		t.Fatal(err)
	}
	if result := run(t, r, options()); result.Removed.Packs != 1 {
		t.Errorf("when it is mended: %+v", result)
	}
	whole(t, r, first, files)
	covered(t, r, 0)
}

// parityOf returns the parity that there is, and the packs that should have it.
func parityOf(t testing.TB, r *repo.Repo) (*parity.Set, []parity.Pack) {
	t.Helper()
	set, err := r.Parity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.TakeView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	packs, err := r.ParityPacks(t.Context(), v, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set, packs
}

// covered expects that all packs have the parity that they should.
func covered(t *testing.T, r *repo.Repo, nth int) {
	t.Helper()
	set, packs := parityOf(t, r)
	if c := set.Coverage(packs); c.Uncovered > 0 {
		t.Errorf("a backup before operation %d: %d of %d packs are without parity", nth, c.Uncovered, len(packs))
	}
}
