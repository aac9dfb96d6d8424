package index_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

const (
	benchPacks = 20_000 // of 10 segments of 50 blobs: ten million
	benchBlobs = 500
)

// benchPack makes pack i of the benchmark, always the same one.
func benchPack(i int) *index.Pack { return newPack(newRand(uint64(i)), 10, benchBlobs/10) }

// benchNames gives the names of the packs of benchPack.
func benchNames(yield func(blob.Name) bool) {
	for i := range benchPacks {
		var name blob.Name
		r := newRand(uint64(i))
		r.Uint32N(4) // as newPack does
		random(r, name[:])
		if !yield(name) {
			return
		}
	}
}

// memory returns what /proc/self/status says under key in MiB, after giving back what is not used.
func memory(b *testing.B, key string) float64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skipf("no figures for memory: %v", err)
	}
	for line := range bytes.Lines(status) {
		if f := bytes.Fields(line); string(f[0]) == key+":" {
			kib, err := strconv.Atoi(string(f[1]))
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatalf("no %s", key)
	return 0
}

// lookups are the ids that are looked up: of blobs that are there, in random order, and of ones that are not.
func lookups() (there, absent []blob.ID) {
	r := newRand(0)
	for range 1 << 20 / benchBlobs {
		for _, e := range benchPack(r.IntN(benchPacks)).Blobs {
			there = append(there, e.Prefix.ID())
		}
	}
	r.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })
	absent = make([]blob.ID, len(there))
	for i := range absent {
		random(r, absent[i][:])
	}
	return there, absent
}

// cpu is the processor time that the process has used. What is measured by it is what one core can do, on a machine that does
// other things too.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// look times the look-ups and reports how many one core does in a second.
func look(b *testing.B, ids []blob.ID, want bool, lookup func(blob.ID) bool) {
	b.ReportAllocs()
	n, start := 0, cpu(b)
	for b.Loop() {
		if lookup(ids[n%len(ids)]) != want {
			b.Fatalf("look-up of %s: want %v", ids[n%len(ids)], want)
		}
		n++
	}
	b.ReportMetric(float64(n)/(cpu(b)-start).Seconds()/1e6, "M/cpu-s")
}

// BenchmarkIndex10M measures an index of ten million blobs: opened from the local cache; made in memory; and, to compare,
// a Go map. Anonymous memory is what the process has more of than before.
func BenchmarkIndex10M(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 300 MB and takes a minute")
	}
	there, absent := lookups()
	b.Run("cache", func(b *testing.B) { benchCache(b, there, absent) })
	b.Run("memory", func(b *testing.B) { benchMemory(b, there, absent) })
	b.Run("map", func(b *testing.B) { benchMap(b, there, absent) })
	b.Run("set", benchSet)
}

func benchCache(b *testing.B, there, absent []blob.ID) {
	dir := b.TempDir()
	fillCache(b, dir)
	live := slices.Collect(benchNames)
	runtime.GC()
	var c *index.Cache
	var x *index.Index
	b.Run("open", func(b *testing.B) {
		var opened, viewed, used time.Duration
		before, n := memory(b, "RssAnon"), 0
		for b.Loop() {
			if c != nil {
				b.StopTimer()
				c.Close()
				b.StartTimer()
			}
			start, startCPU := time.Now(), cpu(b)
			var err error
			if c, err = index.OpenCache(dir, [16]byte{1}); err != nil {
				b.Fatal(err)
			}
			opened += time.Since(start)
			var missing []blob.Name
			x, missing = c.Index(slices.Values(live))
			viewed, used = viewed+time.Since(start), used+cpu(b)-startCPU
			if len(missing) > 0 || x.Len() != benchPacks*benchBlobs {
				b.Fatalf("%d packs missing, %d blobs", len(missing), x.Len())
			}
			n++
		}
		b.ReportMetric(float64(opened.Milliseconds())/float64(n), "ms-to-open")
		b.ReportMetric(float64(viewed.Milliseconds())/float64(n), "ms-to-view")
		b.ReportMetric(float64(used.Milliseconds())/float64(n), "cpu-ms-to-view")
		b.ReportMetric(memory(b, "RssAnon")-before, "MiB-anon")
		b.ReportMetric(memory(b, "RssFile"), "MiB-file")
	})
	defer c.Close()
	find := func(id blob.ID) bool { _, ok := x.Lookup(id); return ok }
	b.Run("hit", func(b *testing.B) { look(b, there, true, find) })
	b.Run("miss", func(b *testing.B) { look(b, absent, false, find) })
}

// fillCache extends a cache as a first run does, and as later ones do.
func fillCache(b *testing.B, dir string) {
	c, err := index.OpenCache(dir, [16]byte{1})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	var batch []*index.Pack
	for i := range benchPacks {
		batch = append(batch, benchPack(i))
		if len(batch) == benchPacks/20 || i == benchPacks-20 || i == benchPacks-5 || i == benchPacks-1 {
			if err := c.Extend(batch); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
	b.Logf("filled in %v", time.Since(start).Round(time.Millisecond))
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			b.Logf("%s: %d bytes", e.Name(), info.Size())
		}
	}
}

func benchMemory(b *testing.B, there, absent []blob.ID) {
	before := memory(b, "RssAnon")
	x := index.New()
	for i := range benchPacks {
		add(b, x, benchPack(i))
	}
	anon := memory(b, "RssAnon") - before
	find := func(id blob.ID) bool { _, ok := x.Lookup(id); return ok }
	b.Run("hit", func(b *testing.B) {
		look(b, there, true, find)
		b.ReportMetric(anon, "MiB-anon")
	})
	b.Run("miss", func(b *testing.B) { look(b, absent, false, find) })
}

func benchMap(b *testing.B, there, absent []blob.ID) {
	before := memory(b, "RssAnon")
	x := make(map[blob.ID]blob.Extent)
	for i := range benchPacks {
		p := benchPack(i)
		for j, e := range p.Blobs {
			x[e.Prefix.ID()] = extent(p, j)
		}
	}
	anon := memory(b, "RssAnon") - before
	find := func(id blob.ID) bool { _, ok := x[id]; return ok }
	b.Run("hit", func(b *testing.B) {
		look(b, there, true, find)
		b.ReportMetric(anon, "MiB-anon")
	})
	b.Run("miss", func(b *testing.B) { look(b, absent, false, find) })
}

// benchSet fills a Set with ten million ids.
func benchSet(b *testing.B) {
	for b.Loop() {
		before, r := memory(b, "RssAnon"), newRand(1)
		var s index.Set
		var id blob.ID
		start := cpu(b)
		for range benchPacks * benchBlobs {
			random(r, id[:])
			s.Add(id)
		}
		took := cpu(b) - start
		b.ReportMetric(float64(s.Len())/took.Seconds()/1e6, "M/cpu-s")
		b.ReportMetric(memory(b, "RssAnon")-before, "MiB-anon")
		if s.Len() != benchPacks*benchBlobs {
			b.Fatal(fmt.Errorf("%d ids", s.Len()))
		}
	}
}
