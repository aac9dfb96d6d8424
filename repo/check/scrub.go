package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"golang.org/x/sync/errgroup"
)

// Scrub reads every object that is named by the hash of its bytes, and reports those that have others. It needs no key, and proves
// nothing of the config, of sessions and of evictions, which have other names.
func Scrub(ctx context.Context, s storage.Storage, report func(Finding)) (Summary, error) {
	c := &checker{store: s, report: report, workers: repo.Workers()}
	var err error
	if c.listed, err = list(ctx, s); err != nil {
		return c.summary, fmt.Errorf("scrub: %w", err)
	}
	c.reportForeign()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.workers)
	start := func(name string) {
		g.Go(func() error {
			c.scrub(gctx, name)
			return gctx.Err()
		})
	}
	for _, n := range c.listed.indexes {
		start(indexDir + n.String())
	}
	for _, n := range c.listed.snapshots {
		start(snapshotsDir + n.String())
	}
	for _, name := range c.listed.small {
		start(name)
	}
	for n := range c.listed.packs {
		start(packPath(n))
	}
	if err := g.Wait(); err != nil {
		return c.summary, fmt.Errorf("scrub: %w", err)
	}
	return c.summary, nil
}

// scrub hashes one object.
func (c *checker) scrub(ctx context.Context, name string) {
	folder, hash, _ := classify(name)
	if hash.IsZero() {
		return
	}
	size, err := c.compareHash(ctx, name, hash)
	if ctx.Err() != nil || errors.Is(err, storage.ErrNotExist) {
		return // removed meanwhile
	}
	if err != nil {
		c.found(Finding{Severity: Error, Object: name, Problem: err.Error(), Effect: "run tarn check to see what this means"})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.summary.BytesRead += size
	if folder == dataDir {
		c.summary.PacksRead++
	} else {
		c.summary.Objects++
	}
}

func (c *checker) compareHash(ctx context.Context, name string, want blob.Name) (size int64, err error) {
	r, err := c.store.Get(ctx, name, 0, -1)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	h := sha256.New()
	if size, err = io.Copy(h, r); err != nil {
		return size, fmt.Errorf("read at byte %d: %w", size, err)
	}
	if blob.Name(h.Sum(nil)) != want {
		return size, fmt.Errorf("%w: the hash of its bytes is not its name", seal.ErrCorrupt)
	}
	return size, nil
}
