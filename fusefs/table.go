package fusefs

import (
	"context"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
)

// node is an inode that the kernel knows. There may be millions of them.
type node struct {
	id      uint64
	lookups uint64 // how often the kernel was told of it, less what it forgot; guarded by the table
	where   place
	object  object // guarded by the table; nil for what is no folder, and for a folder that nobody looked into
}

// table has the inodes that the kernel knows, and the root.
type table struct {
	mu    sync.Mutex
	nodes map[uint64]*node
}

func newTable(root object) *table {
	return &table{nodes: map[uint64]*node{rootID: {id: rootID, lookups: 1, object: root}}}
}

// get returns a known inode, nil if the kernel should not know it.
func (t *table) get(id uint64) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[id]
}

// remember counts that the kernel is told of e, and returns its number: the one that e wants, unless another inode has it.
func (t *table) remember(e *entry) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	linked := e.object == nil && !e.node.Link.IsZero()
	for id := e.id; ; id++ {
		n := t.nodes[id]
		if n == nil {
			n = &node{id: id, where: e.where, object: e.object}
			t.nodes[id] = n
		}
		if n.same(e, linked) {
			n.lookups++
			return id
		}
	}
}

// same reports whether n is e's inode. A file with several names has several places, and its number comes from its link key alone.
func (n *node) same(e *entry, linked bool) bool {
	if e.where.dir == nil || n.where.dir == nil {
		return e.where.dir == nil && n.where.dir == nil && n.object.path() == e.object.path()
	}
	if linked {
		return n.where.dir.shot == e.where.dir.shot
	}
	return n.where.at == e.where.at && n.where.dir.id == e.where.dir.id
}

// forget takes back that the kernel was told of an inode so many times.
func (t *table) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[id]
	if n == nil || id == rootID {
		return
	}
	if n.lookups -= min(lookups, n.lookups); n.lookups == 0 {
		delete(t.nodes, id)
	}
}

// has reports whether the kernel knows an inode.
func (t *table) has(id uint64) bool { return t.get(id) != nil }

// describe describes an inode.
func (t *table) describe(ctx context.Context, n *node, into *snapshot.Node) error {
	if n.where.dir != nil {
		return n.where.node(ctx, into)
	}
	return n.object.self(ctx, into)
}

// directory returns what an inode has of entries, nil if it is no folder.
func (t *table) directory(ctx context.Context, n *node) (directory, error) {
	t.mu.Lock()
	o := n.object
	t.mu.Unlock()
	if o == nil {
		var found snapshot.Node
		if err := n.where.node(ctx, &found); err != nil {
			return nil, err
		}
		if found.Type != snapshot.Dir {
			return nil, nil
		}
		t.mu.Lock()
		if n.object == nil {
			n.object = n.where.open(&found, n.id)
		}
		o = n.object
		t.mu.Unlock()
	}
	d, _ := o.(directory)
	return d, nil
}

// path is where an inode is in the mount, for people.
func (t *table) path(ctx context.Context, n *node) string {
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
func (n *node) shot() *shot {
	if n.where.dir != nil {
		return n.where.dir.shot
	}
	return n.object.snapshot()
}
