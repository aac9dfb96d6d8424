package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/tarn-backup/tarn/blob"
)

// Saver stores blobs. What it is given may be reused when it returns.
type Saver interface {
	Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error)
}

// Cutter cuts a byte stream at content-defined boundaries: Cut returns the length of the first chunk of p, which holds at
// least Max bytes of the stream or all that is left of it. The chunkers of package chunker are Cutters.
type Cutter interface {
	Cut(p []byte) int
}

// Lists makes the chunked lists of a snapshot: folders, scan records and long contents. It is what the builders share.
type Lists struct {
	Saver  Saver
	Cutter Cutter
	Max    int // the most bytes that Cutter needs to see
}

// records joins encoded records to a stream and cuts it into blobs. A cut moves forward to the end of a record, so that each
// blob can be read by itself: one that is lost takes only its own entries with it.
type records struct {
	lists *Lists
	kind  blob.Kind
	buf   []byte
	ends  []int    // where the records in buf end
	leafs []uint64 // bytes of content below each record; empty if a record stands for itself
	out   elements
}

func (r *records) full() bool { return len(r.buf) >= 2*r.lists.Max }

// added notes that a record was appended to buf, and saves what can be cut off.
func (r *records) added(ctx context.Context) error {
	r.ends = append(r.ends, len(r.buf))
	if !r.full() {
		return nil
	}
	return r.flush(ctx, r.lists.Max)
}

// flush saves blobs until fewer than keep bytes are left, or none if keep is 0.
func (r *records) flush(ctx context.Context, keep int) error {
	begin, k := 0, 0
	for len(r.buf)-begin >= max(keep, 1) {
		cut := begin + r.lists.Cutter.Cut(r.buf[begin:])
		first := k
		for r.ends[k] < cut {
			k++
		}
		end := r.ends[k]
		k++
		id, err := r.lists.Saver.Save(ctx, r.kind, r.buf[begin:end])
		if err != nil {
			return err
		}
		length := uint64(end - begin)
		if r.leafs != nil {
			length = 0
			for _, n := range r.leafs[first:k] {
				length += n
			}
		}
		if err := r.out.add(ctx, Element{ID: id, Length: length}); err != nil {
			return err
		}
		begin = end
	}
	r.buf = append(r.buf[:0], r.buf[begin:]...)
	n := copy(r.ends, r.ends[k:])
	r.ends = r.ends[:n]
	for i := range r.ends {
		r.ends[i] -= begin
	}
	if r.leafs != nil {
		r.leafs = append(r.leafs[:0], r.leafs[k:]...)
	}
	return nil
}

func (r *records) finish(ctx context.Context) (Content, error) {
	if err := r.flush(ctx, 0); err != nil {
		return Content{}, err
	}
	return r.out.finish(ctx)
}

// elements collects the elements of a content. More than limit of them become a list of records one level up.
type elements struct {
	lists  *Lists
	kind   blob.Kind // of the lists
	depth  uint8
	limit  int
	inline []Element
	up     *records
}

func (e *elements) add(ctx context.Context, el Element) error {
	if e.up != nil {
		return e.push(ctx, el)
	}
	e.inline = append(e.inline, el)
	if len(e.inline) <= e.limit {
		return nil
	}
	if e.depth == DepthMax {
		return fmt.Errorf("content list of more than %d levels", DepthMax)
	}
	e.up = &records{lists: e.lists, kind: e.kind, leafs: []uint64{},
		out: elements{lists: e.lists, kind: e.kind, depth: e.depth + 1, limit: e.limit}}
	for _, el := range e.inline {
		if err := e.push(ctx, el); err != nil {
			return err
		}
	}
	e.inline = nil
	return nil
}

func (e *elements) push(ctx context.Context, el Element) error {
	e.up.buf = AppendElement(e.up.buf, el)
	e.up.leafs = append(e.up.leafs, el.Length)
	return e.up.added(ctx)
}

func (e *elements) finish(ctx context.Context) (Content, error) {
	if e.up != nil {
		return e.up.finish(ctx)
	}
	return Content{Depth: e.depth, Elements: e.inline}, nil
}

// TreeBuilder encodes one folder. Nodes come in ascending order of their names.
type TreeBuilder struct {
	records
	last  string
	begun bool
}

// NewTreeBuilder returns a builder for one folder.
func (l *Lists) NewTreeBuilder() *TreeBuilder {
	return &TreeBuilder{records: records{lists: l, kind: blob.Tree, out: elements{lists: l, kind: blob.Tree, limit: 1}}}
}

// Add adds a node. One that a reader would refuse is an error, after which the folder can go on without it.
func (t *TreeBuilder) Add(ctx context.Context, n *Node) error {
	if t.begun && n.Name <= t.last {
		return fmt.Errorf("folder entry %q comes after %q", n.Name, t.last)
	}
	if err := validate(n); err != nil {
		return fmt.Errorf("folder entry: %w", err)
	}
	begin := len(t.buf)
	t.buf = AppendNode(t.buf, n)
	if size := len(t.buf) - begin; size > NodeSizeMax {
		t.buf = t.buf[:begin]
		return fmt.Errorf("folder entry %q: %d bytes of metadata, the limit is %d", n.Name, size, NodeSizeMax)
	}
	t.last, t.begun = n.Name, true
	return t.added(ctx)
}

// AddEncoded adds a node that is encoded already, as AppendNode does it; name is its name.
func (t *TreeBuilder) AddEncoded(ctx context.Context, name, record string) error {
	if t.begun && name <= t.last {
		return fmt.Errorf("folder entry %q comes after %q", name, t.last)
	}
	t.last, t.begun = name, true
	t.buf = append(t.buf, record...)
	return t.added(ctx)
}

// Finish saves what is left and returns the folder's content: no element if it is empty, else one.
func (t *TreeBuilder) Finish(ctx context.Context) (Content, error) { return t.finish(ctx) }

// ContentBuilder collects the elements of one file's content.
type ContentBuilder struct {
	elements
	zeros uint64 // bytes of a run that may go on
}

// NewContentBuilder returns a builder for one file.
func (l *Lists) NewContentBuilder() *ContentBuilder {
	return &ContentBuilder{elements: elements{lists: l, kind: blob.Tree, limit: InlineMax}}
}

// Add adds the next element. Neighbouring runs of zeros become one.
func (c *ContentBuilder) Add(ctx context.Context, e Element) error {
	if e.Length == 0 || e.Length >= 1<<63 || e.Length+c.zeros >= 1<<63 {
		return fmt.Errorf("content element of %d bytes", e.Length)
	}
	if e.IsZeros() {
		c.zeros += e.Length
		return nil
	}
	if err := c.addZeros(ctx); err != nil {
		return err
	}
	return c.add(ctx, e)
}

func (c *ContentBuilder) addZeros(ctx context.Context) error {
	if c.zeros == 0 {
		return nil
	}
	e := Element{Length: c.zeros}
	c.zeros = 0
	return c.add(ctx, e)
}

// Finish saves what is left and returns the content.
func (c *ContentBuilder) Finish(ctx context.Context) (Content, error) {
	if err := c.addZeros(ctx); err != nil {
		return Content{}, err
	}
	return c.finish(ctx)
}

// Clone returns an independent copy of the builder, so that what is there can be finished while the original goes on.
func (t *TreeBuilder) Clone() *TreeBuilder {
	c := *t
	c.records = *t.records.clone()
	return &c
}

func (r *records) clone() *records {
	c := *r
	c.buf, c.ends = slices.Clone(r.buf), slices.Clone(r.ends)
	if r.leafs != nil {
		c.leafs = append([]uint64{}, r.leafs...)
	}
	c.out.inline = slices.Clone(r.out.inline)
	if r.out.up != nil {
		c.out.up = r.out.up.clone()
	}
	return &c
}

// Reset makes the builder ready for another folder, and keeps its buffer.
func (t *TreeBuilder) Reset() {
	t.buf, t.ends, t.out.inline, t.out.up = t.buf[:0], t.ends[:0], nil, nil
	t.last, t.begun = "", false
}
