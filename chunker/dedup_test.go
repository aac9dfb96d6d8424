package chunker_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-backup/tarn/chunker"
	"github.com/zeebo/blake3"
)

// treesEnv names folders that hold releases of the same tree, oldest first, as a list of paths.
const treesEnv = "TARN_DEDUP_TREES"

// TestDedup compares how much of a few versions of the same stream remains after deduplication by either algorithm at
// the same mean length of chunks, under three keys. The aim is 2 %. The limit leaves one more to luck, since the
// toolchain's sources change, and holds for the meta params, of which there are chunks enough.
func TestDedup(t *testing.T) {
	files := toolchain(t, 16<<20)
	corpora := map[string][][]byte{"image": imageVersions(files), "edits": editedVersions(files)}
	if list := os.Getenv(treesEnv); list != "" {
		for _, dir := range filepath.SplitList(list) {
			corpora["releases"] = append(corpora["releases"], archive(t, dir))
		}
	} else {
		t.Logf("releases of a real tree are left out: set %s to a list of their folders", treesEnv)
	}
	for name, streams := range corpora {
		for _, p := range []chunker.Params{chunker.DataParams, chunker.MetaParams} {
			rabin := measure(t, chunker.Rabin, p, streams)
			alike := measureAlike(t, rabin, p, streams)
			more := 100 * (float64(alike.unique)/float64(rabin.unique) - 1)
			t.Logf("%s, average %d KiB\nrabin             %v\ngear, same mean   %v, %+.2f %% against rabin\ngear, same params %v",
				name, p.Avg>>10, rabin, alike, more, measure(t, chunker.Gear, p, streams))
			if p == chunker.MetaParams && more > 3 {
				t.Errorf("%s: gear stores %.2f %% more than rabin", name, more)
			}
		}
	}
}

// outcome is what deduplication made of some streams.
type outcome struct{ total, unique, zeros, chunks int64 }

func (o outcome) String() string {
	return fmt.Sprintf("%6.2f %% of %d MiB unique, %5.2f %% zeros taken out, mean length %4.0f KiB",
		100*float64(o.unique)/float64(o.total), o.total>>20, 100*float64(o.zeros)/float64(o.total), o.mean()/1024)
}

// mean returns the mean length of a chunk.
func (o outcome) mean() float64 { return float64(o.total-o.zeros) / float64(max(o.chunks, 1)) }

func measure(t *testing.T, alg chunker.Algorithm, p chunker.Params, streams [][]byte) (o outcome) {
	t.Helper()
	buf := make([]byte, 2*p.Max)
	for key := range byte(3) {
		s := chunker.NewStream(newChunker(t, alg, key, p), nil, buf)
		seen := map[[32]byte]bool{}
		for _, stream := range streams {
			s.Reset(bytes.NewReader(stream))
			for _, e := range elements(t, s) {
				o.total += e.length
				if e.zero {
					o.zeros += e.length
					continue
				}
				o.chunks++
				if !seen[e.sum] {
					o.unique += e.length
					seen[e.sum] = true
				}
			}
		}
	}
	return o
}

// measureAlike measures gear with an average that gives about the mean length of another outcome.
func measureAlike(t *testing.T, other outcome, p chunker.Params, streams [][]byte) (o outcome) {
	t.Helper()
	for range 6 {
		o = measure(t, chunker.Gear, p, streams)
		if off := other.mean() / o.mean(); off > 0.99 && off < 1.01 {
			break
		}
		scale := (other.mean() - float64(p.Min)) / (o.mean() - float64(p.Min))
		p.Avg = min(max(p.Min+chunker.Window, p.Min+int(float64(p.Avg-p.Min)*scale)), p.Max)
	}
	return o
}

// element is a chunk or a run of zeros.
type element struct {
	length int64
	zero   bool
	sum    [32]byte
}

func elements(t *testing.T, s *chunker.Stream) (all []element) {
	t.Helper()
	for {
		n, err := s.Zeros()
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			all = append(all, element{length: n, zero: true})
		}
		chunk, err := s.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, element{length: int64(len(chunk)), sum: blake3.Sum256(chunk)})
	}
}

// archive returns a folder as a tar archive without times and owners.
func archive(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	eachFile(t, dir, func(name string, content []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	})
	return b.Bytes()
}

// toolchain returns some of the Go toolchain's own sources, which are at hand where this test runs, one after the other.
func toolchain(t *testing.T, size int) (all []byte) {
	t.Helper()
	dir := filepath.Join(build.Default.GOROOT, "src")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("want the source of the Go toolchain: %v", err)
	}
	eachFile(t, dir, func(_ string, content []byte) error {
		if all = append(all, content...); len(all) > size {
			return fs.SkipAll
		}
		return nil
	})
	return all
}

func eachFile(t *testing.T, dir string, fn func(name string, content []byte) error) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return fn(path[len(dir):], content)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// editedVersions returns files and three later states, each with some hundred insertions, removals and replacements.
func editedVersions(files []byte) [][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	versions := [][]byte{files}
	for range 3 {
		last := versions[len(versions)-1]
		var next []byte
		for at := 0; at < len(last); {
			keep := min(len(last)-at, int(rnd.ExpFloat64()*(200<<10)))
			next = append(next, last[at:at+keep]...)
			from := rnd.IntN(len(last) - 200)
			next = append(next, last[from:from+rnd.IntN(200)]...)
			at = min(len(last), at+keep+rnd.IntN(200))
		}
		versions = append(versions, next)
	}
	return versions
}

// imageVersions returns a disk image and three later states of it: files at blocks of 4 KiB and free space of zeros, of
// which some blocks are overwritten and some are copied elsewhere.
func imageVersions(files []byte) [][]byte {
	const block = 4 << 10
	rnd := rand.New(rand.NewPCG(3, 4))
	image := make([]byte, 2*len(files)/block*block)
	for at := 0; len(files) > 0 && at < len(image)-8<<20; {
		n := min(len(files), 1+int(rnd.ExpFloat64()*(64<<10)), 1<<20)
		copy(image[at:], files[:n])
		files = files[n:]
		at += (n + block - 1) / block * block
		if rnd.IntN(20) == 0 {
			at += rnd.IntN(512) * block
		}
	}
	versions := [][]byte{image}
	for range 3 {
		next := bytes.Clone(versions[len(versions)-1])
		for range 40 {
			from, to := rnd.IntN(len(next)/block-32)*block, rnd.IntN(len(next)/block-32)*block
			n := (1 + rnd.IntN(32)) * block
			copy(next[to:to+n], next[from:from+n])
			for i := range next[from : from+block] {
				next[from+i] = byte(rnd.Uint32())
			}
		}
		versions = append(versions, next)
	}
	return versions
}
