package check

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
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/snapshot"
)

// role says what a content is the content of, and so what its blobs have to be.
type role byte

const (
	ofFolder role = 1 // nodes
	ofFile   role = 2 // data
	ofScan   role = 3 // scan items
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

// spot is where in a snapshot the walk is.
type spot struct {
	tour   *tour
	folder string // its path, with a slash behind it unless it is the root
	name   string // of the entry; empty in the folder itself
	level  int
	wide   bool // in a folder that is kept in several parts
}

func (at *spot) fail(err error) { at.tour.add(at.folder+at.name, err) }

// span is the first and the last name in a part of a folder.
type span struct{ first, last string }

// walker walks trees, each part of one once. Its methods may be called by many goroutines.
type walker struct {
	checker *checker
	view    *repo.View
	lost    *lost         // nil in the first walk
	tokens  chan struct{} // one for each goroutine that may be started
	once    bool          // no part is looked at twice; else, none that was found good
	known   index.Set     // parts that are not looked at again
	refs    [blob.Scan + 1]index.Set
	states  [snapshot.Carried + 1]atomic.Int64

	mu    sync.Mutex
	spans map[blob.ID]span // of the parts of folders that have several
}

func newWalker(c *checker, v *repo.View) *walker {
	return &walker{checker: c, view: v, tokens: make(chan struct{}, c.workers-1), spans: map[blob.ID]span{}}
}

// snapshot looks at all that a snapshot refers to: what is saved, and separately what only the next backup needs.
func (w *walker) snapshot(ctx context.Context, b *backup, saved, scanned *tour) {
	w.node(ctx, spot{tour: saved}, &b.root)
	at := spot{tour: scanned}
	for _, e := range b.scan.Elements {
		w.part(ctx, at, ofScan, b.scan.Depth, e)
	}
	if scanned.count > 0 {
		return
	}
	r := snapshot.NewScanReader(ctx, w, b.scan)
	defer r.Close()
	for range r.All() {
		continue // it is decoded, and that is all
	}
	if err := r.Err(); err != nil {
		scanned.add("", err)
	}
}

// node looks at what a node refers to, and returns how many problems it met.
func (w *walker) node(ctx context.Context, at spot, n *snapshot.Node) (problems int) {
	for i := range n.Xattrs {
		if x := &n.Xattrs[i]; !x.Ref.IsZero() {
			problems += w.resolve(at, blob.Data, x.Ref, -1)
		}
	}
	r := ofFile
	if n.Type == snapshot.Dir {
		r = ofFolder
		at.level++
		if at.level > levelsMax {
			at.fail(fmt.Errorf("folders nested more than %d deep", levelsMax))
			return problems + 1
		}
		if at.name != "" {
			at.folder, at.name = at.folder+at.name+"/", ""
		}
		at.wide = n.Content.Depth > 0
	}
	for _, e := range n.Content.Elements {
		_, p := w.part(ctx, at, r, n.Content.Depth, e)
		problems += p
	}
	return problems
}

// part looks at one element of a content and all below it. It returns the span of names in it, if it is a part of a folder with
// several, and how many problems it met.
func (w *walker) part(ctx context.Context, at spot, r role, depth uint8, e snapshot.Element) (s span, problems int) {
	if ctx.Err() != nil || !w.once && at.tour.full() {
		return s, 1
	}
	leaf, kind := depth == 0, r.kind(depth)
	if e.IsZeros() {
		if leaf && r == ofFile {
			return s, 0
		}
		at.fail(errors.New("zeros stand where metadata should be"))
		return s, 1
	}
	length := int64(-1)
	if leaf {
		length = int64(e.Length)
	}
	if problems = w.resolve(at, kind, e.ID, length); problems > 0 || leaf && r != ofFolder {
		return s, problems
	}
	key := e.ID
	key[len(index.Prefix{})-1] ^= byte(r)<<4 | depth // the same blob in another role is another thing to look at
	if s, known := w.enter(key, at); known {
		return s, 0
	}
	data, err := w.Load(ctx, kind, e.ID)
	switch {
	case err != nil:
		at.fail(err)
		return s, 1
	case leaf:
		s, problems = w.nodes(ctx, at, string(data))
	default:
		s, problems = w.list(ctx, at, r, depth, e, string(data))
	}
	w.leave(key, at, s, problems)
	return s, problems
}

// list looks at the elements of a list.
func (w *walker) list(ctx context.Context, at spot, r role, depth uint8, e snapshot.Element, data string) (s span, problems int) {
	var sum uint64
	for data != "" {
		var below snapshot.Element
		var err error
		if below, data, err = snapshot.CutElement(data); err != nil {
			at.fail(fmt.Errorf("content list %s: %w", e.ID.Short(), err))
			return s, problems + 1
		}
		if sum += below.Length; sum > e.Length {
			break
		}
		next, p := w.part(ctx, at, r, depth-1, below)
		problems += p
		if next.first != "" {
			if s.last != "" && next.first <= s.last {
				at.fail(fmt.Errorf("folder entry %q comes after %q", next.first, s.last))
				problems++
			}
			if s.first == "" {
				s.first = next.first
			}
			s.last = next.last
		}
	}
	if sum != e.Length {
		at.fail(fmt.Errorf("content list %s: its length is wrong", e.ID.Short()))
		problems++
	}
	return s, problems
}

// nodes looks at the nodes in one blob of a folder, and below them. Subfolders are given to other goroutines as long as there are idle ones.
func (w *walker) nodes(ctx context.Context, at spot, data string) (s span, problems int) {
	var below sync.WaitGroup
	var found atomic.Int64
	for data != "" {
		n := new(snapshot.Node)
		rest, err := snapshot.CutNode(data, n)
		if err == nil && n.Name <= s.last {
			err = fmt.Errorf("folder entry %q comes after %q", n.Name, s.last)
		}
		if err == nil && !goodName(n.Name) {
			err = fmt.Errorf("folder entry %q: no file can have this name", n.Name)
		}
		if err != nil {
			at.fail(err)
			found.Add(1)
			break
		}
		if s.first == "" {
			s.first = n.Name
		}
		data, s.last = rest, n.Name
		if n.Type == snapshot.File {
			w.states[n.State].Add(1)
		}
		child := spot{tour: at.tour, folder: at.folder, name: n.Name, level: at.level}
		if n.Type != snapshot.Dir {
			found.Add(int64(w.node(ctx, child, n)))
			continue
		}
		select {
		case w.tokens <- struct{}{}:
			below.Go(func() {
				defer func() { <-w.tokens }()
				found.Add(int64(w.node(ctx, child, n)))
			})
		default:
			found.Add(int64(w.node(ctx, child, n)))
		}
	}
	below.Wait()
	return s, int(found.Load())
}

// goodName reports whether a folder's entry may have that name.
func goodName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// enter reports whether a part of a tree need not be looked at, and if so gives its span of names.
func (w *walker) enter(key blob.ID, at spot) (s span, known bool) {
	if w.once {
		known = !w.known.Add(key)
	} else {
		known = w.known.Has(key)
	}
	if known && at.wide {
		w.mu.Lock()
		defer w.mu.Unlock()
		s, known = w.spans[key] // it may have been looked at as a folder of one part
	}
	return s, known
}

// leave notes what was found in a part of a tree.
func (w *walker) leave(key blob.ID, at spot, s span, problems int) {
	if !w.once && problems == 0 {
		w.known.Add(key)
	}
	if at.wide {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.spans[key] = s
	}
}

// resolve looks for a copy of a blob that can be read. length is what it should have, or negative if that is not known.
func (w *walker) resolve(at spot, kind blob.Kind, id blob.ID, length int64) (problems int) {
	w.refs[kind].Add(id)
	var buf [4]blob.Extent
	copies := w.view.Copies(id, buf[:0])
	for _, e := range copies {
		if (length < 0 || int64(e.Length) == length) && (w.lost == nil || !w.lost.has(e)) {
			return 0
		}
	}
	switch {
	case len(copies) == 0:
		at.fail(missing(kind, id))
	case length >= 0 && int64(copies[0].Length) != length:
		at.fail(fmt.Errorf("%s blob %s has %d bytes, want %d", kind, id.Short(), copies[0].Length, length))
	default:
		at.fail(fmt.Errorf("%s blob %s is damaged in pack %s", kind, id.Short(), copies[0].Pack.Short()))
	}
	return 1
}

// Load returns a blob, from any of the packs that have a good copy. Packs with a bad one are read whole later.
func (w *walker) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	var buf [4]blob.Extent
	var last error
	for _, e := range w.view.Copies(id, buf[:0]) {
		data, err := w.loadExtent(ctx, kind, id, e)
		if err == nil || ctx.Err() != nil {
			return data, err
		}
		w.checker.doubt(e.Pack)
		last = err
	}
	if last == nil {
		last = missing(kind, id)
	}
	return nil, last
}

func missing(kind blob.Kind, id blob.ID) error {
	return fmt.Errorf("%s blob %s is in no pack", kind, id.Short())
}

func (w *walker) loadExtent(ctx context.Context, kind blob.Kind, id blob.ID, e blob.Extent) ([]byte, error) {
	info, ok := w.view.Pack(e.Pack)
	if !ok {
		return nil, fmt.Errorf("%s blob %s: pack %s is gone", kind, id.Short(), e.Pack.Short())
	}
	plain, err := w.checker.repo.Segment(ctx, info, e.Segment)
	if err != nil {
		return nil, fmt.Errorf("%s blob %s: %w", kind, id.Short(), err)
	}
	if uint64(e.Offset)+uint64(e.Length) <= uint64(len(plain)) {
		if data := plain[e.Offset:][:e.Length]; w.checker.keys.ID(kind, data) == id {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%s blob %s: pack %s: %w: the bytes are others", kind, id.Short(), e.Pack.Short(), seal.ErrCorrupt)
}
