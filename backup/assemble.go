package backup

import (
	"context"
	"errors"
	"os/user"
	"sort"
	"strconv"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
)

// assembler encodes folders and the scan record, in walk order. It belongs to one goroutine.
type assembler struct {
	store    Store
	lane     Lane
	lists    snapshot.Lists
	progress *Progress
	record   *snapshot.Record
	scan     *snapshot.ScanBuilder
	levels   []level
	spare    []*snapshot.TreeBuilder
	loose    []snapshot.Node   // entries of the first level, if that has no tree
	inodes   map[string]uint64 // of these, but for folders, by their names
	dropped  map[string]bool   // files of databases that a restore does not need, so that the settler does not take them for new
	users    map[uint32]string
	groups   map[uint32]string
	every    time.Duration
	last     time.Time // of the last partial snapshot
}

// level is a folder that is not complete yet. The first level is the root, or has no tree and takes loose entries.
type level struct {
	node   snapshot.Node
	tree   *snapshot.TreeBuilder
	extras []extra // ascending; entries that come before the next one in the listing
}

func newAssembler(store Store, o *Options, p *Progress) *assembler {
	a := &assembler{store: store, lane: store.Lane(), progress: p, dropped: map[string]bool{}, users: map[uint32]string{}, groups: map[uint32]string{},
		every: o.PartialEvery, last: time.Now()}
	rec := o.Record
	a.record = &rec
	a.record.Root = snapshot.Node{Type: snapshot.Dir, Mode: 0o755}
	if o.Parent != nil {
		a.record.Parent = o.Parent.Name
	}
	a.lists = snapshot.Lists{Saver: a.lane, Cutter: o.Meta, Max: o.Meta.Params().Max}
	a.scan = a.lists.NewScanBuilder()
	a.levels = []level{{tree: a.lists.NewTreeBuilder()}}
	return a
}

// looseAssembler returns an assembler that collects the entries at the first level, and counts into a's record.
func (a *assembler) looseAssembler(o *Options) *assembler {
	b := newAssembler(a.store, o, a.progress)
	b.record, b.levels[0].tree, b.dropped, b.inodes = a.record, nil, a.dropped, map[string]uint64{}
	return b
}

func (a *assembler) run(ctx context.Context, order <-chan *batch) error {
	for b := range order {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		for i := range b.items {
			if err := a.add(ctx, &b.items[i]); err != nil {
				return err
			}
		}
		a.record.Problems = append(a.record.Problems, b.problems...)
		a.record.Stats.Vanished += b.vanished
		b.recycle()
		if a.levels[0].tree != nil && time.Since(a.last) >= a.every {
			if err := a.partial(ctx); err != nil {
				return err
			}
			a.last = time.Now()
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return a.finish(ctx)
}

// finish ends the root and the scan record.
func (a *assembler) finish(ctx context.Context) error {
	if a.levels[0].tree == nil {
		if err := a.addExtras(ctx, ""); err != nil {
			return err
		}
		return a.lane.Flush(ctx)
	}
	var err error
	if a.record.Root.Content, err = a.finishLevel(ctx); err != nil {
		return err
	}
	if a.record.Scan, err = a.scan.Finish(ctx); err != nil {
		return err
	}
	return a.lane.Flush(ctx)
}

// add encodes one step of the walk.
func (a *assembler) add(ctx context.Context, it *item) error {
	switch it.kind {
	case itemGone:
		if it.set != nil && it.set.taken {
			a.dropped[it.path()] = true
		}
		return nil
	case itemEnter:
		return a.enter(ctx, it)
	case itemLeave:
		return a.leave(ctx)
	}
	if err := a.addExtras(ctx, it.node.Name); err != nil {
		return err
	}
	if err := saveXattrs(ctx, a.lane, it.node.Xattrs); err != nil { // of what has no content; files have it behind them
		return err
	}
	if err := a.addNode(ctx, &it.node, &it.seen, it.encoded); err != nil {
		return err
	}
	a.count(it)
	top := &a.levels[len(a.levels)-1]
	if len(it.extras) > 0 {
		top.extras = append(top.extras, it.extras...)
		sort.Slice(top.extras, func(i, j int) bool { return top.extras[i].node.Name < top.extras[j].node.Name })
	}
	return nil
}

// addExtras adds the files that sets brought along and whose names come before the next one; all that are left if that is empty.
func (a *assembler) addExtras(ctx context.Context, before string) error {
	top := &a.levels[len(a.levels)-1]
	for len(top.extras) > 0 && (before == "" || top.extras[0].node.Name < before) {
		e := top.extras[0]
		top.extras = top.extras[1:]
		if err := a.addNode(ctx, &e.node, &e.seen, ""); err != nil {
			return err
		}
		a.countFile(&e.node, e.change)
		a.record.Capture.Methods[e.seen.Method]++
	}
	return nil
}

func (a *assembler) addNode(ctx context.Context, n *snapshot.Node, seen *snapshot.Seen, encoded string) error {
	if err := a.scan.Entry(ctx, seen); err != nil {
		return err
	}
	if len(a.levels) == 1 && a.inodes != nil {
		a.inodes[n.Name] = seen.Inode
	}
	if encoded != "" {
		return a.levels[len(a.levels)-1].tree.AddEncoded(ctx, n.Name, encoded)
	}
	return a.put(ctx, n)
}

// put adds a node to the innermost folder.
func (a *assembler) put(ctx context.Context, n *snapshot.Node) error {
	a.name(n)
	if tree := a.levels[len(a.levels)-1].tree; tree != nil {
		return tree.Add(ctx, n)
	}
	a.loose = append(a.loose, *n)
	return nil
}

func (a *assembler) enter(ctx context.Context, it *item) error {
	if err := a.addExtras(ctx, it.node.Name); err != nil {
		return err
	}
	if err := saveXattrs(ctx, a.lane, it.node.Xattrs); err != nil {
		return err
	}
	if it.fsID != "" {
		if err := a.scan.Mount(ctx, it.fsID); err != nil {
			return err
		}
	}
	if err := a.scan.Enter(ctx, &it.seen); err != nil {
		return err
	}
	a.record.Stats.Folders++
	if it.change == isNew {
		a.record.Stats.FoldersNew++
	} else if it.change == isUnchanged {
		a.record.Stats.FoldersUnchanged++
	}
	l := level{node: it.node}
	if k := len(a.spare); k > 0 {
		l.tree, a.spare = a.spare[k-1], a.spare[:k-1]
		l.tree.Reset()
	} else {
		l.tree = a.lists.NewTreeBuilder()
	}
	a.levels = append(a.levels, l)
	return nil
}

func (a *assembler) leave(ctx context.Context) error {
	content, err := a.finishLevel(ctx)
	if err != nil {
		return err
	}
	last := len(a.levels) - 1
	node := a.levels[last].node
	a.spare = append(a.spare, a.levels[last].tree)
	a.levels[last] = level{}
	a.levels = a.levels[:last]
	node.Content = content
	if err := a.scan.Leave(ctx); err != nil {
		return err
	}
	return a.put(ctx, &node)
}

// finishLevel ends the innermost folder.
func (a *assembler) finishLevel(ctx context.Context) (snapshot.Content, error) {
	if err := a.addExtras(ctx, ""); err != nil {
		return snapshot.Content{}, err
	}
	return a.levels[len(a.levels)-1].tree.Finish(ctx)
}

// partial stores what is there so far as a snapshot of its own: a root that keeps it, and a parent to go on from.
func (a *assembler) partial(ctx context.Context) error {
	scan := a.scan.Clone()
	var below *snapshot.Node
	for i := len(a.levels) - 1; i >= 0; i-- {
		tree := a.levels[i].tree.Clone()
		if below != nil {
			if err := tree.Add(ctx, below); err != nil {
				return err
			}
			if err := scan.Leave(ctx); err != nil {
				return err
			}
		}
		for _, e := range a.levels[i].extras { // they come behind the folder that is open
			a.name(&e.node)
			if err := errors.Join(tree.Add(ctx, &e.node), scan.Entry(ctx, &e.seen)); err != nil {
				return err
			}
		}
		content, err := tree.Finish(ctx)
		if err != nil {
			return err
		}
		node := a.levels[i].node
		if i == 0 {
			node = a.record.Root
		}
		node.Content = content
		a.name(&node)
		below = &node
	}
	rec := *a.record
	rec.Root, rec.Partial, rec.End = *below, true, time.Now()
	var err error
	if rec.Scan, err = scan.Finish(ctx); err != nil {
		return err
	}
	rec.Stats.Blobs, rec.Stats.Added, rec.Stats.Stored = a.store.Added()
	_, err = a.store.PutSnapshot(ctx, rec.Encode())
	return err
}

// count adds an entry to the statistics.
func (a *assembler) count(it *item) {
	s := &a.record.Stats
	switch it.node.Type {
	case snapshot.File:
	case snapshot.Dir:
		s.Folders++
		return
	default:
		s.Others++
		return
	}
	a.countFile(&it.node, it.change)
	s.Read += it.bytes
	if it.read {
		a.record.Capture.Methods[it.seen.Method]++
	} else {
		a.progress.Files.Add(1)
		a.progress.Bytes.Add(it.node.Size)
	}
}

// countFile adds a file that is in the snapshot.
func (a *assembler) countFile(n *snapshot.Node, how change) {
	s, c := &a.record.Stats, &a.record.Capture
	s.Files++
	s.Bytes += n.Size
	switch how {
	case isNew:
		s.New++
	case isChanged:
		s.Changed++
	case isUnchanged:
		s.Unchanged++
	}
	switch n.State {
	case snapshot.Whole:
		c.Whole++
	case snapshot.Appended:
		c.Appended++
	case snapshot.Torn:
		c.Torn++
	case snapshot.Carried:
		c.Carried++
	}
}

// name fills in the names of owner and group where the backup runs.
func (a *assembler) name(n *snapshot.Node) {
	var ok bool
	if n.User, ok = a.users[n.UID]; !ok {
		if u, err := user.LookupId(strconv.FormatUint(uint64(n.UID), 10)); err == nil {
			n.User = u.Username
		}
		a.users[n.UID] = n.User
	}
	if n.Group, ok = a.groups[n.GID]; !ok {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(n.GID), 10)); err == nil {
			n.Group = g.Name
		}
		a.groups[n.GID] = n.Group
	}
}
