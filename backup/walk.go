package backup

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
	"github.com/zeebo/blake3"
)

// walker goes through the source in walk order and makes batches.
type walker struct {
	ctx      context.Context
	o        *Options
	store    Store
	progress *Progress
	order    chan<- *batch // all batches, in walk order
	work     chan<- *batch // those that have something to be read
	cur      *batch
	owner    uint32 // of the files in cur
	previous *previous
	links    map[inode]linked
	device   uint64 // of the path that is being backed up, for OneFileSystem
	fsID     string // of the same, where that is a folder
	number   int    // of that path
	base     string // of that path
	looks    []look // at all folders, for the settler
}

type inode struct{ device, number uint64 }

// linked is what is known of an inode with several names.
type linked struct {
	key  snapshot.LinkKey
	left uint64 // names that were not seen yet
}

// raceWindow is how far before the stat a change must lie for the next backup to trust that none came after: a clock tick
// does not tell two changes apart, and file systems keep up to 2 s of it.
const raceWindow = 2 * time.Second

// run walks all targets.
func (w *walker) run(root *target) error {
	if root.asked {
		if err := w.whole(root); err != nil {
			return err
		}
	} else if err := w.above(root, "/"); err != nil {
		return err
	}
	return nil
}

// whole backs up everything from "/".
func (w *walker) whole(root *target) error {
	region := w.o.Held.Begins("/")
	dir, err := region.Open("/")
	if err != nil {
		return err
	}
	defer dir.Release()
	st, err := dir.Stat()
	if err != nil {
		return err
	}
	fs := fileSystem(dir, region)
	w.number, w.base, w.device, w.fsID = root.number, "/", st.Device, fs.ID
	return w.entries(&folder{Dir: dir, path: "/", region: region}, fs)
}

// above goes through folders that are only on the way to what was asked for. They are stored with mode and owner alone, since their times
// and entries are not part of the backup.
func (w *walker) above(t *target, at string) error {
	for _, next := range t.below {
		full := strings.TrimSuffix(at, "/") + "/" + next.name
		if next.asked {
			if err := w.asked(next, at, full); err != nil {
				return err
			}
			continue
		}
		dir, err := source.OpenDir(full)
		if err != nil {
			w.problem(snapshot.Unreadable, full, err)
			continue
		}
		st, err := dir.Stat()
		dir.Release()
		if err != nil {
			w.problem(snapshot.Unreadable, full, err)
			continue
		}
		k := w.previous.find(next.name)
		it := item{kind: itemEnter, dir: &folder{path: at}, node: snapshot.Node{Name: next.name, Type: snapshot.Dir, Mode: st.Mode, UID: st.UID, GID: st.GID}}
		it.seen.Name = next.name
		if err := w.emit(it); err != nil {
			return err
		}
		w.previous.enter(k)
		if err := w.above(next, full); err != nil {
			return err
		}
		w.previous.leave()
		if err := w.emit(item{kind: itemLeave}); err != nil {
			return err
		}
	}
	return nil
}

// asked backs up one path that was asked for.
func (w *walker) asked(t *target, at, full string) error {
	region := w.o.Held.Around(at)
	parent, err := region.Open(at)
	if err != nil {
		w.problem(snapshot.Unreadable, full, err)
		return nil
	}
	dir := &folder{Dir: parent, path: at, region: region}
	defer dir.Release()
	st, err := dir.Lstat(t.name)
	if err != nil {
		w.problem(snapshot.Unreadable, full, err)
		return nil
	}
	w.number, w.base, w.device, w.fsID = t.number, full, st.Device, ""
	if begins := w.o.Held.Begins(full); begins != nil {
		w.device = 0 // set by the folder itself
	}
	return w.entry(dir, t.name, full, &st, source.FileSystem{}, nil)
}

// entries goes through the entries of an open folder.
func (w *walker) entries(dir *folder, fs source.FileSystem) error {
	names, err := dir.List()
	if err != nil {
		w.problem(snapshot.Unreadable, dir.path, err)
		return nil
	}
	w.cluster(dir, names)
	if left, ok := tagged(w.o, dir, names); ok {
		names = left
	}
	return w.each(dir, names, fs)
}

// each goes through entries of a folder.
func (w *walker) each(dir *folder, names []string, fs source.FileSystem) error {
	sets := newSets(names)
	for _, name := range names {
		if err := w.listed(dir, name, fs, sets[name]); err != nil {
			return err
		}
		if set := sets[name]; set != nil && set.database == name && !set.given {
			close(set.done) // nobody reads the database, so nobody must wait for it
		}
	}
	return nil
}

// listed handles a name that the folder was said to have.
func (w *walker) listed(dir *folder, name string, fs source.FileSystem, set *fileSet) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	full := strings.TrimSuffix(dir.path, "/") + "/" + name
	st, err := dir.Lstat(name)
	if err != nil {
		if source.IsGone(err) {
			w.cur.vanished++
		} else {
			w.problem(snapshot.Unreadable, full, err)
		}
		return nil
	}
	if w.o.Exclude != nil && w.o.Exclude.Match(full, st.Type == snapshot.Dir) || w.o.Held.Skip(full) {
		return nil
	}
	return w.entry(dir, name, full, &st, fs, set)
}

// tagged reports whether the folder is marked to be left out, and what stays of it: the mark.
func tagged(o *Options, dir *folder, names []string) ([]string, bool) {
	for _, mark := range o.ExcludeIfPresent {
		if _, ok := slices.BinarySearch(names, mark); ok {
			return []string{mark}, true
		}
	}
	if o.ExcludeCaches {
		if _, ok := slices.BinarySearch(names, cacheTag); ok && isCacheTag(dir) {
			return []string{cacheTag}, true
		}
	}
	return nil, false
}

// The Cache Directory Tagging Specification, bford.info/cachedir.
const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

func isCacheTag(dir *folder) bool {
	f, err := dir.OpenFile(cacheTag)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(cacheSignature))
	n, _ := f.Read(head)
	return string(head[:n]) == cacheSignature
}

// entry handles one entry; fs is the file system of its folder, without an ID above the paths that were asked for.
func (w *walker) entry(dir *folder, name, full string, st *source.Stat, fs source.FileSystem, set *fileSet) error {
	k := w.previous.find(name)
	it := item{dir: dir, stat: *st, set: set}
	fillNode(&it.node, name, st, w.o.AccessTime)
	it.seen = snapshot.Seen{Name: name, Inode: st.Inode}
	if !racy(st, time.Now()) {
		it.seen.ChangeTime = st.ChangeTime
	}
	if st.Type == snapshot.Dir {
		return w.folder(it, k, full, fs)
	}
	if fs.ID == "" {
		fs = fileSystem(dir.Dir, dir.region) // a file that was asked for by its path
	}
	w.change(&it, &k)
	switch st.Type {
	case 0:
		w.problem(snapshot.Unreadable, full, errors.New("of a type that tarn does not know"))
		return nil
	case snapshot.File:
		return w.file(it, k, full, fs)
	case snapshot.Symlink:
		target, err := dir.Readlink(name)
		if err != nil {
			w.problem(snapshot.Unreadable, full, err)
			return nil
		}
		it.node.Target = target
	}
	w.link(&it, full)
	if k.sameEntry(st, fs) {
		it.node.Xattrs, it.change = k.node.Xattrs, isUnchanged
	} else {
		xattrs, err := dir.Attr(name)
		it.node.Xattrs = xattrs
		if err != nil && !source.IsGone(err) {
			w.problem(snapshot.ProblemAttr, full, err)
		}
	}
	return w.emit(it)
}

func (w *walker) change(it *item, k *known) {
	if k.node != nil {
		it.change = isChanged
	}
}

// file handles a regular file: its node is taken over, or it is given to a reader.
func (w *walker) file(it item, k known, full string, fs source.FileSystem) error {
	if w.o.ExcludeLarger > 0 && it.stat.Size > w.o.ExcludeLarger {
		return nil
	}
	w.link(&it, full)
	if it.set == nil && k.sameFile(&it.stat, fs) && w.stored(k.node) {
		it.change, it.seen = isUnchanged, k.seen
		it.encoded = k.encoded
		if k.node.Link != it.node.Link || w.o.AccessTime || k.node.AccessTime != (snapshot.Time{}) {
			node := *k.node
			node.Link, node.AccessTime = it.node.Link, it.node.AccessTime
			it.node, it.encoded = node, ""
		}
		it.node.Size = it.stat.Size
		return w.emit(it)
	}
	if k.node != nil {
		was := *k.node
		it.was = &was
	}
	if it.set != nil && it.set.database == it.node.Name {
		it.set.given = true
	}
	it.read = true
	it.dir.Hold()
	return w.emit(it)
}

// stored reports whether all blobs that a node needs may be referred to.
func (w *walker) stored(n *snapshot.Node) bool {
	for _, x := range n.Xattrs {
		if !x.Ref.IsZero() && !w.store.Has(x.Ref) {
			return false
		}
	}
	return w.storedContent(n.Content)
}

func (w *walker) storedContent(c snapshot.Content) bool {
	for _, e := range c.Elements {
		if !e.IsZeros() && !w.store.Has(e.ID) {
			return false
		}
	}
	if c.Depth == 0 {
		return true
	}
	for below, err := range snapshot.Below(w.ctx, w.previous.loader, c) {
		if err != nil || !w.storedContent(below) {
			return false
		}
	}
	return true
}

// folder handles a folder and all below it.
func (w *walker) folder(it item, k known, full string, fs source.FileSystem) error {
	region := it.dir.region
	begins := w.o.Held.Begins(full)
	dir, err := w.open(&it, full, begins)
	if err != nil {
		if source.IsGone(err) {
			w.cur.vanished++
			return nil
		}
		w.problem(snapshot.Unreadable, full, err)
		if k.node != nil && k.node.Type == snapshot.Dir && w.storedContent(k.node.Content) {
			it.node.Content, it.node.State = k.node.Content, snapshot.Carried // restoring what it held is better than nothing
		}
		it.kind = itemEntry
		return w.emit(it)
	}
	if begins != nil {
		region = begins
	}
	sub := &folder{Dir: dir, path: full, region: region, recovers: it.dir.recovers}
	defer sub.Release()
	here := fs
	if fs.ID == "" || begins != nil || w.crossed(it.dir, &it.stat) {
		if here = fileSystem(dir, region); here.ID != fs.ID {
			it.fsID = here.ID
		}
	}
	if k.sameEntry(&it.stat, here) {
		it.node.Xattrs, it.node.Flags, it.change = k.node.Xattrs, k.node.Flags, isUnchanged
	} else {
		w.change(&it, &k)
		var err error
		if it.node.Xattrs, it.node.Flags, err = source.FileAttr(dir.FD()); err != nil {
			w.problem(snapshot.ProblemAttr, full, err)
		}
	}
	it.kind = itemEnter
	if w.device == 0 {
		w.device = it.stat.Device // of the path that was asked for, where that is held
	}
	if full == w.base {
		w.fsID = here.ID
	}
	// What is read live and what is read from a snapshot of it have other devices.
	same := it.stat.Device == w.device || here.ID != "" && here.ID == w.fsID
	if !region.Held() { // in a snapshot all names are of one moment
		w.looks = append(w.looks, newLook(full, &it.stat, w, here))
	}
	if err := w.emit(it); err != nil {
		return err
	}
	w.previous.enter(k)
	if !here.Pseudo && (!w.o.OneFileSystem || same) {
		if err := w.entries(sub, here); err != nil {
			return err
		}
	}
	w.previous.leave()
	return w.emit(item{kind: itemLeave})
}

// open opens the folder of an item where it is to be read. Where another region begins, what the folder above has in its place is an empty
// folder: the item then says what is really there.
func (w *walker) open(it *item, full string, begins *source.Region) (*source.Dir, error) {
	if begins == nil {
		return it.dir.Open(it.node.Name)
	}
	dir, err := begins.Open(full)
	if err != nil {
		return nil, err
	}
	st, err := dir.Stat()
	if err != nil {
		dir.Release()
		return nil, err
	}
	it.stat = st
	fillNode(&it.node, it.node.Name, &st, w.o.AccessTime)
	it.seen = snapshot.Seen{Name: it.node.Name, Inode: st.Inode}
	if !racy(&st, time.Now()) {
		it.seen.ChangeTime = st.ChangeTime
	}
	return dir, nil
}

// fileSystem says which file system a folder is on; a snapshot's is that of its origin.
func fileSystem(dir *source.Dir, region *source.Region) source.FileSystem {
	if region.Held() {
		return region.FileSystem()
	}
	return dir.FileSystem()
}

// crossed reports whether an entry is on another file system than the folder that it is in.
func (w *walker) crossed(dir *folder, st *source.Stat) bool {
	up, err := dir.Stat()
	return err != nil || up.Device != st.Device
}

// link gives the names of one inode their common key: a hash of the first one in walk order, relative to the path that was asked for, so that
// equal folders have equal trees wherever they are.
func (w *walker) link(it *item, full string) {
	if it.stat.Links < 2 || it.stat.Inode == 0 {
		return
	}
	in := inode{it.stat.Device, it.stat.Inode}
	l, ok := w.links[in]
	if !ok {
		l.left = it.stat.Links
		name := binary.AppendUvarint(nil, uint64(w.number))
		name = append(name, strings.TrimPrefix(full, w.base)...)
		sum := blake3.Sum256(name)
		copy(l.key[:], sum[:])
	}
	it.node.Link = l.key
	if l.left--; l.left == 0 {
		delete(w.links, in)
	} else {
		w.links[in] = l
	}
}

// emit adds an item to the current batch, and passes the batch on when it is full.
func (w *walker) emit(it item) error {
	size := uint64(0)
	if it.read {
		size = it.stat.Size
		if w.cur.reads && (w.cur.bytes+size > batchBytes || it.stat.UID != w.owner) {
			if err := w.pass(); err != nil {
				return err
			}
		}
		w.owner, w.cur.reads = it.stat.UID, true
	}
	w.cur.items = append(w.cur.items, it)
	w.cur.bytes += size
	if len(w.cur.items) >= batchItems {
		return w.pass()
	}
	return nil
}

// pass hands the current batch on and begins another.
func (w *walker) pass() error {
	b := w.cur
	w.cur = newBatch()
	if b.reads {
		select {
		case w.work <- b:
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	} else {
		close(b.done)
	}
	select {
	case w.order <- b:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func newBatch() *batch { return &batch{done: make(chan struct{}), items: make([]item, 0, 64)} }

func (w *walker) problem(kind snapshot.ProblemKind, path string, err error) {
	w.cur.problems = append(w.cur.problems, snapshot.Problem{Kind: kind, Path: path, Reason: source.Reason(err)})
	w.progress.Problems.Add(1)
}

// racy reports whether a change after the stat could leave no trace in it.
func racy(st *source.Stat, now time.Time) bool {
	limit := now.Add(-raceWindow)
	late := func(t snapshot.Time) bool { return !t.Time().Before(limit) }
	return late(st.ChangeTime) || late(st.ModTime)
}

func fillNode(n *snapshot.Node, name string, st *source.Stat, atime bool) {
	*n = snapshot.Node{Name: name, Type: st.Type, Mode: st.Mode, UID: st.UID, GID: st.GID, ModTime: st.ModTime, Device: st.Special}
	if atime {
		n.AccessTime = st.AccessTime
	}
}

// newSets finds the names that may be SQLite databases with journals beside them. All names of a set share a fileSet; the database
// comes first in walk order.
func newSets(names []string) map[string]*fileSet {
	var sets map[string]*fileSet
	for _, name := range names {
		db := databaseOf(name)
		if _, there := slices.BinarySearch(names, db); db == "" || !there {
			continue
		}
		if sets == nil {
			sets = map[string]*fileSet{}
		}
		if sets[db] == nil {
			sets[db] = &fileSet{database: db, done: make(chan struct{})}
		}
		sets[name] = sets[db]
	}
	return sets
}

// databaseOf is the name of the SQLite database to which a file belongs if it is a journal, a log or shared memory by its name; empty if it is none.
func databaseOf(name string) string {
	for _, suffix := range [...]string{"-wal", "-journal", "-shm"} {
		if db, ok := strings.CutSuffix(name, suffix); ok {
			return db
		}
	}
	return ""
}
