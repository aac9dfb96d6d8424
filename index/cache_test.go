package index_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

var repoID = [16]byte{1, 2, 3}

func openCache(t testing.TB, dir string) *index.Cache {
	t.Helper()
	c, err := index.OpenCache(dir, repoID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func extend(t testing.TB, c *index.Cache, packs ...*index.Pack) {
	t.Helper()
	if err := c.Extend(packs); err != nil {
		t.Fatal(err)
	}
}

func names(packs []*index.Pack) (names []blob.Name) {
	for _, p := range packs {
		names = append(names, p.Name)
	}
	return names
}

func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func stat(t testing.TB, dir string) (infos []os.FileInfo) {
	t.Helper()
	for _, path := range files(t, dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	return infos
}

// checkCache opens the cache anew and compares it with the packs that it should cover.
func checkCache(t *testing.T, dir string, packs []*index.Pack) {
	t.Helper()
	c := openCache(t, dir)
	for _, p := range packs {
		if !c.Has(p.Name) {
			t.Fatalf("pack %s is not covered", p.Name.Short())
		}
	}
	x, missing := c.Index(slices.Values(names(packs)))
	if len(missing) > 0 {
		t.Fatalf("packs %v are missing", missing)
	}
	checkHolds(t, x, packs, nil)
}

// TestCache extends a cache in all sorts of steps, and compares it after each.
func TestCache(t *testing.T) {
	dir, packs := t.TempDir(), somePacks(30)
	r := newRand(31)
	for range 3 { // so many blobs in a shard that it has a filter
		packs = append(packs, newPack(r, 40, 250))
	}
	checkCache(t, dir, nil)
	c := openCache(t, dir)
	for n, step := 0, 1; n < len(packs); n, step = n+step, 1+r.IntN(8) {
		step = min(step, len(packs)-n)
		extend(t, c, packs[max(0, n-3):n+step]...) // some of them anew: they are passed over
		checkCache(t, dir, packs[:n+step])
	}
	before := stat(t, dir)
	extend(t, c, packs...)
	if !slices.EqualFunc(before, stat(t, dir), os.SameFile) {
		t.Error("the files changed, although nothing was new")
	}
}

// TestCacheMerges adds small packs for long: that may not make many files.
func TestCacheMerges(t *testing.T) {
	dir, r := t.TempDir(), newRand(32)
	c := openCache(t, dir)
	var packs []*index.Pack
	for range 200 {
		p := newPack(r, 1, 1+r.IntN(50))
		packs = append(packs, p)
		extend(t, c, p)
		if n := len(files(t, dir)); n > 8 {
			t.Fatalf("%d files", n)
		}
	}
	checkCache(t, dir, packs)
}

// TestCacheView uses a cache as a repository does: some packs are gone, some are not in the cache yet.
func TestCacheView(t *testing.T) {
	dir, packs := t.TempDir(), somePacks(33)
	c := openCache(t, dir)
	extend(t, c, packs[:20]...)
	extend(t, c, packs[20:40]...)

	gone, live := packs[:4], packs[4:]
	x, missing := c.Index(slices.Values(names(live)))
	if !slices.Equal(missing, names(packs[40:])) {
		t.Errorf("missing %v, want %v", missing, names(packs[40:]))
	}
	checkHolds(t, x, live[:36], gone)
	add(t, x, live...) // most are there already
	checkHolds(t, x, live, gone)
	x.Remove(live[0].Name)
	x.Remove(live[45].Name)
	left := slices.Concat(live[1:45], live[46:])
	checkHolds(t, x, left, slices.Concat(gone, []*index.Pack{live[0], live[45]}))
	add(t, x, live[0], live[45])
	checkHolds(t, x, live, gone)

	// What the Index was made of is merged away; it works on.
	extend(t, c, live...)
	extend(t, c, newPack(newRand(34), 10, 300))
	checkHolds(t, x, live, gone)
	y, missing := c.Index(slices.Values(names(live)))
	if len(missing) > 0 {
		t.Errorf("packs %v are missing", missing)
	}
	checkHolds(t, y, live, gone)
}

// TestCacheForgetsDeadPacks has more rows of packs that are gone than of others: they are left out.
func TestCacheForgetsDeadPacks(t *testing.T) {
	dir, r := t.TempDir(), newRand(35)
	dead, live := newPack(r, 1, 500), newPack(r, 1, 400)
	c := openCache(t, dir)
	extend(t, c, dead, live)
	c.Index(slices.Values(names([]*index.Pack{live})))
	extend(t, c)
	c = openCache(t, dir)
	if c.Has(dead.Name) || !c.Has(live.Name) {
		t.Errorf("covers the dead pack: %v, the live one: %v", c.Has(dead.Name), c.Has(live.Name))
	}
	checkCache(t, dir, []*index.Pack{live})
}

// TestCacheTwice has the same packs in two generations, as two processes may leave them.
func TestCacheTwice(t *testing.T) {
	dir, packs := t.TempDir(), somePacks(36)
	a, b := openCache(t, dir), openCache(t, dir)
	extend(t, a, packs[:30]...)
	extend(t, b, packs[10:]...)
	checkCache(t, dir, packs)
	extend(t, openCache(t, dir)) // merges the two
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
	checkCache(t, dir, packs)
}

// TestCacheSubset merges a generation with one of some of its packs: the result has the name that the larger one had.
func TestCacheSubset(t *testing.T) {
	dir, packs := t.TempDir(), somePacks(48)
	a, b := openCache(t, dir), openCache(t, dir)
	extend(t, a, packs...)
	extend(t, b, packs[20:]...)
	before := files(t, dir)
	extend(t, openCache(t, dir))
	if after := files(t, dir); len(before) != 2 || len(after) != 1 || !slices.Contains(before, after[0]) {
		t.Errorf("files %v became %v", before, after)
	}
	checkCache(t, dir, packs)
}

// TestCacheConcurrent has several caches on one folder, as if each were a process: each opens, reads and extends it at will.
// No opening may fail, and in the end nothing may be lost.
func TestCacheConcurrent(t *testing.T) {
	dir, packs := t.TempDir(), somePacks(37)
	var g sync.WaitGroup
	for seed := range uint64(4) {
		g.Go(func() {
			r := newRand(seed)
			order := r.Perm(len(packs))
			for len(order) > 0 {
				n := min(len(order), 1+r.IntN(5))
				c, err := index.OpenCache(dir, repoID)
				if err != nil {
					t.Error(err)
					return
				}
				for _, i := range order[:n] {
					if err := c.Extend([]*index.Pack{packs[i]}); err != nil {
						t.Error(err)
					}
				}
				order = order[n:]
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Wait()
	checkCache(t, dir, packs)
}

func TestCacheRefusesPack(t *testing.T) {
	dir, p := t.TempDir(), newPack(newRand(38), 2, 2)
	p.Segments[0].Plain++
	if err := openCache(t, dir).Extend([]*index.Pack{p}); err == nil {
		t.Error("no error")
	}
	if f := files(t, dir); len(f) > 0 {
		t.Errorf("left %v", f)
	}
}

// TestCacheDamaged changes every byte, cuts at every length, and adds a byte. Each must be found when the cache is opened.
func TestCacheDamaged(t *testing.T) {
	dir := t.TempDir()
	extend(t, openCache(t, dir), newPack(newRand(39), 2, 10))
	path := files(t, dir)[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, file []byte) {
		if _, err := index.ParseGeneration(file, repoID); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	for i := range good {
		good[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("byte %d changed", i), good)
		good[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("cut to %d", i), good[:i])
	}
	try("one byte more", append(slices.Clone(good), 0))

	for _, n := range []int{0, 1, 4096, len(good) - 1} {
		if err := errors.Join(os.Remove(path), os.WriteFile(path, good[:n], 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := index.OpenCache(dir, repoID); !errors.Is(err, index.ErrBadCache) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if err := index.RemoveCache(dir); err != nil {
		t.Fatal(err)
	}
	checkCache(t, dir, nil)
}

func TestCacheForeign(t *testing.T) {
	dir := t.TempDir()
	extend(t, openCache(t, dir), newPack(newRand(40), 1, 1))
	if _, err := index.OpenCache(dir, [16]byte{9}); !errors.Is(err, index.ErrBadCache) {
		t.Errorf("another repository's cache: %v", err)
	}
}

// TestCacheLeavesOthersAlone has files in the folder that are none of the cache's, and one of a process that was killed.
func TestCacheLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"other", "tmp-new", "tmp-old"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "tmp-old"), old, old); err != nil {
		t.Fatal(err)
	}
	extend(t, openCache(t, dir), newPack(newRand(41), 1, 1))
	var left []string
	for _, path := range files(t, dir) {
		if !strings.HasSuffix(path, ".rows") {
			left = append(left, filepath.Base(path))
		}
	}
	if !slices.Equal(left, []string{"other", "tmp-new"}) {
		t.Errorf("left %v", left)
	}
	if err := index.RemoveCache(dir); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) != 1 || filepath.Base(left[0]) != "other" {
		t.Errorf("RemoveCache left %v", left)
	}
	if err := index.RemoveCache(filepath.Join(dir, "none")); err != nil {
		t.Errorf("no folder: %v", err)
	}
}

// TestCacheClusters has ids that are not uniform at all: slow, but right.
func TestCacheClusters(t *testing.T) {
	dir, p := t.TempDir(), newPack(newRand(42), 2, 400)
	for i := range p.Blobs {
		p.Blobs[i].Prefix = index.Prefix{0: byte(i % 2 * 255), 14: byte(i >> 8), 15: byte(i)}
	}
	q := newPack(newRand(43), 1, 3) // the same id many times, at both ends
	q.Blobs[0].Prefix, q.Blobs[1].Prefix, q.Blobs[2].Prefix = p.Blobs[0].Prefix, p.Blobs[0].Prefix, p.Blobs[799].Prefix
	for i, name := range []*blob.Name{&p.Name, &q.Name} { // nor are the names
		*name = blob.Name{255, 255, 255, 255, 31: byte(i)}
	}
	extend(t, openCache(t, dir), p, q)
	checkCache(t, dir, []*index.Pack{p, q})
	x, _ := openCache(t, dir).Index(slices.Values([]blob.Name{p.Name, q.Name}))
	for _, id := range []blob.ID{{0: 0, 13: 1}, {0: 255, 15: 255, 14: 255}, {0: 1}, {0: 254}, {0: 0, 15: 1}} {
		if e, ok := x.Lookup(id); ok {
			t.Errorf("Lookup(%s) = %v", id, e)
		}
	}
}

// TestCacheFrozen pins the file format: whoever changes it must change its magic, so that older caches are not misread.
func TestCacheFrozen(t *testing.T) {
	const want = "765b1aaa758505dc129fbbd21bd3e9973d4096b6d5c5ddb5f1376ec018335090"
	dir := t.TempDir()
	extend(t, openCache(t, dir), newPack(newRand(44), 20, 1000), newPack(newRand(45), 2, 2))
	file, err := os.ReadFile(files(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := sha256.Sum256(file); hex.EncodeToString(got[:]) != want {
		t.Errorf("hash %x, want %s", got, want)
	}
}

// FuzzGeneration parses files whose checksums are right and whose content need not be: nothing may panic.
func FuzzGeneration(f *testing.F) {
	for _, n := range []struct{ segments, blobs int }{{0, 0}, {1, 1}, {2, 70}} {
		dir, p := f.TempDir(), newPack(newRand(46), n.segments, n.blobs)
		for i := range p.Blobs {
			p.Blobs[i].Prefix[0] = 7 // all in one shard: if they are many, it has a filter
		}
		extend(f, openCache(f, dir), p, newPack(newRand(47), 1, 5))
		file, err := os.ReadFile(files(f, dir)[0])
		if err != nil {
			f.Fatal(err)
		}
		var counts [5]uint64
		footer := file[len(file)-72:]
		for i := range counts {
			counts[i] = binary.LittleEndian.Uint64(footer[24+8*i:])
		}
		sections := counts[0]*96 + counts[1]*8 + counts[3]*28 + 24*256 + counts[4]
		f.Add(file[:sections], counts[0], counts[1], counts[2], counts[3], counts[4])
	}
	f.Fuzz(func(t *testing.T, sections []byte, packs, segments, rows, slots, fingerprints uint64) {
		x, err := index.ParseGeneration(index.SealGeneration(sections, repoID, packs, segments, rows, slots, fingerprints), repoID)
		if err != nil {
			return
		}
		for rest := sections; len(rest) >= 32; rest = rest[4:] { // ids of rows and names of packs are among them
			x.Lookup(blob.ID(rest))
			x.LookupAll(blob.ID(rest), nil)
			x.Pack(blob.Name(rest))
		}
		for info := range x.Blobs() {
			for n := range info.Segments() {
				info.Segment(uint16(n))
			}
		}
	})
}

func ExampleCache() {
	dir, err := os.MkdirTemp("", "tarn")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	repo := [16]byte{1}
	p := &index.Pack{
		Name:     blob.Name{0xab},
		Segments: []index.Segment{{Offset: index.HeaderSize, Stored: 700, Plain: 1000}},
		Blobs:    []index.Entry{{Prefix: index.Prefix{1}, Kind: blob.Data, Length: 1000}},
	}
	listed := []blob.Name{{0xab}, {0xcd}} // in storage, and in no trash

	for range 2 { // two runs
		c, err := index.OpenCache(dir, repo)
		if err != nil {
			fmt.Println(err)
			return
		}
		x, missing := c.Index(slices.Values(listed))
		_, known := x.Lookup(blob.ID{1})
		fmt.Println(known, len(missing))
		if err := c.Extend([]*index.Pack{p}); err != nil { // what was read of the missing ones
			fmt.Println(err)
		}
		c.Close()
	}
	// Output:
	// false 2
	// true 1
}
