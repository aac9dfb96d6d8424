package repair_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// guarded is a repository with parity for every pack.
func guarded(t testing.TB, ratio parity.Ratio) (*memory.Store, map[string]string) {
	t.Helper()
	s, _, _ := three(t)
	r := open(t, s)
	if err := r.SetParityPolicy(t.Context(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
		t.Fatal(err)
	}
	cover(t, r)
	if found := findings(t, r); len(found) > 0 {
		t.Fatal(found)
	}
	return s, contents(r)
}

func cover(t testing.TB, r *repo.Repo) {
	t.Helper()
	set, err := r.Parity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.TakeView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if damaged, err := r.RenewParity(t.Context(), set, v); err != nil || damaged != nil {
		t.Fatal(damaged, err)
	}
}

// TestMendedFromParity damages packs, parity and index at every place, sampled unless TARN_SOAK=1, cuts them at every length, and takes them away. Each
// damage is found, and after the repairs nothing is left of it.
func TestMendedFromParity(t *testing.T) {
	s, whole := guarded(t, parity.Ratio{Width: 3, Shards: 1})
	step := 9001
	if os.Getenv("TARN_SOAK") != "" {
		step = 7
	}
	cases := 0
	for name, data := range objects(t, s, "") {
		folder, _, _ := strings.Cut(name, "/")
		if folder != "data" && folder != "parity" && folder != "index" {
			continue
		}
		var bad [][]byte
		for at := cases % step; at < len(data); at += step {
			flipped := bytes.Clone(data)
			flipped[at] ^= 1 << (at % 8)
			bad = append(bad, flipped, data[:at])
		}
		for i, b := range append(bad, nil) {
			cases++
			clone := s.Clone()
			put(t, clone, name, b)
			if b == nil {
				if err := clone.Remove(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			what := fmt.Sprintf("%s, damage %d", name, i)
			r := open(t, clone)
			if found := findings(t, r); len(found) == 0 && (b != nil || folder == "data") {
				t.Errorf("%s: not found", what)
			}
			if err := mendAll(t.Context(), r, repair.PacksOptions{}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			r = open(t, clone)
			if found := findings(t, r); len(found) > 0 {
				t.Errorf("%s: left: %v", what, found)
			}
			notLess(t, what, whole, contents(r))
		}
	}
	t.Logf("%d damages, all found and mended", cases)
}

// shortened is a repository with parity of all packs and without padding, so that all of its bits can be tried.
func shortened(t testing.TB, ratio parity.Ratio) (*repo.Repo, *memory.Store) {
	t.Helper()
	s := memory.New()
	r, err := create(t, s).Short()
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range []files{{"a": "alpha", "docs/report": "first|second|third"}, {"a": "alpha", "docs/report": "first|second|fourth", "z": "zed"},
		{"docs/report": "other"}} {
		save(t, r, repo.WriterOptions{}, i, f)
	}
	if err := r.SetParityPolicy(t.Context(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
		t.Fatal(err)
	}
	cover(t, r)
	return r, s
}

// on is the repository as it is in another store.
func on(t testing.TB, r *repo.Repo, s *memory.Store) *repo.Repo {
	t.Helper()
	r, err := r.WithStorage(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEveryBitIsMended flips every bit of packs, parity and index, and cuts them at every length: all of that with TARN_SOAK=1, else one in a
// few hundred and one of each version. Each damage is found, and after the repairs nothing is left of it.
func TestEveryBitIsMended(t *testing.T) {
	base, s := shortened(t, parity.Ratio{Width: 3, Shards: 1})
	whole := contents(base)
	every := 397
	if os.Getenv("TARN_SOAK") != "" {
		every = 1
	}
	try := func(what, name string, data []byte) {
		clone := s.Clone()
		put(t, clone, name, data)
		r := on(t, base, clone)
		if found := findings(t, r); len(found) == 0 {
			t.Errorf("%s: not found", what)
		}
		if err := mendAll(t.Context(), r, repair.PacksOptions{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		r = on(t, base, clone)
		if found := findings(t, r); len(found) > 0 {
			t.Errorf("%s: left: %v", what, found)
		}
		notLess(t, what, whole, contents(r))
	}
	n, bits, cuts := 0, 0, 0
	for _, folder := range []string{"data/", "parity/", "index/"} {
		for name, data := range objects(t, s, folder) {
			for at := range data {
				for bit := range 8 {
					if n++; n%every == 0 || at == versionByte && bit == 0 {
						bits++
						flipped := bytes.Clone(data)
						flipped[at] ^= 1 << bit
						try(fmt.Sprintf("%s, byte %d, bit %d", name, at, bit), name, flipped)
					}
				}
				if n++; n%every == 0 {
					cuts++
					try(fmt.Sprintf("%s, cut at %d", name, at), name, data[:at])
				}
			}
		}
	}
	t.Logf("%d bits flipped and %d cuts, all found and mended", bits, cuts)
}

// TestEveryBytePastThePromise damages two packs of a group with one shard at each byte, or some of them without TARN_SOAK=1. Both are found, neither is
// made again from parity, and what is whole besides stays so.
func TestEveryBytePastThePromise(t *testing.T) {
	base, s := shortened(t, parity.Ratio{Width: 3, Shards: 1})
	whole := contents(base)
	packs := objects(t, s, "data/")
	names := slices.Sorted(maps.Keys(packs))[:2]
	every := 97
	if os.Getenv("TARN_SOAK") != "" {
		every = 1
	}
	cases := 0
	for at := 0; at < min(len(packs[names[0]]), len(packs[names[1]])); at += every {
		cases++
		what := fmt.Sprintf("byte %d of two packs", at)
		clone := s.Clone()
		for _, name := range names {
			data := bytes.Clone(packs[name])
			data[at] ^= 1 << (at % 8)
			put(t, clone, name, data)
		}
		r := on(t, base, clone)
		before := contents(r)
		p, err := repair.PlanPacks(t.Context(), r, repair.PacksOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Damaged) != 2 || p.Damaged[0].Way == repair.Rebuild || p.Damaged[1].Way == repair.Rebuild {
			t.Errorf("%s: %+v", what, p.Damaged)
		}
		if err := mendAll(t.Context(), r, repair.PacksOptions{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		notLess(t, what, before, contents(on(t, base, clone)))
		notLess(t, what+", against the original", before, whole)
	}
	t.Logf("%d times past the promise", cases)
}

// TestPastThePromise damages one more pack than there is parity, at the same place: what is lost is named, and nothing reads wrong.
func TestPastThePromise(t *testing.T) {
	for shards := 1; shards <= 2; shards++ {
		s, whole := guarded(t, parity.Ratio{Width: 3, Shards: shards})
		n := 0
		for name, data := range objects(t, s, "data/") {
			if n++; n > shards+1 {
				break
			}
			for at := 80; at < 4000; at++ {
				data[at] ^= 0x55
			}
			put(t, s, name, data)
			p, err := repair.PlanPacks(t.Context(), open(t, s), repair.PacksOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Damaged) != n || (p.Lost > 0) != (n > shards) {
				t.Errorf("%d of %d damaged: %+v, lost %d", n, shards, p.Damaged, p.Lost)
			}
			for _, d := range p.Damaged {
				if want := n <= shards; (d.Way == repair.Rebuild) != want {
					t.Errorf("%d of %d damaged: %v", n, shards, d.Way)
				}
			}
		}
		before := contents(open(t, s))
		if err := mendAll(t.Context(), open(t, s), repair.PacksOptions{}); err != nil {
			t.Fatal(err)
		}
		after := contents(open(t, s))
		notLess(t, "past the promise", before, after)
		notLess(t, "against the original", before, whole)
		mended(t, "past the promise", s)
	}
}

// TestWriterMakesParity expects that a session leaves no pack without parity, and that a store that fails to take it fails the session.
func TestWriterMakesParity(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	ratio := parity.Ratio{Width: 2, Shards: 2}
	if err := r.SetParityPolicy(t.Context(), repo.Policy{Data: ratio}); err != nil {
		t.Fatal(err)
	}
	if err := r.SetParityPolicy(t.Context(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "settings/")); n != 1 {
		t.Errorf("%d settings", n)
	}
	save(t, r, repo.WriterOptions{}, 1, files{"a": "words"})
	packs := objects(t, s, "data/")
	if n := len(objects(t, s, "parity/")); n != 2 || len(packs) != 1 {
		t.Errorf("%d shards, %d packs", n, len(packs))
	}
	for name := range packs {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	set, err := r.Parity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range packs {
		n, err := blob.ParseName(name[len("data/ab/"):])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := set.Rebuild(t.Context(), n); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%v", err)
		}
	}
}

// TestPackThatOnlyParityKnows loses a pack and the whole index: parity remembers the pack, and snapshots lack what it held. A pack that nobody
// needs stays away.
func TestPackThatOnlyParityKnows(t *testing.T) {
	s, whole := guarded(t, parity.Ratio{Width: 3, Shards: 1})
	packs := objects(t, s, "data/")
	for name := range packs {
		clone := s.Clone()
		for object := range objects(t, clone, "index/") {
			if err := clone.Remove(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
		if err := clone.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := mendAll(t.Context(), open(t, clone), repair.PacksOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := mendAll(t.Context(), open(t, clone), repair.PacksOptions{}); err != nil { // the index of the pack that came back
			t.Fatal(err)
		}
		r := open(t, clone)
		notLess(t, name, whole, contents(r))
		if found := findings(t, r); len(found) > 0 {
			t.Error(found)
		}
		if n := len(objects(t, clone, "snapshots/")); n != 3 {
			t.Errorf("%d snapshots", n)
		}
	}
	// Without snapshots nothing is missed.
	for _, folder := range []string{"snapshots/", "index/", "data/"} {
		for name := range objects(t, s, folder) {
			if err := s.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, err := repair.PlanPacks(t.Context(), open(t, s), repair.PacksOptions{})
	if err != nil || len(p.Damaged) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestParityBesideABackup has a backup run from beginning to end before each operation of a repair that makes parity again. What the backup stored
// keeps the parity that it made.
func TestParityBesideABackup(t *testing.T) {
	start, _ := guarded(t, parity.Ratio{Width: 3, Shards: 2})
	for name := range objects(t, start, "parity/") { // one of two is lost
		if err := start.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		break
	}
	for nth := int64(1); ; nth++ {
		s := start.Clone()
		var ops atomic.Int64
		r := open(t, s)
		mended, err := r.WithStorage(faulty.Wrap(s, faulty.Options{Before: func(context.Context, faulty.Op) error {
			if ops.Add(1) == nth {
				save(t, r, repo.WriterOptions{}, 4, files{"later": "this came later"})
			}
			return nil
		}}))
		if err != nil {
			t.Fatal(err)
		}
		p, err := repair.PlanPacks(t.Context(), mended, repair.PacksOptions{})
		if err == nil {
			err = p.Run(t.Context(), session())
		}
		if err != nil {
			t.Errorf("a backup before operation %d: %v", nth, err)
		}
		if ops.Load() < nth {
			break
		}
		set, packs := parityOf(t, r)
		if c := set.Coverage(packs); c.Uncovered > 0 {
			t.Errorf("a backup before operation %d: %d of %d packs are without parity", nth, c.Uncovered, len(packs))
		}
	}
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
