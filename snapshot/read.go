package snapshot

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/tarn-backup/tarn/blob"
)

// Loader loads blobs: their plaintext, proven to be what the ID names. It may be shared and must not be modified.
type Loader interface {
	Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error)
}

// Elements goes through the elements of a content, those that stand in lists included. After an error it ends.
func Elements(ctx context.Context, l Loader, c Content) iter.Seq2[Element, error] {
	return elementsOf(ctx, l, blob.Tree, c)
}

func elementsOf(ctx context.Context, l Loader, kind blob.Kind, c Content) iter.Seq2[Element, error] {
	return func(yield func(Element, error) bool) {
		descend(ctx, l, kind, c, yield)
	}
}

// descend yields the leaves below c and reports whether to go on.
func descend(ctx context.Context, l Loader, kind blob.Kind, c Content, yield func(Element, error) bool) bool {
	if c.Depth == 0 {
		for _, e := range c.Elements {
			if !yield(e, nil) {
				return false
			}
		}
		return true
	}
	for _, e := range c.Elements {
		below, err := list(ctx, l, kind, e)
		if err != nil {
			yield(Element{}, err)
			return false
		}
		if !descend(ctx, l, kind, Content{Depth: c.Depth - 1, Elements: below}, yield) {
			return false
		}
	}
	return true
}

// list loads one list of elements. Its lengths must add up to what the element above it says, so that no list can name itself
// or be endless.
func list(ctx context.Context, l Loader, kind blob.Kind, e Element) ([]Element, error) {
	if e.IsZeros() {
		return nil, errElement
	}
	data, err := l.Load(ctx, kind, e.ID)
	if err != nil {
		return nil, err
	}
	var below []Element
	var sum uint64
	for s := string(data); s != ""; {
		var el Element
		if el, s, err = CutElement(s); err != nil {
			return nil, fmt.Errorf("content list %s: %w", e.ID.Short(), err)
		}
		if sum += el.Length; sum > e.Length { // at once, since the sum could pass 2^64
			break
		}
		below = append(below, el)
	}
	if sum != e.Length {
		return nil, fmt.Errorf("content list %s: %d bytes, want %d", e.ID.Short(), sum, e.Length)
	}
	return below, nil
}

// A Cursor goes through the nodes of a folder, one blob at a time.
type Cursor struct {
	next   func() (Element, error, bool)
	stop   func()
	ctx    context.Context
	loader Loader
	rest   string
	last   string
	begun  bool
	record string
	reuse  bool
	err    error
}

// Reuse lets Next use the room for content elements again that the node has which it is given. Who keeps such a node for longer than until
// the next one must copy them.
func (c *Cursor) Reuse() { c.reuse = true }

// NewCursor returns a cursor before the first node of a folder's content. Close must be called.
func NewCursor(ctx context.Context, l Loader, c Content) *Cursor {
	cur := &Cursor{ctx: ctx, loader: l}
	if c.Depth > 0 {
		cur.next, cur.stop = iter.Pull2(elementsOf(ctx, l, blob.Tree, c))
		return cur
	}
	elements := c.Elements // nearly all folders: no coroutine needed
	cur.stop = func() { elements = nil }
	cur.next = func() (e Element, err error, ok bool) {
		if len(elements) == 0 {
			return e, nil, false
		}
		e, elements = elements[0], elements[1:]
		return e, nil, true
	}
	return cur
}

// Next decodes the next node into n and reports whether there was one. n's strings stay valid.
func (c *Cursor) Next(n *Node) bool {
	for c.rest == "" {
		if c.err != nil {
			return false
		}
		e, err, ok := c.next()
		if !ok {
			return false
		}
		if err == nil && e.IsZeros() {
			err = errElement
		}
		var data []byte
		if err == nil {
			data, err = c.loader.Load(c.ctx, blob.Tree, e.ID)
		}
		if err == nil && uint64(len(data)) != e.Length { // one that is empty could follow itself for ever
			err = fmt.Errorf("tree %s has %d bytes, want %d", e.ID.Short(), len(data), e.Length)
		}
		if err != nil {
			c.err = err
			return false
		}
		c.rest = string(data)
	}
	if !c.reuse {
		n.Content.Elements = nil
	}
	rest, err := cutNode(c.rest, n)
	if err == nil && c.begun && n.Name <= c.last {
		err = fmt.Errorf("folder entry %q comes after %q", n.Name, c.last)
	}
	if err != nil {
		c.err, c.rest = err, ""
		return false
	}
	c.record, c.rest = c.rest[:len(c.rest)-len(rest)], rest
	c.last, c.begun = n.Name, true
	return true
}

// Encoded is the record of the node that Next gave last.
func (c *Cursor) Encoded() string { return c.record }

// Err is the error that ended the folder early, if any.
func (c *Cursor) Err() error { return c.err }

// Close frees what the cursor holds; it has no more nodes then.
func (c *Cursor) Close() { c.stop() }

// Entries goes through a folder's nodes in ascending order of their names. After an error it ends.
func Entries(ctx context.Context, l Loader, c Content) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		cur := NewCursor(ctx, l, c)
		defer cur.Close()
		for {
			var n Node
			if !cur.Next(&n) {
				break
			}
			if !yield(n, nil) {
				return
			}
		}
		if err := cur.Err(); err != nil {
			yield(Node{}, err)
		}
	}
}

// ErrNotFound is wrapped when a snapshot has no such path.
var ErrNotFound = fmt.Errorf("not in the snapshot")

// Lookup finds the node at a slash-separated path below root. The empty path and "/" are root itself.
func Lookup(ctx context.Context, l Loader, root Node, path string) (Node, error) {
	n := root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		found := false
		if n.Type == Dir {
			for e, err := range Entries(ctx, l, n.Content) {
				if err != nil {
					return Node{}, fmt.Errorf("folder %q: %w", n.Name, err)
				}
				if found = e.Name == name; found {
					n = e
					break
				}
			}
		}
		if !found {
			return Node{}, fmt.Errorf("%s: %w", path, ErrNotFound)
		}
	}
	return n, nil
}

// SkipDir, returned by a function given to Walk, passes over a folder's entries.
//
//lint:ignore ST1012 it is called what it is called in io/fs
var SkipDir = fmt.Errorf("skip this folder")

// levelsMax bounds the depth of folders. Linux can make deeper ones only by openat in a loop; a hostile tree could be endless.
const levelsMax = 16384

// Walk calls fn for root's entries and theirs, in walk order: a folder comes before its entries, names ascend bytewise. path has no
// slash in front. If a folder can't be read, fn is called for it once more with the error, and Walk goes on if fn returns nil.
func Walk(ctx context.Context, l Loader, root Node, fn func(path string, n *Node, err error) error) error {
	return walk(ctx, l, "", &root, 0, fn)
}

func walk(ctx context.Context, l Loader, prefix string, dir *Node, level int, fn func(string, *Node, error) error) error {
	if level > levelsMax {
		return fmt.Errorf("%s: folders nested more than %d deep", prefix, levelsMax)
	}
	cur := NewCursor(ctx, l, dir.Content)
	defer cur.Close()
	var n Node
	for cur.Next(&n) {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := prefix + n.Name
		err := fn(path, &n, nil)
		if err == SkipDir {
			continue
		}
		if err != nil {
			return err
		}
		if n.Type == Dir {
			if err := walk(ctx, l, path+"/", &n, level+1, fn); err != nil {
				return err
			}
		}
	}
	if err := cur.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := fn(strings.TrimSuffix(prefix, "/"), dir, err); err != SkipDir {
			return err
		}
	}
	return nil
}

// Below goes through the lists right below a content of depth 1 or more: each element's blob as a Content one less deep.
func Below(ctx context.Context, l Loader, c Content) iter.Seq2[Content, error] {
	return func(yield func(Content, error) bool) {
		for _, e := range c.Elements {
			below, err := list(ctx, l, blob.Tree, e)
			if !yield(Content{Depth: c.Depth - 1, Elements: below}, err) || err != nil {
				return
			}
		}
	}
}
