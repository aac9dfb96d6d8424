package index

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/blob"
)

// ErrBadCache is wrapped when the local cache is damaged, incomplete, of another version or of another repository. It is then to
// be removed by RemoveCache, and filled again.
var ErrBadCache = errors.New("bad index cache")

// Cache is a folder of generations: what is known of packs, kept from one run to the next. A pack's directory never changes, so
// what stands there is never out of date; which of the packs are still there is for the caller to say.
//
// Several processes may use a folder at once, without locks: files get their names when they are complete and never change, and
// merged ones are removed after the result has its name. Two that merge at the same time may leave packs twice; the next
// merge ends that.
type Cache struct {
	dir  string
	repo [16]byte

	mu      sync.Mutex    // guards all below
	gens    []*generation // the largest first
	view    []*base       // of gens, as the newest Index sees them; nil before there is one
	retired []*generation // merged away, but an Index may still read them
}

const (
	generationSuffix = ".rows"
	tempPrefix       = "tmp-"
	tempAge          = 24 * time.Hour // after which a temporary file is from a crash
	mergeRatio       = 3              // a generation is merged with younger ones that have more than a third of its rows
)

// OpenCache opens the cache in dir, which it makes if need be, of the repository with the given id. All of it is checked. An
// error wraps ErrBadCache if the cache is to be removed.
func OpenCache(dir string, repo [16]byte) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open index cache: %w", err)
	}
	c := &Cache{dir: dir, repo: repo}
	for tries := 0; ; tries++ {
		err := c.open()
		if err == nil {
			return c, nil
		}
		c.Close()
		if !errors.Is(err, fs.ErrNotExist) || tries == 100 { // merged by another process between the listing and the opening
			return nil, err
		}
	}
}

func (c *Cache) open() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("open index cache: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(c.dir, e.Name())
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > tempAge {
				os.Remove(path) // at worst it stays
			}
		}
		if !strings.HasSuffix(e.Name(), generationSuffix) {
			continue
		}
		g, err := openGeneration(path, c.repo)
		if err != nil {
			return err
		}
		c.gens = append(c.gens, g)
	}
	slices.SortStableFunc(c.gens, func(g, h *generation) int { return cmp.Compare(h.rows, g.rows) })
	return nil
}

// RemoveCache removes the files of the cache in dir, and nothing else. Processes that have it open are not disturbed.
func RemoveCache(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove index cache: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) || strings.HasSuffix(e.Name(), generationSuffix) || e.Name() == objectsFile {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove index cache: %w", err)
			}
		}
	}
	return nil
}

// Close lets go of the files. No Index made from c may be used from then on, nor what it gave of packs.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, g := range slices.Concat(c.gens, c.retired) {
		errs = append(errs, g.close())
	}
	c.gens, c.view, c.retired = nil, nil, nil
	return errors.Join(errs...)
}

// Has reports whether the cache covers a pack.
func (c *Cache) Has(pack blob.Name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.gens, func(g *generation) bool {
		_, ok := g.findPack(pack)
		return ok
	})
}

// Index returns an Index of those of the live packs that the cache covers, and the names of the others. Live packs are those
// that are listed and in no trash; the others' rows are passed over, and left out when generations are merged next.
func (c *Cache) Index(live iter.Seq[blob.Name]) (x *Index, missing []blob.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x = New()
	for _, g := range c.gens {
		x.bases = append(x.bases, newBase(g))
	}
	for name := range live {
		if !slices.ContainsFunc(x.bases, func(b *base) bool { return b.add(name) }) {
			missing = append(missing, name)
		}
	}
	c.view = x.bases
	return x, missing
}

// Extend writes packs to the cache, for later runs: an Index that was made before doesn't change. Packs that are there
// are passed over. An error leaves the cache as it was.
func (c *Cache) Extend(packs []*Pack) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var fresh []*Pack
	rows := 0
	for _, p := range packs {
		if err := p.Check(); err != nil {
			return fmt.Errorf("extend index cache: pack %s: %w", p.Name.Short(), err)
		}
		if !c.hasLocked(p.Name) {
			fresh = append(fresh, p)
			rows += len(p.Blobs)
		}
	}
	kept := c.mergeFromLocked(rows)
	merged := c.gens[kept:]
	if len(fresh) == 0 && len(merged) == 0 {
		return nil
	}
	g, err := c.buildLocked(merged, kept, fresh)
	if err != nil {
		return fmt.Errorf("extend index cache: %w", err)
	}
	return c.replaceLocked(kept, g)
}

// hasLocked reports whether a pack is in a generation, and will stay there when that is merged.
func (c *Cache) hasLocked(name blob.Name) bool {
	for i, g := range c.gens {
		if n, ok := g.findPack(name); ok && c.keepsLocked(i, n) {
			return true
		}
	}
	return false
}

func (c *Cache) keepsLocked(gen, pack int) bool {
	return c.view == nil || c.view[gen].live[pack].Load()
}

// mergeFromLocked says from which generation on all are to be merged with so many new rows. Each that stays has more than
// mergeRatio times the rows of all after it, so there are few; and at least half of its rows are of live packs.
func (c *Cache) mergeFromLocked(rows int) int {
	from := len(c.gens)
	for i := len(c.gens) - 1; i >= 0; i-- {
		all := int(c.gens[i].rows)
		live := all
		if c.view != nil {
			live = int(c.view[i].blobs.Load())
		}
		if rows += live; all < mergeRatio*(rows-live) || live*2 < all {
			from = i
		}
	}
	return from
}

func (c *Cache) buildLocked(merged []*generation, kept int, fresh []*Pack) (*generation, error) {
	b := newBuilder(c.repo, merged, func(gen, pack int) bool { return c.keepsLocked(kept+gen, pack) }, fresh)
	f, err := os.CreateTemp(c.dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	err = b.write(f)
	// No sync: should the power fail, the checksums will tell, and the cache is filled again.
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	// It is opened before it has its name: from then on, another process may merge and remove it.
	g, err := openGeneration(f.Name(), c.repo)
	if err != nil {
		return nil, err
	}
	g.path = filepath.Join(c.dir, b.name())
	if err := os.Rename(f.Name(), g.path); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// replaceLocked puts g in the place of the generations from number kept on, which it was made of.
func (c *Cache) replaceLocked(kept int, g *generation) error {
	merged := slices.Clone(c.gens[kept:])
	c.gens, c.retired = append(c.gens[:kept:kept], g), append(c.retired, merged...)
	if c.view != nil {
		b := newBase(g)
		for n := range b.live {
			b.addNumber(n)
		}
		c.view = append(c.view[:kept:kept], b)
	}
	var errs []error
	for _, old := range merged {
		if old.path != g.path {
			errs = append(errs, old.removeFile())
		}
	}
	return errors.Join(errs...)
}
