package fusefs

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
)

// historyDir is a path in the merged tree of all snapshots. It has the entries of all that were folders there, each of them a historyDir again, and
// all distinct versions of what was no folder.
type historyDir struct {
	lib    *library
	parent *historyDir // nil at the top
	name   string
	id     uint64

	mu     sync.Mutex // guards what follows, which was made from the catalog
	from   *catalog
	merged *merged
}

// merged is what a historyDir was in the snapshots of a catalog.
type merged struct {
	folders  []*treeDir // distinct ones, the oldest first
	versions []version  // distinct ones, ascending by name

	mu      sync.Mutex // guards what follows
	names   []string   // of the folders' entries, ascending; nil until listed
	damaged error      // some of them could not be read
}

// version is one of the contents that a path had.
type version struct {
	name  string
	where place
}

func (d *historyDir) path() string {
	if d.parent == nil {
		return historyName
	}
	return path.Join(d.parent.path(), d.name)
}

func (d *historyDir) snapshot() *shot { return nil }
func (d *historyDir) constant() bool  { return false }

func (d *historyDir) self(ctx context.Context, n *snapshot.Node) error {
	c, err := d.lib.catalog(ctx)
	if err != nil {
		return err
	}
	d.lib.folder(n, c.made)
	return nil
}

// resolve finds out what the path was.
func (d *historyDir) resolve(ctx context.Context) (*merged, error) {
	c, err := d.lib.catalog(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	from, m := d.from, d.merged
	d.mu.Unlock()
	if from == c {
		return m, nil
	}
	m = new(merged)
	if d.parent == nil {
		for _, s := range c.shots {
			m.addFolder(s.dir, s.root.Content)
		}
	} else {
		above, err := d.parent.resolve(ctx)
		if err != nil {
			return nil, err
		}
		if m, err = d.versionsIn(ctx, above.folders); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.from, d.merged = c, m
	return m, nil
}

func (m *merged) addFolder(t *treeDir, content snapshot.Content) {
	if !slices.ContainsFunc(m.folders, func(o *treeDir) bool { return sameContent(o.node, content) }) {
		m.folders = append(m.folders, t)
	}
}

// versionsIn looks for d's name in folders. One that can't be read does not hide the others, unless none has it.
func (d *historyDir) versionsIn(ctx context.Context, folders []*treeDir) (*merged, error) {
	m := new(merged)
	var nodes []snapshot.Node
	var damaged error
	for _, t := range folders {
		var e entry
		err := t.lookup(ctx, d.name, &e)
		switch {
		case err == errNotFound:
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil:
			damaged = err
		case e.node.Type == snapshot.Dir:
			m.addFolder(e.where.open(&e.node, e.id), e.node.Content)
		case !slices.ContainsFunc(nodes, func(n snapshot.Node) bool { return sameVersion(&n, &e.node) }):
			nodes = append(nodes, e.node)
			name := d.versionName(t.shot, &e.node, 1)
			for n := 2; slices.ContainsFunc(m.versions, func(v version) bool { return v.name == name }); n++ { // another one of that time
				name = d.versionName(t.shot, &e.node, n)
			}
			m.versions = append(m.versions, version{name, e.where})
		}
	}
	if len(m.folders)+len(m.versions) == 0 {
		if damaged != nil {
			return nil, damaged
		}
		return nil, errNotFound
	}
	slices.SortFunc(m.versions, func(a, b version) int { return strings.Compare(a.name, b.name) })
	return m, nil
}

func sameContent(a, b snapshot.Content) bool {
	return a.Depth == b.Depth && slices.Equal(a.Elements, b.Elements)
}

func sameVersion(a, b *snapshot.Node) bool {
	return a.Type == b.Type && a.State == b.State && a.Size == b.Size && a.Target == b.Target && a.Device == b.Device && sameContent(a.Content, b.Content)
}

// versionName names a version by the time of the oldest snapshot that has it, its size and, unless it is whole, its state; the second of those that
// are equal in all of this has a 2. It ends as the file's name does, so that programs know what it is.
func (d *historyDir) versionName(s *shot, n *snapshot.Node, number int) string {
	name := safeName(s.time.In(d.lib.o.Zone).Format(d.lib.o.TimeForm))
	if n.Type == snapshot.File {
		name += fmt.Sprintf("_%dB", n.Size)
	}
	if n.State != snapshot.Whole {
		name += "_" + n.State.String()
	}
	if number > 1 {
		name += fmt.Sprintf("-%d", number)
	}
	if ext := path.Ext(d.name); ext != d.name && len(ext) <= 32 {
		name += ext
	}
	return name
}

func (d *historyDir) lookup(ctx context.Context, name string, e *entry) error {
	m, err := d.resolve(ctx)
	if err != nil {
		return err
	}
	if i, ok := slices.BinarySearchFunc(m.versions, name, func(v version, name string) int { return strings.Compare(v.name, name) }); ok {
		return d.fillVersion(ctx, m.versions[i], e)
	}
	d.fill(name, e)
	_, err = e.object.(*historyDir).resolve(ctx)
	return err
}

func (d *historyDir) fill(name string, e *entry) {
	*e = entry{name: name, id: childID(d.id, name), brief: true}
	e.object = &historyDir{lib: d.lib, parent: d, name: name, id: e.id}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lib.folder(&e.node, d.from.made)
}

func (d *historyDir) fillVersion(ctx context.Context, v version, e *entry) error {
	*e = entry{name: v.name, id: childID(d.id, v.name), where: v.where, brief: true}
	return v.where.node(ctx, &e.node)
}

// list gives the versions first, then what is below. What can't be read is left out; the end is an error then.
func (d *historyDir) list(ctx context.Context, from position, fn func(*entry, position) bool) error {
	m, err := d.resolve(ctx)
	if err != nil {
		return err
	}
	names, damaged, err := m.list(ctx)
	if err != nil {
		return err
	}
	given := false
	var e entry
	for i := int(max(from, firstPosition) - firstPosition); i < len(m.versions)+len(names); i++ {
		if i < len(m.versions) {
			if err := d.fillVersion(ctx, m.versions[i], &e); err != nil {
				return err
			}
		} else {
			d.fill(names[i-len(m.versions)], &e)
		}
		given = true
		if !fn(&e, firstPosition+position(i)+1) {
			break
		}
	}
	if !given {
		return damaged
	}
	return nil
}

// list merges the names of the folders' entries.
func (m *merged) list(ctx context.Context) (names []string, damaged, err error) {
	m.mu.Lock()
	names, damaged = m.names, m.damaged
	m.mu.Unlock()
	if names != nil {
		return names, damaged, nil
	}
	names = []string{}
	for _, t := range m.folders {
		var found []string
		err := t.list(ctx, 0, func(e *entry, _ position) bool {
			if i := namesFrom(names, e.name); i == len(names) || names[i] != e.name {
				found = append(found, strings.Clone(e.name))
			}
			return true
		})
		if err == nil {
			err = t.damage()
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			damaged = err
		}
		names = append(names, found...)
		slices.Sort(names)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names, m.damaged = names, damaged
	return names, damaged, nil
}
