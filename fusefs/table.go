package fusefs

import (
	"context"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
)

// table has the inodes that the kernel knows, and the root. There may be millions of them, so what it keeps of most has no pointers: the garbage
// collector need not look at it.
type table struct {
	mu      sync.Mutex // guards what follows
	known   map[uint64]known
	objects map[uint64]object // of the known inodes that are no records, and of folders that somebody looked into
	dirs    []dirInUse        // that known has places in; number 0 is none
	free    []uint32          // numbers of dirs that are in use no more
}

// known is what is kept of an inode.
type known struct {
	at      position
	dir     uint32 // in table.dirs
	lookups uint32 // how often the kernel was told of it, less what it forgot
}

// dirInUse is a folder with known entries.
type dirInUse struct {
	dir     *treeDir
	entries int
}

// node is an inode that the kernel knows, as the table gives it out.
type node struct {
	id     uint64
	where  place
	object object
}

func newTable(root object) *table {
	return &table{known: map[uint64]known{rootID: {lookups: 1}}, objects: map[uint64]object{rootID: root}, dirs: make([]dirInUse, 1)}
}

// get returns a known inode, and false if the kernel should not know it.
func (t *table) get(id uint64) (node, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.known[id]
	if !ok {
		return node{}, false
	}
	n := node{id: id, object: t.objects[id]}
	if k.dir != 0 {
		n.where = place{t.dirs[k.dir].dir, k.at}
	}
	return n, true
}

// has reports whether the kernel knows an inode.
func (t *table) has(id uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.known[id]
	return ok
}

// remember counts that the kernel is told of e, and returns its number: the one that e wants, unless another inode has it.
func (t *table) remember(e *entry) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := e.id; ; id++ {
		k, ok := t.known[id]
		if !ok {
			k = known{at: e.where.at, dir: t.useLocked(e.where.dir)}
			if e.object != nil {
				t.objects[id] = e.object
			}
		} else if !t.sameLocked(id, k, e) {
			continue
		}
		k.lookups++
		t.known[id] = k
		return id
	}
}

// sameLocked reports whether a known inode is e's. A file with several names has several places, and its number comes from its link key alone.
func (t *table) sameLocked(id uint64, k known, e *entry) bool {
	if e.where.dir == nil || k.dir == 0 {
		return e.where.dir == nil && k.dir == 0 && t.objects[id].path() == e.object.path()
	}
	dir := t.dirs[k.dir].dir
	if e.node.Type != snapshot.Dir && !e.node.Link.IsZero() {
		return dir.shot == e.where.dir.shot
	}
	return k.at == e.where.at && dir.id == e.where.dir.id
}

// useLocked returns the number of a folder that one more entry is known of.
func (t *table) useLocked(d *treeDir) uint32 {
	if d == nil {
		return 0
	}
	if d.number == 0 {
		if n := len(t.free); n > 0 {
			d.number, t.free = t.free[n-1], t.free[:n-1]
		} else {
			d.number = uint32(len(t.dirs))
			t.dirs = append(t.dirs, dirInUse{})
		}
		t.dirs[d.number].dir = d
	}
	t.dirs[d.number].entries++
	return d.number
}

// forget takes back that the kernel was told of an inode so many times.
func (t *table) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.known[id]
	if !ok || id == rootID {
		return
	}
	if lookups < uint64(k.lookups) {
		k.lookups -= uint32(lookups)
		t.known[id] = k
		return
	}
	delete(t.known, id)
	delete(t.objects, id)
	if k.dir == 0 {
		return
	}
	if use := &t.dirs[k.dir]; use.entries > 1 {
		use.entries--
	} else {
		use.dir.number = 0
		*use = dirInUse{}
		t.free = append(t.free, k.dir)
	}
}

// directory returns what an inode has of entries, nil if it is no folder.
func (t *table) directory(ctx context.Context, n node) (directory, error) {
	if n.object == nil {
		var found snapshot.Node
		if err := n.where.node(ctx, &found); err != nil {
			return nil, err
		}
		if found.Type != snapshot.Dir {
			return nil, nil
		}
		n.object = t.settle(n.id, n.where.open(&found, n.id))
	}
	d, _ := n.object.(directory)
	return d, nil
}

// settle makes o the object of an inode, unless another one came first.
func (t *table) settle(id uint64, o object) object {
	t.mu.Lock()
	defer t.mu.Unlock()
	if first := t.objects[id]; first != nil {
		return first
	}
	if _, ok := t.known[id]; ok {
		t.objects[id] = o
	}
	return o
}

// describe describes an inode.
func (n node) describe(ctx context.Context, into *snapshot.Node) error {
	if n.where.dir != nil {
		return n.where.node(ctx, into)
	}
	return n.object.self(ctx, into)
}

// path is where an inode is in the mount, for people.
func (n node) path(ctx context.Context) string {
	if n.where.dir == nil {
		return n.object.path()
	}
	var found snapshot.Node
	if err := n.where.node(ctx, &found); err != nil {
		return n.where.dir.path() + "/?"
	}
	return n.where.dir.path() + "/" + found.Name
}

// shot is the snapshot that an inode belongs to, nil if none.
func (n node) shot() *shot {
	if n.where.dir != nil {
		return n.where.dir.shot
	}
	return n.object.snapshot()
}
