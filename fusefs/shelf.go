package fusefs

import (
	"context"
	"path"
	"sort"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
)

// library is what the objects of the layout share.
type library struct {
	*librarian
	uid, gid uint32 // who mounted
}

// folder describes a folder that is in no snapshot. Its time changes with the catalog, which is how the kernel sees that it must list it again.
func (l *library) folder(n *snapshot.Node, t time.Time) {
	*n = snapshot.Node{Type: snapshot.Dir, Mode: 0o555, UID: l.uid, GID: l.gid, ModTime: snapshot.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}}
}

func (l *library) link(n *snapshot.Node, target string, t time.Time) {
	l.folder(n, t)
	n.Type, n.Mode, n.Target, n.Size = snapshot.Symlink, 0o777, target, uint64(len(target))
}

// shelfDir is a folder of the layout.
type shelfDir struct {
	lib *library
	at  string
	id  uint64
}

func (d *shelfDir) path() string    { return d.at }
func (d *shelfDir) snapshot() *shot { return nil }
func (d *shelfDir) constant() bool  { return false }

func (d *shelfDir) self(ctx context.Context, n *snapshot.Node) error {
	c, err := d.lib.catalog(ctx)
	if err != nil {
		return err
	}
	d.lib.folder(n, c.made)
	return nil
}

func (d *shelfDir) shelf(ctx context.Context) (*catalog, *shelf, error) {
	c, err := d.lib.catalog(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := c.shelves[d.at]
	if s == nil {
		return nil, nil, errNotFound // its last snapshot was forgotten
	}
	return c, s, nil
}

func (d *shelfDir) lookup(ctx context.Context, name string, e *entry) error {
	c, s, err := d.shelf(ctx)
	if err != nil {
		return err
	}
	it, ok := s.items[name]
	if !ok {
		return errNotFound
	}
	d.fill(c, name, it, e)
	return nil
}

func (d *shelfDir) fill(c *catalog, name string, it item, e *entry) {
	*e = entry{name: name, brief: true}
	at := path.Join(d.at, name)
	switch {
	case it.shot != nil:
		e.node, e.object, e.id = it.shot.root, it.shot.dir, it.shot.id
	case it.target != "":
		d.lib.link(&e.node, it.target, c.made)
		e.object, e.id = &shelfLink{at, e.node}, hashOf(d.id, name, it.target)
	case at == historyName:
		d.lib.folder(&e.node, c.made)
		e.id = childID(d.id, name)
		e.object = &historyDir{lib: d.lib, id: e.id}
	default:
		d.lib.folder(&e.node, c.made)
		e.id = childID(d.id, name)
		e.object = &shelfDir{d.lib, at, e.id}
	}
}

func (d *shelfDir) list(ctx context.Context, from position, fn func(*entry, position) bool) error {
	c, s, err := d.shelf(ctx)
	if err != nil {
		return err
	}
	var e entry
	for i := int(max(from, firstPosition) - firstPosition); i < len(s.names); i++ {
		d.fill(c, s.names[i], s.items[s.names[i]], &e)
		if !fn(&e, firstPosition+position(i)+1) {
			break
		}
	}
	return nil
}

// shelfLink is a symlink of the layout. What it means never changes: a link that means something else is another inode.
type shelfLink struct {
	at   string
	node snapshot.Node
}

func (l *shelfLink) path() string    { return l.at }
func (l *shelfLink) snapshot() *shot { return nil }

func (l *shelfLink) self(_ context.Context, n *snapshot.Node) error {
	*n = l.node
	return nil
}

// namesFrom returns the index of the first of the ascending names that is not below name.
func namesFrom(names []string, name string) int { return sort.SearchStrings(names, name) }
