package dir_test

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"testing/fstest"

	"github.com/tarn-backup/tarn/repo/storage/dir"
)

// keep says what a power cut leaves of that which was not synced.
type keep int

const (
	keepNothing keep = iota
	keepEverything
	keepSome // by a seed: any blocks of a file, and for each name any of the states that it had since its folder was synced
)

// simDisk is a disk that remembers for each file which bytes were synced, and for each folder which names were. It
// promises nothing that POSIX does not: an fsync of a file says nothing about its name, a rename is two changes in two
// folders, each of which may be lost, and changes may reach the disk in any order.
type simDisk struct {
	mu   sync.Mutex
	root *node
	hook func() // is called before each change, without the lock
}

// node is a file or a folder.
type node struct {
	folder bool
	data   []byte           // of a file: what readers see; only ever appended to
	synced int              // of a file: how many bytes of data are durable
	now    map[string]*node // of a folder: what readers see
	saved  map[string]*node // of a folder: what is durable
	// since has what each name stood for after each change since the folder was synced, nil for nothing.
	since map[string][]*node
}

const blockSize = 512

func newSimDisk() *simDisk { return &simDisk{root: newFolder()} }

func newFolder() *node {
	return &node{folder: true, now: map[string]*node{}, saved: map[string]*node{}, since: map[string][]*node{}}
}

// set changes what a name of a folder stands for.
func (n *node) set(name string, to *node) {
	n.since[name] = append(n.since[name], to)
	if to == nil {
		delete(n.now, name)
	} else {
		n.now[name] = to
	}
}

func (n *node) sync() {
	if n.folder {
		n.saved, n.since = maps.Clone(n.now), map[string][]*node{}
	}
	n.synced = len(n.data)
}

// change calls op with the lock, and the hook before it.
func (d *simDisk) change(op func() error) error {
	if d.hook != nil {
		d.hook()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return op()
}

// findLocked returns what a name stands for.
func (d *simDisk) findLocked(name string) (*node, error) {
	n := d.root
	if name == "." {
		return n, nil
	}
	for rest := name; rest != ""; {
		var part string
		part, rest = cut(rest)
		if !n.folder {
			return nil, &fs.PathError{Op: "find", Path: name, Err: syscall.ENOTDIR}
		}
		if n = n.now[part]; n == nil {
			return nil, &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

func cut(name string) (first, rest string) {
	for i := range name {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func (d *simDisk) Close() error { return nil }

func (d *simDisk) Open(name string) (fs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.findLocked(name)
	if err != nil {
		return nil, err
	}
	if !n.folder {
		return fstest.MapFS{"file": n.mapFile()}.Open("file")
	}
	m := fstest.MapFS{}
	for name, child := range n.now {
		m[name] = child.mapFile()
	}
	return m.Open(".")
}

func (n *node) mapFile() *fstest.MapFile {
	if n.folder {
		return &fstest.MapFile{Mode: fs.ModeDir | 0o700}
	}
	return &fstest.MapFile{Mode: 0o600, Data: n.data}
}

func (d *simDisk) Stat(name string) (fs.FileInfo, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

func (d *simDisk) Create(name string) (dir.File, error) {
	file := &simFile{disk: d, node: &node{}}
	return file, d.change(func() error {
		folder, err := d.findLocked(path.Dir(name))
		if err != nil {
			return err
		}
		if folder.now[path.Base(name)] != nil {
			return fs.ErrExist
		}
		folder.set(path.Base(name), file.node)
		return nil
	})
}

func (d *simDisk) Mkdir(name string) error {
	return d.change(func() error {
		folder, err := d.findLocked(path.Dir(name))
		if err != nil {
			return err
		}
		if folder.now[path.Base(name)] != nil {
			return fs.ErrExist
		}
		folder.set(path.Base(name), newFolder())
		return nil
	})
}

func (d *simDisk) Place(from, to string) error {
	return d.change(func() error {
		if n, _ := d.findLocked(to); n != nil {
			return fs.ErrExist
		}
		return d.renameLocked(from, to)
	})
}

func (d *simDisk) Rename(from, to string) error {
	return d.change(func() error { return d.renameLocked(from, to) })
}

func (d *simDisk) renameLocked(from, to string) error {
	n, err := d.findLocked(from)
	if err != nil {
		return err
	}
	source, err := d.findLocked(path.Dir(from))
	if err != nil {
		return err
	}
	target, err := d.findLocked(path.Dir(to))
	if err != nil {
		return err
	}
	target.set(path.Base(to), n)
	source.set(path.Base(from), nil)
	return nil
}

func (d *simDisk) Remove(name string) error {
	return d.change(func() error {
		if _, err := d.findLocked(name); err != nil {
			return err
		}
		folder, err := d.findLocked(path.Dir(name))
		if err != nil {
			return err
		}
		folder.set(path.Base(name), nil)
		return nil
	})
}

func (d *simDisk) SyncFile(name string) error { return d.syncNode(name) }

func (d *simDisk) SyncFolder(name string) error { return d.syncNode(name) }

func (d *simDisk) syncNode(name string) error {
	return d.change(func() error {
		n, err := d.findLocked(name)
		if err != nil {
			return err
		}
		n.sync()
		return nil
	})
}

// simFile is a file that is being written.
type simFile struct {
	disk *simDisk
	node *node
}

func (f *simFile) Write(p []byte) (int, error) {
	return len(p), f.disk.change(func() error {
		f.node.data = append(f.node.data, p...)
		return nil
	})
}

func (f *simFile) Sync() error {
	return f.disk.change(func() error {
		f.node.sync()
		return nil
	})
}

func (f *simFile) Close() error { return nil }

// afterCut returns the disk as it comes up after a power cut at this moment.
func (d *simDisk) afterCut(mode keep, rng *rand.Rand) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := cutter{mode: mode, rng: rng, done: map[*node]*node{}}
	return &simDisk{root: c.node(d.root)}
}

type cutter struct {
	mode keep
	rng  *rand.Rand
	done map[*node]*node // a file that has two names after the cut has the same bytes under both
}

func (c *cutter) node(n *node) *node {
	if n == nil {
		return nil
	}
	if c.done[n] != nil {
		return c.done[n]
	}
	left := &node{folder: n.folder}
	c.done[n] = left
	if !n.folder {
		left.data = c.bytes(n)
		left.sync()
		return left
	}
	*left = *newFolder()
	all := maps.Clone(n.saved)
	for name := range n.since {
		all[name] = nil
	}
	for _, name := range slices.Sorted(maps.Keys(all)) { // in order, so that a seed says all
		states := append([]*node{n.saved[name]}, n.since[name]...)
		if state := c.node(states[c.pick(len(states))]); state != nil {
			left.now[name] = state
		}
	}
	left.sync()
	return left
}

// pick returns one of n states, the first of which is the durable one.
func (c *cutter) pick(n int) int {
	switch c.mode {
	case keepNothing:
		return 0
	case keepEverything:
		return n - 1
	}
	return c.rng.IntN(n)
}

// bytes returns what is left of a file: what was synced, and of the rest any length with any of its blocks, the others
// being zeros.
func (c *cutter) bytes(n *node) []byte {
	left := slices.Clone(n.data[:n.synced+c.pick(len(n.data)-n.synced+1)])
	for off := n.synced; off < len(left); off += blockSize {
		if c.pick(2) == 0 {
			clear(left[off:min(off+blockSize, len(left))])
		}
	}
	return left
}
