package parity_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

func path(n blob.Name) string { return "data/" + n.String()[:2] + "/" + n.String() }

func keysOf() *seal.Keys { return seal.NewKeys(seal.RepoID{1}, 0, [32]byte{2}) }

// packs puts packs of the given sizes, and their parity.
func packs(t testing.TB, s storage.Storage, ratio parity.Ratio, sizes ...int) []parity.Pack {
	t.Helper()
	e, err := parity.NewEncoder(keysOf(), ratio)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{byte(len(sizes))})
	var list []parity.Pack
	for _, size := range sizes {
		data := make([]byte, size)
		rng.Read(data)
		p := parity.Pack{Name: sha256.Sum256(data), Size: int64(size), Ratio: ratio}
		put(t, s, path(p.Name), data)
		objects, err := e.Add(p.Name, data)
		if err == nil {
			err = parity.Put(context.Background(), s, objects)
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if err := parity.Put(context.Background(), s, e.Finish()); err != nil {
		t.Fatal(err)
	}
	return list
}

func put(t testing.TB, s storage.Storage, name string, data []byte) {
	t.Helper()
	if err := s.Put(context.Background(), name, data); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s storage.Storage, name string) []byte {
	t.Helper()
	data, err := storage.ReadAll(context.Background(), s, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func load(t testing.TB, s storage.Storage) *parity.Set {
	t.Helper()
	set, err := parity.Load(context.Background(), keysOf(), s, path)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func names(t testing.TB, s storage.Storage, folder string) (list []string) {
	t.Helper()
	err := s.List(context.Background(), folder, func(name string, size int64) error {
		list = append(list, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestLosses loses every subset of the objects of a group: up to as many as there are shards every pack can be had again, with one more those that
// are lost can't, and say so.
func TestLosses(t *testing.T) {
	ratio := parity.Ratio{Width: 5, Shards: 2}
	for _, count := range []int{1, 3, 5} { // a group need not be full
		s := memory.New()
		list := packs(t, s, ratio, []int{70_000, 1, 200_000, 65536, 131_073}[:count]...)
		objects := append(names(t, s, "parity/"), names(t, s, "data/")...)
		if len(objects) != count+2 {
			t.Fatalf("%d objects", len(objects))
		}
		for subset := range 1 << len(objects) {
			clone, lost, lostPacks := s.Clone(), 0, 0
			for i, name := range objects {
				if subset>>i&1 == 1 {
					if err := clone.Remove(t.Context(), name); err != nil {
						t.Fatal(err)
					}
					lost++
					if i >= 2 {
						lostPacks++
					}
				}
			}
			set := load(t, clone)
			for _, p := range list {
				got, err := set.Rebuild(t.Context(), p.Name)
				there := slices.Contains(names(t, clone, "data/"), path(p.Name))
				switch {
				case err == nil && sha256.Sum256(got) != p.Name:
					t.Errorf("subset %b: wrong bytes", subset)
				case err != nil && lost <= ratio.Shards && lost-lostPacks < ratio.Shards:
					t.Errorf("subset %b: %v", subset, err)
				case err == nil && !there && lost > ratio.Shards && lostPacks == count:
					t.Errorf("subset %b: bytes out of nothing", subset)
				}
			}
		}
	}
}

// TestScatteredDamage damages all packs of a group, each at other places: as long as no two are at the same place one shard is enough.
func TestScatteredDamage(t *testing.T) {
	s := memory.New()
	list := packs(t, s, parity.Ratio{Width: 4, Shards: 1}, 300_000, 290_000, 310_000, 280_000)
	for i, p := range list {
		data := get(t, s, path(p.Name))
		for at := i * 65536; at < (i+1)*65536; at += 1000 {
			data[at] ^= 0xff
		}
		put(t, s, path(p.Name), data)
	}
	set := load(t, s)
	for _, p := range list {
		if got, err := set.Rebuild(t.Context(), p.Name); err != nil || sha256.Sum256(got) != p.Name {
			t.Errorf("%v", err)
		}
	}
	data := get(t, s, path(list[1].Name))
	data[5] ^= 1 // where the first one is damaged, too
	put(t, s, path(list[1].Name), data)
	for i, p := range list {
		if _, err := set.Rebuild(t.Context(), p.Name); (err != nil) != (i < 2) || err != nil && !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("pack %d: %v", i, err)
		}
	}
}

// TestEveryFlipAndCut damages a pack at each byte, sampled unless TARN_SOAK=1, and at every length; and the parity itself.
func TestEveryFlipAndCut(t *testing.T) {
	s := memory.New()
	list := packs(t, s, parity.Ratio{Width: 3, Shards: 1}, 3000, 66_000, 2000)
	step := 97
	if os.Getenv("TARN_SOAK") != "" {
		step = 1
	}
	cases := 0
	for _, name := range append(names(t, s, "data/"), names(t, s, "parity/")...) {
		data := get(t, s, name)
		for at := 0; at < len(data); at += step {
			flipped := bytes.Clone(data)
			flipped[at] ^= 1 << (at % 8)
			for _, bad := range [][]byte{flipped, data[:at]} {
				cases++
				put(t, s, name, bad)
				set := load(t, s)
				for _, p := range list {
					if got, err := set.Rebuild(t.Context(), p.Name); strings.HasPrefix(name, "data/") && (err != nil || sha256.Sum256(got) != p.Name) {
						t.Fatalf("%s at %d: %v", name, at, err)
					} else if err == nil && sha256.Sum256(got) != p.Name {
						t.Fatalf("%s at %d: wrong bytes", name, at)
					}
				}
				if strings.HasPrefix(name, "parity/") {
					if err := set.ProveAll(t.Context()); err != nil {
						t.Fatal(err)
					}
					if len(set.Faults) != 1 || !set.Coverage(list).Damaged() {
						t.Fatalf("%s at %d: not found: %v", name, at, set.Faults)
					}
				}
			}
		}
		put(t, s, name, data)
	}
	t.Logf("%d damages", cases)
}

// TestJoin expects that what many sessions leave is put together, with less parity and no less protection, also if that was interrupted before.
func TestJoin(t *testing.T) {
	ratio := parity.Ratio{Width: 5, Shards: 1}
	s := memory.New()
	var list []parity.Pack
	for i := range 6 {
		list = append(list, packs(t, s, ratio, 70_000+i)...) // a session, and so a group, for each
	}
	before := objectsIn(t, s, "parity/")
	if _, err := load(t, s).Cover(t.Context(), list, nil); err != nil {
		t.Fatal(err)
	}
	sound := func(groups int) {
		t.Helper()
		set := load(t, s)
		if c := set.Coverage(list); c.Covered != len(list) || c.Groups != groups || c.Damaged() {
			t.Errorf("%+v, want %d groups", c, groups)
		}
		for _, p := range list {
			want := get(t, s, path(p.Name))
			if got, err := set.Rebuild(t.Context(), p.Name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("pack of %d bytes: %v", p.Size, err)
			}
		}
	}
	sound(2)
	after := names(t, s, "parity/")
	if _, err := load(t, s).Cover(t.Context(), list, nil); err != nil || !slices.Equal(names(t, s, "parity/"), after) {
		t.Errorf("the next time %v, then %v; %v", after, names(t, s, "parity/"), err)
	}
	for name, data := range before { // as if it had been killed before it removed them
		put(t, s, name, data)
	}
	if _, err := load(t, s).Cover(t.Context(), list, nil); err != nil {
		t.Fatal(err)
	}
	sound(2)
}

func objectsIn(t testing.TB, s storage.Storage, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, name := range names(t, s, folder) {
		all[name] = get(t, s, name)
	}
	return all
}

// TestCover has packs come and go.
func TestCover(t *testing.T) {
	ratio := parity.Ratio{Width: 3, Shards: 2}
	s := memory.New()
	list := packs(t, s, ratio, 70_000, 80_000, 90_000, 100_000)
	c := load(t, s).Coverage(list)
	if c.Covered != 4 || c.Uncovered != 0 || c.Groups != 2 || c.Damaged() {
		t.Errorf("%+v", c)
	}
	// A pack goes: the others of its group get new parity, and the old one goes.
	left := list[1:]
	c = load(t, s).Coverage(left)
	if c.Covered != 1 || c.Uncovered != 2 || c.Unsound != 1 {
		t.Errorf("%+v", c)
	}
	before := names(t, s, "parity/")
	if damaged, err := load(t, s).Cover(t.Context(), left, nil); err != nil || damaged != nil {
		t.Fatal(damaged, err)
	}
	if err := s.Remove(t.Context(), path(list[0].Name)); err != nil {
		t.Fatal(err)
	}
	if c = load(t, s).Coverage(left); c.Covered != 3 || c.Damaged() || len(names(t, s, "parity/")) != 4 {
		t.Errorf("%+v; %v, before %v", c, names(t, s, "parity/"), before)
	}
	// More parity is wanted.
	for i := range left {
		left[i].Ratio.Shards = 3
	}
	if _, err := load(t, s).Cover(t.Context(), left, nil); err != nil {
		t.Fatal(err)
	}
	if c = load(t, s).Coverage(left); c.Covered != 3 || c.Groups != 1 || len(names(t, s, "parity/")) != 3 {
		t.Errorf("%+v", c)
	}
	// A damaged pack gets none, and what may mend it stays.
	for i := range left {
		left[i].Ratio.Shards = 4
	}
	data := get(t, s, path(left[0].Name))
	data[9] ^= 1
	put(t, s, path(left[0].Name), data)
	damaged, err := load(t, s).Cover(t.Context(), left, nil)
	if err != nil || len(damaged) != 1 {
		t.Fatal(damaged, err)
	}
	if _, err := load(t, s).Rebuild(t.Context(), left[0].Name); err != nil {
		t.Error(err)
	}
}

func TestRatio(t *testing.T) {
	for text, want := range map[string]string{"10/2": "10/2", "off": "off", "128/16": "128/16"} {
		if r, err := parity.ParseRatio(text); err != nil || r.String() != want {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "10", "0/1", "1/0", "129/1", "1/17", "a/b", "1/2/3", "-1/2", "10/2x"} {
		if r, err := parity.ParseRatio(text); err == nil {
			t.Errorf("%q: %v", text, r)
		}
	}
}

// FuzzShard feeds shards whose directories are anything, sealed with the right key.
func FuzzShard(f *testing.F) {
	s := memory.New()
	list := packs(f, s, parity.Ratio{Width: 2, Shards: 1}, 100, 200)
	f.Add([]byte{}, 100)
	f.Add([]byte("\x01\x10aaaaaaaaaaaaaaaa\x03\x01\x01\x05\x01\x02\x07\x01\x01\x09\x24bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\xff\x00\x00\x00\x0b\x08cccccccc"), 255)
	f.Fuzz(func(t *testing.T, directory []byte, size int) {
		if size < 1 || size > 1<<17 {
			return
		}
		sealer := keysOf().NewSealer(seal.Parity, nil, []byte{1})
		for rest := size; rest > 0; rest -= 65536 {
			sealer.Append(make([]byte, min(rest, 65536)))
		}
		data := sealer.Finish(directory, 0)
		clone := s.Clone()
		put(t, clone, "parity/"+blob.Name(sha256.Sum256(data)).String(), data)
		set := load(t, clone)
		proven := parity.Prove(keysOf(), data) == nil
		if proven != (len(set.Faults) == 0) {
			t.Errorf("proven %v, faults %v", proven, set.Faults)
		}
		set.Coverage(list)
		if err := clone.Remove(t.Context(), path(list[0].Name)); err != nil {
			t.Fatal(err)
		}
		if got, err := set.Rebuild(t.Context(), list[0].Name); err != nil || sha256.Sum256(got) != list[0].Name {
			t.Errorf("with a foreign shard: %v", err)
		}
	})
}

func Example() {
	ctx := context.Background()
	s, keys := memory.New(), keysOf()
	e, _ := parity.NewEncoder(keys, parity.Ratio{Width: 10, Shards: 1})
	data := []byte("a pack")
	name := blob.Name(sha256.Sum256(data))
	e.Add(name, data) // its pack is never stored: it is lost at once
	parity.Put(ctx, s, e.Finish())
	set, _ := parity.Load(ctx, keys, s, path)
	again, err := set.Rebuild(ctx, name)
	fmt.Println(string(again), err)
	// Output: a pack <nil>
}
