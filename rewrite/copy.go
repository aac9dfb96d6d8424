package rewrite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// Lane is one goroutine's way of saving.
type Lane interface {
	snapshot.Saver
	// BreakAlways tells that the next blobs are another user's.
	BreakAlways(ctx context.Context) error
}

// Copier copies snapshots from one repository to another, where all blobs have other IDs, or sees to it that a repository has all of one. Whatever it reads is hashed and compared with its
// ID by From, and gets its new ID from the same bytes. It serves one goroutine; blobs are copied by as many as there are lanes.
//
// It remembers which blob became which, about 100 bytes for each, so that a blob is read once, however many snapshots have it.
type Copier struct {
	From  snapshot.Loader
	Lists snapshot.Lists     // of the target
	Lanes []Lane             // of the target, one per worker
	Has   func(blob.ID) bool // whether the target may refer to a blob
	Same  bool               // both are one repository: a blob has one ID, and is read only if the target may not refer to it as it is
	// Copied, if not nil, is told how many bytes were read. It may be called by many goroutines.
	Copied func(bytes int)

	owners []uint32 // of the file that each worker copied last

	mu    sync.Mutex // guards known
	known map[blob.ID]blob.ID
}

// Begin makes the copier ready for another session of the target.
func (c *Copier) Begin(lists snapshot.Lists, lanes []Lane, has func(blob.ID) bool) {
	c.Lists, c.Lanes, c.Has = lists, lanes, has
	c.owners = make([]uint32, len(lanes))
	if c.known == nil {
		c.known = map[blob.ID]blob.ID{}
	}
}

// Root copies the folder that n is, with all below it, and sets n's content to the target's.
func (c *Copier) Root(ctx context.Context, n *snapshot.Node) error {
	if err := c.attributes(ctx, 0, n); err != nil {
		return fmt.Errorf("the root: %w", err)
	}
	t := Tree{From: c.From, Lists: c.Lists, Workers: len(c.Lanes), Edit: c.edit}
	return t.Folder(ctx, "", n)
}

// Scan copies a scan record.
func (c *Copier) Scan(ctx context.Context, scan snapshot.Content) (snapshot.Content, error) {
	return snapshot.CopyScan(ctx, c.From, scan, &c.Lists)
}

func (c *Copier) edit(ctx context.Context, worker int, path string, n *snapshot.Node) (Action, error) {
	err := c.node(ctx, worker, n)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%q: %w", path, err)
	}
	return Keep, err
}

func (c *Copier) node(ctx context.Context, worker int, n *snapshot.Node) error {
	if c.owners[worker] != n.UID {
		c.owners[worker] = n.UID
		if err := c.Lanes[worker].BreakAlways(ctx); err != nil {
			return err
		}
	}
	if err := c.attributes(ctx, worker, n); err != nil || n.Type != snapshot.File {
		return err
	}
	lists := c.Lists
	lists.Saver = c.Lanes[worker]
	b := lists.NewContentBuilder()
	for e, err := range snapshot.Elements(ctx, c.From, n.Content) {
		if err != nil {
			return err
		}
		if !e.IsZeros() {
			var size int
			if e.ID, size, err = c.blob(ctx, worker, e.ID); err != nil {
				return err
			}
			if size >= 0 && uint64(size) != e.Length {
				return errors.New("a chunk is longer or shorter than its file says")
			}
		}
		if err := b.Add(ctx, e); err != nil {
			return err
		}
	}
	var err error
	n.Content, err = b.Finish(ctx)
	return err
}

func (c *Copier) attributes(ctx context.Context, worker int, n *snapshot.Node) error {
	for i := range n.Xattrs {
		x := &n.Xattrs[i]
		if x.Ref.IsZero() {
			continue
		}
		var err error
		if x.Ref, _, err = c.blob(ctx, worker, x.Ref); err != nil {
			return err
		}
	}
	return nil
}

// blob copies a data blob unless the target has it, and returns its ID there, and its size, or -1 if it was not read.
func (c *Copier) blob(ctx context.Context, worker int, id blob.ID) (blob.ID, int, error) {
	c.mu.Lock()
	to, ok := c.known[id]
	c.mu.Unlock()
	if c.Same {
		to, ok = id, true
	}
	if ok && c.Has(to) {
		return to, -1, nil
	}
	data, err := c.From.Load(ctx, blob.Data, id)
	if err != nil {
		return to, 0, err
	}
	if to, err = c.Lanes[worker].Save(ctx, blob.Data, data); err != nil {
		return to, 0, err
	}
	c.mu.Lock()
	c.known[id] = to
	c.mu.Unlock()
	if c.Copied != nil {
		c.Copied(len(data))
	}
	return to, len(data), nil
}
