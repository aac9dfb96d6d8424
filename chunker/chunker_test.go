package chunker_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/chunker"
)

var algorithms = []chunker.Algorithm{chunker.Rabin, chunker.Gear}

func newChunker(t testing.TB, alg chunker.Algorithm, key byte, p chunker.Params) chunker.Chunker {
	t.Helper()
	c, err := chunker.New(alg, &[32]byte{key}, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// random returns n bytes that depend on the seed alone.
func random(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// mixed returns random bytes, zeros of lengths around the one that cuts, runs of other bytes, short patterns, text and records.
func mixed(seed byte, n int) []byte {
	rnd := rand.New(rand.NewChaCha8([32]byte{seed, 1}))
	var p []byte
	for i := 0; len(p) < n; i++ {
		size := int(rnd.ExpFloat64() * float64(n/64+1))
		switch i % 6 {
		case 0:
			p = append(p, random(byte(rnd.Uint32()), size)...)
		case 1:
			p = append(p, make([]byte, chunker.Window-2+rnd.IntN(4))...)
		case 2:
			p = append(p, bytes.Repeat([]byte{byte(rnd.Uint32())}, size)...)
		case 3:
			p = append(p, bytes.Repeat(random(byte(rnd.Uint32()), 1+rnd.IntN(80)), 1+size/64)...)
		case 4:
			for end := len(p) + size; len(p) < end; {
				p = fmt.Appendf(p, "line %d says %d\n", len(p)/20, rnd.IntN(50))
			}
		case 5:
			for end := len(p) + size; len(p) < end; {
				p = binary.LittleEndian.AppendUint64(p, uint64(len(p)/32))
				p = append(p, make([]byte, 24)...)
			}
		}
	}
	return p[:n]
}

// lengths cuts all of p.
func lengths(c chunker.Chunker, p []byte) (all []int) {
	for len(p) > 0 {
		n := c.Cut(p)
		all = append(all, n)
		p = p[n:]
	}
	return all
}

func TestParse(t *testing.T) {
	for _, want := range algorithms {
		if got, err := chunker.Parse(want.String()); got != want || err != nil {
			t.Errorf("Parse(%q) = %v, %v", want.String(), got, err)
		}
	}
	for _, bad := range []string{"", "Gear", "fastcdc", "algorithm 1"} {
		if got, err := chunker.Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", bad, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := chunker.MetaParams
	for _, test := range []struct {
		want string
		alg  chunker.Algorithm
		p    chunker.Params
	}{
		{"algorithm 0", 0, good},
		{"algorithm 3", 3, good},
		{"minimum", chunker.Gear, chunker.Params{}},
		{"minimum", chunker.Gear, chunker.Params{Min: chunker.Window - 1, Avg: good.Avg, Max: good.Max}},
		{"average", chunker.Gear, chunker.Params{Min: good.Min, Avg: good.Min + chunker.Window - 1, Max: good.Max}},
		{"average", chunker.Gear, chunker.Params{Min: good.Min, Avg: -1 << 31, Max: good.Max}},
		{"average", chunker.Gear, chunker.Params{Min: good.Min, Avg: good.Avg, Max: good.Avg - 1}},
		{"maximum", chunker.Gear, chunker.Params{Min: good.Min, Avg: good.Avg, Max: chunker.SizeMax + 1}},
		{"power of two", chunker.Rabin, chunker.Params{Min: good.Min, Avg: good.Avg + 1, Max: good.Max}},
	} {
		c, err := chunker.New(test.alg, &[32]byte{}, test.p)
		if err == nil || c != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("New(%v, %v) = %v, %v; want an error with %q", test.alg, test.p, c, err, test.want)
		}
	}
}

var update = flag.Bool("update", false, "write the goldens: a change of the repository format, which needs an ADR")

// TestGolden compares with the frozen cuts.
func TestGolden(t *testing.T) {
	var got strings.Builder
	for _, alg := range algorithms {
		for _, p := range []chunker.Params{chunker.DataParams, chunker.MetaParams} {
			c := newChunker(t, alg, 7, p)
			fmt.Fprintln(&got, alg, p.Min, p.Avg, p.Max, "random", lengths(c, random(42, 24*p.Avg)))
			fmt.Fprintln(&got, alg, p.Min, p.Avg, p.Max, "mixed", lengths(c, mixed(42, 24*p.Avg)))
		}
	}
	file := filepath.Join("testdata", "cuts.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

// TestLimits checks all lengths of input around the limits, and that a boundary does not depend on what follows it.
func TestLimits(t *testing.T) {
	p := chunker.Params{Min: 300, Avg: 1 << 10, Max: 9000}
	for _, alg := range algorithms {
		c := newChunker(t, alg, 1, p)
		data := random(1, 3*p.Max)
		zeros := make([]byte, len(data))
		for _, n := range []int{0, 1, chunker.Window, p.Min - 1, p.Min, p.Min + 1, p.Max - 1, p.Max, p.Max + 1, 2 * p.Max} {
			for _, content := range [][]byte{data, zeros} {
				got := c.Cut(content[:n])
				if got > n || got > p.Max || got < min(n, p.Min) {
					t.Errorf("%v: Cut of %d bytes = %d", alg, n, got)
				}
				if whole := c.Cut(content); got < n && got != whole || got == n && whole < n {
					t.Errorf("%v: Cut of %d bytes = %d, but of all %d", alg, n, got, whole)
				}
			}
		}
	}
}

// TestShift checks that bytes put in front, or in the middle, change only the chunks around them.
func TestShift(t *testing.T) {
	data := random(2, 8<<20)
	for _, alg := range algorithms {
		c := newChunker(t, alg, 1, chunker.MetaParams)
		seen := map[string]bool{}
		for rest := data; len(rest) > 0; {
			n := c.Cut(rest)
			seen[string(rest[:n])] = true
			rest = rest[n:]
		}
		for _, put := range []int{1, 3, 4, 31, 64, 5000} {
			fresh, at := 0, len(data)/2
			for rest := slices.Concat(random(3, put), data[:at], random(4, put), data[at:]); len(rest) > 0; {
				n := c.Cut(rest)
				if !seen[string(rest[:n])] {
					fresh++
				}
				rest = rest[n:]
			}
			if fresh < 2 || fresh > 12 {
				t.Errorf("%v: %d bytes put in twice made %d of %d chunks new", alg, put, fresh, len(seen))
			}
		}
	}
}

// TestKey checks that the cuts are another key's by chance only.
func TestKey(t *testing.T) {
	data := random(5, 8<<20)
	for _, alg := range algorithms {
		ends := map[int]int{}
		for key := range byte(4) {
			at := 0
			for _, n := range lengths(newChunker(t, alg, key, chunker.MetaParams), data) {
				at += n
				ends[at]++
			}
		}
		common := -1 // the end of the data is common to all
		for _, n := range ends {
			if n > 1 {
				common++
			}
		}
		if common > 2 {
			t.Errorf("%v: %d of %d cuts are common to two keys", alg, common, len(ends))
		}
	}
}

// TestMean checks the mean length on random data, and that few chunks end at the maximum.
func TestMean(t *testing.T) {
	want := map[chunker.Algorithm]float64{chunker.Rabin: 1.23, chunker.Gear: 1.0}
	data := random(6, 160<<20)
	for _, alg := range algorithms {
		for _, p := range []chunker.Params{chunker.DataParams, chunker.MetaParams} {
			all := lengths(newChunker(t, alg, 2, p), data)
			whole := all[:len(all)-1]
			full := 0
			for _, n := range whole {
				if n == p.Max {
					full++
				}
			}
			mean := float64(len(data)-all[len(whole)]) / float64(len(whole)) / float64(p.Avg)
			t.Logf("%v: average %4d KiB: mean %.3f of it, %d chunks, %.1f %% at the maximum",
				alg, p.Avg>>10, mean, len(whole), 100*float64(full)/float64(len(whole)))
			off := 0.05 // some two standard deviations for the data params, far more for meta
			if p == chunker.DataParams {
				off = 0.2
			}
			if mean < want[alg]*(1-off) || mean > want[alg]*(1+off) {
				t.Errorf("%v: mean length %.3f of the average, want about %.2f", alg, mean, want[alg])
			}
			if full > len(whole)/10 {
				t.Errorf("%v: %d of %d chunks end at the maximum", alg, full, len(whole))
			}
		}
	}
}

// TestPoorContent checks the mean length over many keys on content with little entropy in 64 bytes.
func TestPoorContent(t *testing.T) {
	const size = 4 << 20
	corpora := map[string]func([]byte, int, *rand.Rand) []byte{
		"numbers": func(p []byte, i int, _ *rand.Rand) []byte { return fmt.Appendf(p, "%d\n", i) },
		"letters": func(p []byte, _ int, rnd *rand.Rand) []byte { return append(p, "ACGT"[rnd.IntN(4)]) },
		"bits":    func(p []byte, _ int, rnd *rand.Rand) []byte { return append(p, byte(rnd.Uint32()&1)) },
		"records": func(p []byte, i int, _ *rand.Rand) []byte {
			p = binary.LittleEndian.AppendUint32(p, uint32(i))
			return append(p, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, byte(i), 0, 0, 0)
		},
		"runs": func(p []byte, _ int, rnd *rand.Rand) []byte {
			return append(p, bytes.Repeat([]byte{byte(1 + rnd.IntN(255))}, 1+rnd.IntN(200))...)
		},
	}
	for name, next := range corpora {
		rnd := rand.New(rand.NewPCG(7, 8))
		var data []byte
		for i := 0; len(data) < size; i++ {
			data = next(data, i, rnd)
		}
		chunks := 0
		const keys = 16
		for key := range byte(keys) {
			chunks += len(lengths(newChunker(t, chunker.Gear, key, chunker.MetaParams), data))
		}
		mean := float64(keys*len(data)) / float64(chunks) / float64(chunker.MetaParams.Avg)
		t.Logf("%s: mean %.3f of the average", name, mean)
		if mean < 0.7 || mean > 1.4 {
			t.Errorf("%s: mean length %.3f of the average", name, mean)
		}
	}
}

// TestConcurrent is for the race detector: one chunker, many goroutines.
func TestConcurrent(t *testing.T) {
	data := random(9, 2<<20)
	for _, alg := range algorithms {
		c := newChunker(t, alg, 3, chunker.MetaParams)
		want := lengths(c, data)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got := lengths(c, data); !slices.Equal(got, want) {
					t.Errorf("%v: other cuts beside other goroutines", alg)
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkGear(b *testing.B) { benchmark(b, newChunker(b, chunker.Gear, 1, chunker.DataParams)) }

func BenchmarkGearPortable(b *testing.B) {
	benchmark(b, chunker.Portable(newChunker(b, chunker.Gear, 1, chunker.DataParams)))
}

func BenchmarkGearMeta(b *testing.B) {
	benchmark(b, newChunker(b, chunker.Gear, 1, chunker.MetaParams))
}

func BenchmarkRabin(b *testing.B) { benchmark(b, newChunker(b, chunker.Rabin, 1, chunker.DataParams)) }

func benchmark(b *testing.B, c chunker.Chunker) {
	data := random(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		lengths(c, data)
	}
}
