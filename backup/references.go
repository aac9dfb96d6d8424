package backup

import (
	"context"
	"errors"

	"github.com/tarn-backup/tarn/snapshot"
)

// references says what may be taken over from the parent snapshot. That was whole once, but packs may have been lost since, or may be about to be
// removed: what refers to them would be damaged from the first day, and say nothing of it.
type references struct {
	store  Store
	loader snapshot.Loader // of the parent; nil if there is none, and then nobody asks
}

func newReferences(store Store, o *Options) *references {
	r := &references{store: store}
	if o.Parent != nil {
		r.loader = o.Parent.Loader
	}
	return r
}

// node reports whether all blobs that a node which is no folder needs may be referred to.
func (r *references) node(ctx context.Context, n *snapshot.Node) bool {
	return r.xattrs(n) && r.content(ctx, n.Content)
}

// xattrs does so for a node's extended attributes.
func (r *references) xattrs(n *snapshot.Node) bool {
	for _, x := range n.Xattrs {
		if !x.Ref.IsZero() && !r.store.Has(x.Ref) {
			return false
		}
	}
	return true
}

// content does so for a content, its lists included.
func (r *references) content(ctx context.Context, c snapshot.Content) bool {
	for _, e := range c.Elements {
		if !e.IsZeros() && !r.store.Has(e.ID) {
			return false
		}
	}
	if c.Depth == 0 {
		return true
	}
	for below, err := range snapshot.Below(ctx, r.loader, c) {
		if err != nil || !r.content(ctx, below) {
			return false
		}
	}
	return true
}

// folder does so for a folder's entries and all that is below them.
func (r *references) folder(ctx context.Context, c snapshot.Content) bool {
	if !r.content(ctx, c) {
		return false
	}
	return snapshot.Walk(ctx, r.loader, snapshot.Node{Type: snapshot.Dir, Content: c}, func(_ string, n *snapshot.Node, err error) error {
		if err != nil || !r.node(ctx, n) {
			return errMissing
		}
		return nil
	}) == nil
}

var errMissing = errors.New("something is missing")
