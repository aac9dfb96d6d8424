package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"golang.org/x/sync/errgroup"
)

// job is one pack to look at.
type job struct {
	name    blob.Name
	size    int64       // stored bytes, as listed
	indexed *index.Pack // what an index object says of it; nil if none names it
	trashed bool
}

// packs looks at all packs: first those that index objects name, an object at a time, then the others.
func (c *checker) packs(ctx context.Context) error {
	c.plan()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.workers)
	start := func(j job) {
		if c.workers == 1 { // one request after the other, for simulations
			c.pack(ctx, j)
			return
		}
		g.Go(func() error {
			c.pack(ctx, j)
			return ctx.Err()
		})
	}
	seen := map[blob.Name]bool{}
	var bad []string // index objects that are reported
	for _, name := range c.indexNames() {
		packs, err := c.indexObject(ctx, name)
		if err != nil {
			bad = append(bad, name.Short())
		}
		for _, p := range packs {
			if size, live := c.view.Packs[p.Name]; live {
				seen[p.Name] = true
				start(job{name: p.Name, size: size, indexed: p})
			} else if !c.view.Trashed[p.Name] {
				c.absent(ctx, name, p.Name)
			}
		}
	}
	for _, name := range inOrder(c.view.Packs) {
		if !seen[name] {
			start(job{name: name, size: c.view.Packs[name]})
		}
	}
	for _, name := range inOrder(c.listed.packs) {
		if c.view.Trashed[name] && c.options.ReadData {
			start(job{name: name, size: c.listed.packs[name], trashed: true})
		}
	}
	if n := len(c.view.Unindexed); n > 0 && len(bad) == 0 {
		c.found(Finding{Severity: Warning, Object: packPath(c.view.Unindexed[0]),
			Problem: fmt.Sprintf("no index object names this pack (%d such packs)", n),
			Effect:  "a backup is running or was interrupted; what they hold was read from themselves"})
	}
	for _, err := range c.view.Warnings {
		text := err.Error()
		if err == c.view.Blind {
			continue // it was reported
		}
		if !slices.ContainsFunc(bad, func(name string) bool { return strings.Contains(text, name) }) {
			c.found(Finding{Severity: Warning, Problem: text})
		}
	}
	return g.Wait()
}

// inOrder returns the names in a map in their order, so that equal checks take equal ways.
func inOrder[V any](m map[blob.Name]V) []blob.Name {
	return slices.SortedFunc(maps.Keys(m), func(a, b blob.Name) int { return bytes.Compare(a[:], b[:]) })
}

// indexNames are the index objects that were listed, and those that the view found besides.
func (c *checker) indexNames() []blob.Name {
	names := map[blob.Name]bool{}
	for _, n := range c.listed.indexes {
		names[n] = true
	}
	for n := range c.view.Objects {
		names[n] = true
	}
	return inOrder(names)
}

// indexObject reads an index object and reports what is wrong with it.
func (c *checker) indexObject(ctx context.Context, name blob.Name) ([]*index.Pack, error) {
	object := indexDir + name.String()
	body, directory, err := c.object(ctx, object)
	if ctx.Err() != nil || errors.Is(err, storage.ErrNotExist) {
		return nil, nil // replaced meanwhile
	}
	var packs []*index.Pack
	if err == nil {
		packs, err = decodeIndex(string(body), string(directory))
	}
	if err != nil {
		c.found(Finding{Severity: Error, Object: object, Problem: err.Error(),
			Effect: "nothing is lost: what its packs hold is read from themselves; the index can be rebuilt"})
	}
	return packs, err
}

// decodeIndex reads the list of an index object and the directories that follow it.
func decodeIndex(body, directory string) ([]*index.Pack, error) {
	listed, err := index.DecodeList(directory)
	if err != nil {
		return nil, err
	}
	var packs []*index.Pack
	for i := range listed {
		n := min(int(listed[i].Directory), len(body))
		p, err := listed[i].Pack(body[:n])
		if err != nil {
			return packs, err
		}
		packs, body = append(packs, p), body[n:]
	}
	if body != "" {
		return packs, fmt.Errorf("%w: %d bytes follow the last directory", seal.ErrCorrupt, len(body))
	}
	return packs, nil
}

// absent reports a pack that an index object names and that was not listed, unless it was put since.
func (c *checker) absent(ctx context.Context, object, name blob.Name) {
	err := storage.ReadRange(ctx, c.store, packPath(name), make([]byte, seal.HeaderSize), 0)
	if errors.Is(err, storage.ErrNotExist) {
		c.found(Finding{Severity: Warning, Object: packPath(name), Problem: "this pack is missing, and index object " + object.Short() + " names it",
			Effect: "if a snapshot needs it, that is reported too; else it is the rest of an interrupted prune"})
	}
}

func (c *checker) readDirectory(ctx context.Context, name blob.Name, size int64) (*index.Pack, error) {
	return pack.ReadDirectory(c.keys, name, size, func(p []byte, off int64) error {
		return storage.ReadRange(ctx, c.store, packPath(name), p, off)
	})
}

// pack compares what a pack says of itself with what the index says, and reads it whole if it is to be.
func (c *checker) pack(ctx context.Context, j job) {
	own, err := c.readDirectory(ctx, j.name, j.size)
	if errors.Is(err, storage.ErrNotExist) {
		c.look() // pruned meanwhile: if so, what it held is elsewhere
		return
	}
	v := verdict{}
	dir := own
	if err != nil {
		v.fault(err)
		dir = j.indexed
	}
	if j.indexed != nil {
		v.compare(own, j.indexed, j.size)
	}
	read := c.toRead(j, dir, len(v.faults) > 0)
	if read {
		err := c.readPack(ctx, j, dir, &v)
		if errors.Is(err, storage.ErrNotExist) {
			c.look()
			return
		}
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	c.summary.Packs++
	if read && len(v.faults) == 0 && c.options.Proven != nil {
		c.options.Proven(j.name)
	}
	c.mu.Unlock()
	if len(v.faults) > 0 {
		c.reportPack(j, dir, &v)
	}
}

// verdict gathers what is wrong with one pack.
type verdict struct {
	faults []error
	index  bool           // the index says something else of it
	lost   []index.Prefix // of the blobs that can't be read
}

func (v *verdict) fault(err error) {
	v.faults = append(v.faults, err)
}

// compare compares a pack's own directory, if it could be read, with what the index has.
func (v *verdict) compare(own, indexed *index.Pack, size int64) {
	if size != int64(indexed.Size) {
		v.fault(fmt.Errorf("%w: it has %d bytes, the index says %d", seal.ErrCorrupt, size, indexed.Size))
	}
	if own == nil {
		return
	}
	if own.Salt != indexed.Salt || own.Epoch != indexed.Epoch ||
		!bytes.Equal(index.AppendDirectory(nil, own), index.AppendDirectory(nil, indexed)) {
		v.index = true
		v.fault(errors.New("the index does not say what the pack holds"))
	}
}

// reportPack reports what is wrong with a pack, and asks for a second look if that may concern a snapshot.
func (c *checker) reportPack(j job, dir *index.Pack, v *verdict) {
	used := 0
	for _, id := range v.lost {
		if c.used(id.ID()) {
			used++
		}
	}
	f := Finding{Severity: Error, Object: packPath(j.name), Problem: v.faults[0].Error()}
	if n := len(v.faults); n > 1 {
		f.Problem += fmt.Sprintf(" (and %d more faults)", n-1)
	}
	switch {
	case j.trashed:
		f.Severity, f.Effect = Warning, "it is in the trash and about to be removed"
	case dir == nil:
		f.Effect = "what it held is unknown"
		c.look()
	case v.index:
		f.Effect = "who reads by the index finds other bytes, or an error: rebuild the index"
		c.look()
	case len(v.lost) == 0:
		f.Effect = fmt.Sprintf("all of its %d blobs are whole", len(dir.Blobs))
	case used == 0:
		f.Effect = fmt.Sprintf("%d of its %d blobs can't be read; no snapshot that was checked needs them", len(v.lost), len(dir.Blobs))
	default:
		f.Effect = fmt.Sprintf("%d of its %d blobs can't be read, %d of them in use", len(v.lost), len(dir.Blobs), used)
		c.look()
	}
	c.found(f)
}

// used reports whether a snapshot that was checked refers to a blob.
func (c *checker) used(id blob.ID) bool {
	for i := range c.walked.refs {
		if c.walked.refs[i].Has(id) {
			return true
		}
	}
	return false
}

// doubt has a pack read whole, since something in it could not be read.
func (c *checker) doubt(name blob.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubtful[name], c.trouble = true, true
}

// plan counts the bytes that are to be read.
func (c *checker) plan() {
	if c.options.Pick != nil && c.picked == nil {
		c.picked = c.options.Pick(c.view.Packs)
	}
	for name, size := range c.view.Packs {
		if c.options.ReadData && c.inTurn(name) {
			c.total += size
		}
	}
}

// toRead reports whether a pack is to be read whole, which is so once. faulty ones are in any case.
func (c *checker) toRead(j job, dir *index.Pack, faulty bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read[j.name] {
		return false
	}
	want := faulty || c.doubtful[j.name]
	if !want && c.options.ReadData && c.inTurn(j.name) {
		want = len(c.options.Snapshots) == 0 ||
			dir != nil && slices.ContainsFunc(dir.Blobs, func(e index.Entry) bool { return c.used(e.Prefix.ID()) })
	}
	c.read[j.name] = want
	return want
}

// inTurn reports whether a pack is to be read with ReadData.
func (c *checker) inTurn(name blob.Name) bool {
	if c.options.Pick != nil {
		return c.picked[name]
	}
	return InShare(name, c.options.Fraction, c.options.Turn)
}

// InShare reports whether a pack is in the share of a turn; a share of 0 or 1 has all packs. Names are hashes, so equal ranges of them have
// about equal shares.
func InShare(name blob.Name, share float64, turn uint64) bool {
	if share == 0 || share == 1 {
		return true
	}
	turns := math.Ceil(1/share - 1e-9)
	at := float64(binary.BigEndian.Uint64(name[:])>>11) / (1 << 53)
	first := share * float64(turn%uint64(turns))
	return at >= first && at < first+share
}

// compareKinds looks for packs that say another kind of a blob than the snapshots that refer to it.
func (c *checker) compareKinds() {
	for info, rows := range c.view.Index.Blobs() {
		wrong := 0
		for i := range rows {
			if c.wrongKind(&rows[i]) {
				wrong++
			}
		}
		if wrong > 0 {
			c.found(Finding{Severity: Error, Object: packPath(info.Name),
				Problem: fmt.Sprintf("%d of its blobs are of another kind than the snapshots say", wrong),
				Effect:  "they may be lost by a prune"})
		}
	}
}

func (c *checker) wrongKind(r *index.Entry) bool {
	id := r.Prefix.ID()
	if int(r.Kind) < len(c.walked.refs) && c.walked.refs[r.Kind].Has(id) {
		return false
	}
	return c.used(id)
}
