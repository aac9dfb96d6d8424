package fusefs

import (
	"context"
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// place says where an entry's record is: in which folder of a snapshot, in which of its blobs, and at which byte of that. The zero place is
// none. Places ascend in the order of the entries.
type place struct {
	dir *treeDir
	at  position
}

// position is a place in a folder: the number of the blob, counted from 1, and 24 bits of the offset in it. It is a
// READDIR offset as well; what is below 1<<24 there is left to "." and "..".
type position uint64

const firstPosition = position(1) << positionBits

const positionBits = 24

func positionOf(blob, off int) position { return position(blob+1)<<positionBits | position(off) }

func (p position) blob() int   { return int(p>>positionBits) - 1 }
func (p position) offset() int { return int(p & (1<<positionBits - 1)) }

// object is what the kernel knows by a number, if it is more than a record in a folder.
type object interface {
	// self describes the object; it may ask for blobs.
	self(ctx context.Context, n *snapshot.Node) error
	// path is where it is in the mount, for people.
	path() string
	// snapshot is the snapshot that it belongs to, nil if none.
	snapshot() *shot
}

// directory is an object with entries.
type directory interface {
	object
	// lookup finds an entry; errNotFound if there is none.
	lookup(ctx context.Context, name string, e *entry) error
	// list calls fn for the entries from a position on, which is 0 or one that fn was given as next; until fn says that it has enough.
	list(ctx context.Context, from position, fn func(e *entry, next position) (more bool)) error
	// constant reports whether the entries can never change.
	constant() bool
}

// entry is an entry of a directory. The one that list gives is valid until fn returns.
type entry struct {
	name   string
	id     uint64 // wanted inode number
	node   snapshot.Node
	where  place  // if it has a record
	object object // if it is more than that; nil for a folder of a snapshot, which follows from the record
	brief  bool   // it may change or go away
}

// treeDir is a folder of a snapshot.
type treeDir struct {
	shot   *shot
	store  *store
	where  place // its own record; none for the root
	parent *treeDir
	name   string
	id     uint64
	number uint32           // in the table, which guards it
	node   snapshot.Content // its entries

	mu      sync.Mutex
	blobs   []dirBlob // of its entries; nil until loaded
	damaged error     // some of them could not be read
	reads   reads

	asked atomic.Bool // somebody looked up a single entry
}

// dirBlob is a part of a folder.
type dirBlob struct {
	id    blob.ID
	first string // name of the first entry, if known; a copy
	known bool
}

func (d *treeDir) snapshot() *shot { return d.shot }
func (d *treeDir) constant() bool  { return true }

func (d *treeDir) self(ctx context.Context, n *snapshot.Node) error {
	if d.parent == nil {
		*n = d.shot.root
		return nil
	}
	return d.where.node(ctx, n)
}

func (d *treeDir) path() string {
	var names []string
	for ; d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	var b strings.Builder
	b.WriteString(*d.shot.home.Load())
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteString("/" + names[i])
	}
	return b.String()
}

// node decodes the record at a place.
func (p place) node(ctx context.Context, n *snapshot.Node) error {
	blobs, err := p.dir.parts(ctx)
	if err != nil {
		return err
	}
	t, err := p.dir.store.tree(ctx, blobs[p.at.blob()].id)
	if err != nil {
		return err
	}
	_, err = t.node(p.at.offset(), n)
	return err
}

// open returns the folder whose record is at a place.
func (p place) open(n *snapshot.Node, id uint64) *treeDir {
	return &treeDir{shot: p.dir.shot, store: p.dir.store, where: p, parent: p.dir, name: strings.Clone(n.Name), id: id, node: n.Content}
}

// parts returns the blobs that the entries are in.
func (d *treeDir) parts(ctx context.Context) ([]dirBlob, error) {
	d.mu.Lock()
	blobs := d.blobs
	d.mu.Unlock()
	if blobs != nil {
		return blobs, nil
	}
	blobs = []dirBlob{}
	for e, err := range snapshot.Elements(ctx, d.store, d.node) {
		if err != nil {
			return nil, err
		}
		if e.IsZeros() {
			return nil, fmt.Errorf("folder with a run of zeros")
		}
		blobs = append(blobs, dirBlob{id: e.ID})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blobs == nil {
		d.blobs = blobs
	}
	return d.blobs, nil
}

// fill completes e, whose node was decoded.
func (d *treeDir) fill(e *entry, at position) {
	e.name, e.where = e.node.Name, place{d, at}
	if e.node.Link.IsZero() || e.node.Type == snapshot.Dir {
		e.id = childID(d.id, e.name)
	} else {
		e.id = linkID(d.shot.id, &e.node)
	}
}

func (d *treeDir) list(ctx context.Context, from position, fn func(*entry, position) bool) error {
	blobs, err := d.parts(ctx)
	if err != nil {
		return err
	}
	if from < firstPosition {
		d.mu.Lock()
		d.damaged = nil
		d.mu.Unlock()
	}
	e, given := new(entry), false
	for from = max(from, firstPosition); from.blob() < len(blobs); {
		next, err := d.listBlob(ctx, blobs, from, e, func(e *entry, next position) bool {
			given = true
			return fn(e, next)
		})
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			d.mu.Lock()
			d.damaged = err
			d.mu.Unlock()
		}
		if next == 0 {
			return nil
		}
		from = next
	}
	if !given { // at the end, after all that can be read
		return d.damage()
	}
	return nil
}

// damage is why the last listing was not complete.
func (d *treeDir) damage() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damaged
}

// listBlob gives the entries of one blob and returns the position where to go on, 0 if fn has enough.
func (d *treeDir) listBlob(ctx context.Context, blobs []dirBlob, from position, e *entry, fn func(*entry, position) bool) (position, error) {
	number := from.blob()
	after := positionOf(number+1, 0)
	t, err := d.store.tree(ctx, blobs[number].id)
	if err != nil {
		return after, err
	}
	var damaged error
	for off := from.offset(); off < len(t.text); {
		end, err := t.node(off, &e.node)
		at, next := positionOf(number, off), after
		if end < len(t.text) {
			next = positionOf(number, end)
		}
		if err == nil && !validName(e.node.Name) {
			err = fmt.Errorf("an entry is called %q", e.node.Name)
		}
		if off = end; err != nil {
			damaged = err
			continue
		}
		if d.fill(e, at); !fn(e, next) {
			return 0, damaged
		}
	}
	return after, damaged
}

// nameMax is the longest name in bytes that FUSE can carry.
const nameMax = 1024

// validName reports whether a kernel can show such an entry.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= nameMax && !strings.ContainsAny(name, "/\x00")
}

func (d *treeDir) lookup(ctx context.Context, name string, e *entry) error {
	blobs, err := d.parts(ctx)
	if err != nil {
		return err
	}
	n, err := d.search(ctx, blobs, name)
	if err == nil {
		if n < 0 {
			return errNotFound
		}
		return d.lookupIn(ctx, blobs, n, name, e)
	}
	if ctx.Err() != nil {
		return err
	}
	for n := range blobs { // some can't be read, but perhaps not the one that matters
		if found := d.lookupIn(ctx, blobs, n, name, e); found == nil {
			return nil
		}
	}
	return err
}

// search returns the number of the blob that name would be in, -1 if none.
func (d *treeDir) search(ctx context.Context, blobs []dirBlob, name string) (int, error) {
	if len(blobs) <= 1 {
		return len(blobs) - 1, nil
	}
	var failed error
	n := sort.Search(len(blobs), func(i int) bool {
		first, err := d.first(ctx, blobs, i)
		if err != nil {
			failed = err
		}
		return first > name
	})
	return n - 1, failed
}

// first is the name that a blob begins with.
func (d *treeDir) first(ctx context.Context, blobs []dirBlob, i int) (string, error) {
	d.mu.Lock()
	b := blobs[i]
	d.mu.Unlock()
	if b.known {
		return b.first, nil
	}
	t, err := d.store.tree(ctx, b.id)
	if err != nil {
		return "", err
	}
	var n snapshot.Node
	if _, err := t.node(0, &n); err != nil {
		return "", err
	}
	b.first, b.known = strings.Clone(n.Name), true
	d.mu.Lock()
	blobs[i] = b
	d.mu.Unlock()
	return b.first, nil
}

func (d *treeDir) lookupIn(ctx context.Context, blobs []dirBlob, number int, name string, e *entry) error {
	t, err := d.store.tree(ctx, blobs[number].id)
	if err != nil {
		return err
	}
	off, err := t.find(name, &e.node)
	if err == nil {
		d.fill(e, positionOf(number, off))
	}
	return err
}

// Inode numbers are 64-bit hashes (FNV-1a, then the finisher of MurmurHash3): equal in each mount, and different but for an accident, which the
// table of known inodes notices.
const (
	rootID    = 1
	hashBegin = 0xcbf29ce484222325
	hashPrime = 0x100000001b3
)

func hashOf(seed uint64, parts ...string) uint64 {
	h := uint64(hashBegin) ^ seed
	for _, s := range parts {
		for i := 0; i < len(s); i++ {
			h = (h ^ uint64(s[i])) * hashPrime
		}
		h = (h ^ '/') * hashPrime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return min(max(h, rootID+1), math.MaxUint64-1) // the last one is go-fuse's own
}

func childID(parent uint64, name string) uint64 { return hashOf(parent, name) }

// linkID is the same for all names of one file, but for those that were captured when it held something else.
func linkID(shot uint64, n *snapshot.Node) uint64 {
	h := hashOf(^shot, string(n.Link[:]))
	for _, e := range n.Content.Elements {
		h = hashOf(h^e.Length, string(e.ID[:]))
	}
	return h
}

// reads is how the files of a folder were read so far.
type reads struct {
	last    position // the file that was read last
	pushed  position // up to where the kernel was given files
	pushing bool
}
