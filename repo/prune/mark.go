package prune

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/snapshot"
)

// role says what a content is the content of, and so what its blobs are.
type role byte

const (
	ofFolder role = 1
	ofFile   role = 2
	ofScan   role = 3
)

// kind is the kind of the blobs that a content of that role is made of, depth levels above its leaves.
func (r role) kind(depth uint8) blob.Kind {
	switch {
	case r == ofScan:
		return blob.Scan
	case r == ofFile && depth == 0:
		return blob.Data
	}
	return blob.Tree
}

// levelsMax bounds the depth of folders, as readers do.
const levelsMax = 16384

// marker notes what snapshots need. Each piece of a tree is read once, however many snapshots share it and however many looks are taken: what
// it says never changes. So memory grows with the number of distinct blobs.
type marker struct {
	pruner *pruner
	view   *repo.View
	live   index.Set // blobs that are needed, and were found
	parts  index.Set // pieces of trees that were read, with all below them
	loose  index.Set // the same, where something below may be missing
	tokens chan struct{}
	count  atomic.Uint64
}

func newMarker(p *pruner) *marker {
	return &marker{pruner: p, tokens: make(chan struct{}, p.workers-1)}
}

// walk is one walk through a snapshot.
type walk struct {
	*marker
	lenient bool // what is missing is passed over
	failed  atomic.Bool

	mu  sync.Mutex // guards err
	err error
}

// at is where in a snapshot a walk is.
type at struct {
	folder, name string
	level        int
}

// backup marks what a snapshot's tree needs.
func (m *marker) backup(ctx context.Context, b *backup) error {
	w := &walk{marker: m}
	w.node(ctx, at{}, &b.root)
	return w.err
}

// unconfirmed marks what is there of a snapshot that may lack something.
func (m *marker) unconfirmed(ctx context.Context, b *backup) error {
	w := &walk{marker: m, lenient: true}
	w.node(ctx, at{}, &b.root)
	return ctx.Err()
}

// scan marks what is there of a scan record.
func (m *marker) scan(ctx context.Context, b *backup) {
	w := &walk{marker: m, lenient: true}
	for _, e := range b.scan.Elements {
		w.part(ctx, at{}, ofScan, b.scan.Depth, e)
	}
}

// fail ends a walk, unless it passes over what is missing.
func (w *walk) fail(a at, err error) {
	if w.lenient {
		return
	}
	w.failed.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		path := strings.TrimSuffix(a.folder+a.name, "/")
		w.err = fmt.Errorf("%q: %w", "/"+path, err)
	}
}

// node marks what a node refers to.
func (w *walk) node(ctx context.Context, a at, n *snapshot.Node) {
	for i := range n.Xattrs {
		if x := &n.Xattrs[i]; !x.Ref.IsZero() {
			w.need(ctx, a, blob.Data, x.Ref)
		}
	}
	r := ofFile
	if n.Type == snapshot.Dir {
		r = ofFolder
		if a.level++; a.level > levelsMax {
			w.fail(a, fmt.Errorf("folders nested more than %d deep", levelsMax))
			return
		}
		if a.name != "" {
			a.folder, a.name = a.folder+a.name+"/", ""
		}
	}
	for _, e := range n.Content.Elements {
		w.part(ctx, a, r, n.Content.Depth, e)
	}
}

// part marks one element of a content and all below it.
func (w *walk) part(ctx context.Context, a at, r role, depth uint8, e snapshot.Element) {
	if e.IsZeros() || w.failed.Load() {
		return
	}
	if err := ctx.Err(); err != nil {
		w.fail(a, err)
		return
	}
	kind := r.kind(depth)
	if !w.need(ctx, a, kind, e.ID) || depth == 0 && r != ofFolder {
		return
	}
	key := e.ID
	key[len(index.Prefix{})-1] ^= byte(r)<<4 | depth // the same blob in another role is another thing to read
	if w.parts.Has(key) || w.lenient && !w.loose.Add(key) || !w.lenient && !w.parts.Add(key) {
		return
	}
	data, err := w.load(ctx, kind, e.ID)
	if err != nil {
		w.fail(a, err)
		return
	}
	w.pruner.options.Progress(Looking, w.count.Add(1))
	if depth == 0 {
		w.nodes(ctx, a, string(data))
		return
	}
	for rest := string(data); rest != ""; {
		var below snapshot.Element
		if below, rest, err = snapshot.CutElement(rest); err != nil {
			w.fail(a, fmt.Errorf("content list %s: %w", e.ID.Short(), err))
			return
		}
		w.part(ctx, a, r, depth-1, below)
	}
}

// nodes marks what the nodes in one blob of a folder need. Subfolders are given to other goroutines as long as there are idle ones.
func (w *walk) nodes(ctx context.Context, a at, data string) {
	var below sync.WaitGroup
	defer below.Wait()
	n := new(snapshot.Node)
	for data != "" && !w.failed.Load() {
		rest, err := snapshot.CutNode(data, n)
		if err != nil {
			w.fail(a, err)
			return
		}
		data = rest
		child := at{folder: a.folder, name: n.Name, level: a.level}
		if n.Type == snapshot.Dir {
			select {
			case w.tokens <- struct{}{}:
				folder := n
				n = new(snapshot.Node)
				below.Go(func() {
					defer func() { <-w.tokens }()
					w.node(ctx, child, folder)
				})
				continue
			default:
			}
		}
		w.node(ctx, child, n)
	}
}

// need marks a blob, and reports whether it is there, be it in trash.
func (w *walk) need(ctx context.Context, a at, kind blob.Kind, id blob.ID) bool {
	if w.live.Has(id) {
		return true
	}
	if _, ok := w.view.Index.Lookup(id); !ok && !w.pruner.trash.has(ctx, id) {
		w.fail(a, fmt.Errorf("%s %s: %w", kind, id.Short(), errMoved))
		return false
	}
	w.live.Add(id)
	return true
}

// load returns a blob from wherever the view has it.
func (w *walk) load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	r := w.pruner.repo
	data, err := r.LoadFrom(ctx, w.view.Index, kind, id)
	if err != nil && ctx.Err() == nil {
		if doomed, err := r.LoadFrom(ctx, w.pruner.trash.index(ctx), kind, id); err == nil {
			return doomed, nil
		}
	}
	if errors.Is(err, storage.ErrNotExist) || errors.Is(err, repo.ErrNoBlob) {
		err = fmt.Errorf("%w: %w", errMoved, err)
	}
	return data, err
}

// idOf returns an ID that an index or a set takes for the row's: they compare the first half.
func idOf(row *index.Entry) (id blob.ID) {
	copy(id[:], row.Prefix[:])
	return id
}
