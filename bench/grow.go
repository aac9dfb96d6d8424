package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

// GrowOptions say how far to go.
type GrowOptions struct {
	Options
	Files []int // how many files, one workload each
	Blobs []int // how many blobs, one index each
}

// Grow measures how time and memory grow: of backups with the number of files, and of the index with the number of blobs.
func Grow(ctx context.Context, o GrowOptions) (*Report, error) {
	s := &suite{Options: o.Options, report: newReport(o.Options)}
	s.Steps = []Step{First, Unchanged}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	describeMachine(&s.report.Machine, o.Dir)
	if err := s.findPeers(ctx); err != nil {
		return nil, err
	}
	s.peers = slices.DeleteFunc(s.peers, func(p Peer) bool { return p.init == nil && p.Name != "find" })
	for _, n := range o.Files {
		if err := s.growFiles(ctx, n); err != nil {
			return s.report, err
		}
	}
	for _, n := range o.Blobs {
		for _, as := range []string{IndexInCache, IndexInMap} {
			g, err := s.growBlobs(ctx, n, as)
			if err != nil {
				return s.report, err
			}
			s.Say("%d blobs in a %s: open in %.1f ms", n, as, g.OpenSeconds*1000)
			s.report.Growth = append(s.report.Growth, g)
		}
	}
	return s.report, nil
}

// growPrefix begins the names of workloads that are of one kind and grow.
const growPrefix = "files-"

func (s *suite) growFiles(ctx context.Context, n int) error {
	w := Workload{Name: fmt.Sprint(growPrefix, n), About: "as million", make: makeMillion(n), change: edit, reset: unedit}
	p, err := prepare(ctx, w, s.Dir)
	if err != nil {
		return err
	}
	s.report.Workloads = append(s.report.Workloads, WorkloadInfo{Name: p.Name, About: p.About, Files: p.Files, Bytes: p.Bytes})
	for number := range s.Runs {
		if err := s.round(ctx, p, number); err != nil {
			return err
		}
	}
	return nil
}

// GrowthOfFiles is the number of files of a workload that Grow made.
func (w *WorkloadInfo) GrowthOfFiles() (n int, ok bool) {
	rest, ok := strings.CutPrefix(w.Name, growPrefix)
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscan(rest, &n)
	return n, err == nil
}

// How an index is kept.
const (
	IndexInCache = "cache" // tarn's: mapped files
	IndexInMap   = "map"   // a Go map, to compare with
)

// Growth is what an index of so many blobs takes.
type Growth struct {
	Type        string  `json:"type"`
	As          string  `json:"as"`
	Blobs       int     `json:"blobs"`
	OpenSeconds float64 `json:"open_seconds"`
	Anonymous   uint64  `json:"anonymous_bytes"` // the program's own memory: what it took more than before
	Mapped      uint64  `json:"mapped_bytes"`    // of files
	Hits        float64 `json:"hits_per_second"` // by one goroutine
	Misses      float64 `json:"misses_per_second"`
}

// growBlobs measures an index in processes of their own: one that fills the cache, and then one that opens it.
func (s *suite) growBlobs(ctx context.Context, n int, as string) (g Growth, err error) {
	dir := filepath.Join(s.Dir, "run", "index")
	defer removeAll(filepath.Dir(dir))
	args := []string{s.Self, "bench", "index", "--json", "--blobs", fmt.Sprint(n), "--dir", dir, "--as", as}
	if as == IndexInCache {
		if _, err := Measure(ctx, Command{Args: append(slices.Clone(args), "--fill")}); err != nil {
			return g, err
		}
	}
	line, err := output(ctx, Command{Args: args})
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal([]byte(line), &g)
}

// The made-up packs: 10 segments of 50 blobs.
const (
	packSegments = 10
	packBlobs    = 500
	blobLength   = 20_000
)

// benchRepo is the repository that the cache belongs to.
func benchRepo() [16]byte { return [16]byte{'b', 'e', 'n', 'c', 'h'} }

// madePack is pack number n, always the same one. IDs and names are uniform, as hashes are.
func madePack(n, blobs int) *index.Pack {
	random := rand.New(rand.NewPCG(uint64(n), 5))
	p := &index.Pack{Name: blob.Name(random32(random)), Salt: random32(random), Size: index.PackSizeMax}
	const stored = 1000
	for seg := range packSegments {
		own := blobs / packSegments
		if seg < blobs%packSegments {
			own++
		}
		if own == 0 {
			break
		}
		p.Segments = append(p.Segments, index.Segment{Offset: uint32(index.HeaderSize + seg*stored), Stored: stored, Plain: uint32(own * blobLength)})
		for i := range own {
			p.Blobs = append(p.Blobs, index.Entry{Prefix: index.PrefixOf(random32(random)), Kind: blob.Data, Segment: uint16(seg), Offset: uint32(i * blobLength), Length: blobLength})
		}
	}
	return p
}

func random32(random *rand.Rand) (b [32]byte) {
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], random.Uint64())
	}
	return b
}

// madePacks goes through packs with n blobs in all.
func madePacks(n int) func(yield func(*index.Pack) bool) {
	return func(yield func(*index.Pack) bool) {
		for i := 0; i*packBlobs < n; i++ {
			if !yield(madePack(i, min(packBlobs, n-i*packBlobs))) {
				return
			}
		}
	}
}

// FillIndex writes a cache of so many blobs.
func FillIndex(ctx context.Context, dir string, blobs int) error {
	c, err := index.OpenCache(dir, benchRepo())
	if err != nil {
		return err
	}
	const batchPacks = 2000
	var batch []*index.Pack
	for p := range madePacks(blobs) {
		if batch = append(batch, p); len(batch) == batchPacks {
			if err = c.Extend(batch); err != nil || ctx.Err() != nil {
				break
			}
			batch = nil
		}
	}
	if err == nil && ctx.Err() == nil {
		err = c.Extend(batch)
	}
	c.Close()
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// lookSample is how many IDs are looked up.
const lookSample = 1 << 18

// MeasureIndex opens an index of so many blobs, and looks some up.
func MeasureIndex(as, dir string, blobs int) (g Growth, err error) {
	g = Growth{Type: "index", As: as, Blobs: blobs}
	there, absent := sample(blobs)
	names := madeNames(blobs)
	before, mappedBefore := ownMemory()
	begin := time.Now()
	var look func(blob.ID) bool
	switch as {
	case IndexInCache:
		c, err := index.OpenCache(dir, benchRepo())
		if err != nil {
			return g, err
		}
		defer c.Close()
		x, missing := c.Index(slices.Values(names))
		g.OpenSeconds = time.Since(begin).Seconds()
		if len(missing) > 0 || x.Len() != blobs {
			return g, fmt.Errorf("the cache has %d blobs and lacks %d packs", x.Len(), len(missing))
		}
		look = func(id blob.ID) bool { _, ok := x.Lookup(id); return ok }
	case IndexInMap:
		x := make(map[blob.ID]blob.Extent)
		for p := range madePacks(blobs) { // making them up is none of its work
			begin = time.Now()
			for _, e := range p.Blobs {
				x[e.Prefix.ID()] = blob.Extent{Pack: p.Name, Segment: e.Segment, Offset: e.Offset, Length: e.Length}
			}
			g.OpenSeconds += time.Since(begin).Seconds()
		}
		look = func(id blob.ID) bool { _, ok := x[id]; return ok }
	default:
		return g, fmt.Errorf("index as %q: want %s or %s", as, IndexInCache, IndexInMap)
	}
	if g.Hits, err = lookUp(there, true, look); err != nil {
		return g, err
	}
	if g.Misses, err = lookUp(absent, false, look); err != nil {
		return g, err
	}
	after, mapped := ownMemory()
	runtime.KeepAlive(look) // until here
	g.Anonymous, g.Mapped = after-min(after, before), mapped-min(mapped, mappedBefore)
	return g, nil
}

// madeNames are the names of the packs.
func madeNames(blobs int) (names []blob.Name) {
	for n := 0; n*packBlobs < blobs; n++ {
		names = append(names, blob.Name(random32(rand.New(rand.NewPCG(uint64(n), 5)))))
	}
	return names
}

// sample are IDs that are in the index, in random order, and ones that are not.
func sample(blobs int) (there, absent []blob.ID) {
	random := rand.New(rand.NewPCG(6, 6))
	for len(there) < min(lookSample, blobs) {
		n := random.IntN((blobs + packBlobs - 1) / packBlobs)
		for _, e := range madePack(n, min(packBlobs, blobs-n*packBlobs)).Blobs {
			there = append(there, e.Prefix.ID())
		}
	}
	random.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })
	for range there {
		absent = append(absent, blob.ID(random32(random)))
	}
	return there, absent
}

// lookUp looks IDs up again and again and returns how many a second.
func lookUp(ids []blob.ID, want bool, look func(blob.ID) bool) (perSecond float64, err error) {
	const least = 4 * lookSample
	done, begin := 0, time.Now()
	for done < least {
		for _, id := range ids {
			if look(id) != want {
				return 0, fmt.Errorf("look-up of %s: want %v", id, want)
			}
		}
		done += len(ids)
	}
	return float64(done) / time.Since(begin).Seconds(), nil
}

// ownMemory is what this process has, after it gave back what it does not use: its own memory, and mapped files.
func ownMemory() (anonymous, mapped uint64) {
	debug.FreeOSMemory()
	return residentMemory()
}
