package backup

import (
	"context"
	"errors"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// walker takes the lister's steps, compares with the parent snapshot, and makes batches. It belongs to one goroutine.
type walker struct {
	ctx      context.Context
	o        *Options
	kept     *references
	progress *Progress
	steps    <-chan *stepBatch
	order    chan<- *batch // all batches, in walk order
	work     chan<- *batch // those that have something to be read
	cur      *batch
	owner    uint32  // of the files in cur
	dir      *folder // of the last of them
	dirsMax  int     // how many folders a batch may hold open
	previous *previous
	links    links
	inside   []*folder // that were entered and not left
}

// raceWindow is how far before the stat a change must lie for the next backup to trust that none came after: a clock tick
// does not tell two changes apart, and file systems keep up to 2 s of it.
const raceWindow = 2 * time.Second

// run takes all steps.
func (w *walker) run() error {
	defer func() {
		for _, f := range w.inside { // after an error
			f.Release()
		}
		w.cur.release()
	}()
	for b := range w.steps {
		if err := w.ctx.Err(); err != nil {
			b.release()
			return err
		}
		for i := range b.list {
			if err := w.step(&b.list[i], b.at); err != nil {
				b.list = b.list[i+1:]
				b.release()
				return err
			}
		}
		b.recycle()
	}
	return w.pass()
}

// step takes one step.
func (w *walker) step(s *step, at time.Time) error {
	switch s.kind {
	case stepEntry:
		if err := w.entry(s, at); err != nil {
			return err
		}
	case stepEnter:
		w.inside = append(w.inside, s.sub)
		return w.enter(s, at)
	case stepAbove:
		k := w.previous.find(s.name)
		it := item{kind: itemEnter, dir: s.dir, node: snapshot.Node{Name: s.name, Type: snapshot.Dir, Mode: s.stat.Mode, UID: s.stat.UID, GID: s.stat.GID}}
		it.seen.Name = s.name
		w.previous.enter(k)
		return w.emit(&it)
	case stepLeave:
		if s.sub != nil {
			w.inside = w.inside[:len(w.inside)-1]
			s.sub.Release()
		}
		w.previous.leave()
		return w.emit(&item{kind: itemLeave})
	case stepClosed:
		return w.closed(s, at)
	case stepProblem:
		w.problem(s.problem, s.path, s.err)
	case stepGone:
		w.cur.vanished++
	case stepDone:
		s.sub.Release()
	}
	if s.set != nil && s.set.database == s.name && !s.set.given {
		close(s.set.done) // nobody reads the database, so nobody must wait for it
	}
	return nil
}

// item begins the item of an entry that the lister has looked at after the moment at.
func (w *walker) item(s *step, at time.Time) item {
	it := item{dir: s.dir, stat: s.stat, set: s.set}
	fillNode(&it.node, s.name, &s.stat, w.o.AccessTime)
	it.seen = snapshot.Seen{Name: s.name, Inode: s.stat.Inode}
	if !racy(&s.stat, at) {
		it.seen.ChangeTime = s.stat.ChangeTime
	}
	return it
}

// entry handles an entry that is no folder.
func (w *walker) entry(s *step, at time.Time) error {
	k := w.previous.find(s.name)
	it := w.item(s, at)
	w.change(&it, &k)
	switch s.stat.Type {
	case 0:
		w.problem(snapshot.Unreadable, s.full(), errors.New("of a type that tarn does not know"))
		return nil
	case snapshot.File:
		return w.file(&it, &k)
	case snapshot.Symlink:
		target, err := s.dir.Readlink(s.name)
		if err != nil {
			w.problem(snapshot.Unreadable, s.full(), err)
			return nil
		}
		it.node.Target = target
	}
	w.link(&it)
	if k.sameEntry(&it.stat, &s.dir.fs) && w.kept.xattrs(k.node) {
		it.node.Xattrs, it.change = k.node.Xattrs, isUnchanged
	} else {
		xattrs, err := s.dir.Attr(s.name)
		xattrs, more := fitting(xattrs)
		it.node.Xattrs = xattrs
		if err = errors.Join(err, more); err != nil && !source.IsGone(err) {
			w.problem(snapshot.ProblemAttr, s.full(), err)
			it.seen.ChangeTime = snapshot.Time{} // look again next time
		}
	}
	return w.emit(&it)
}

func (w *walker) change(it *item, k *known) {
	if k.node != nil {
		it.change = isChanged
	}
}

// file handles a regular file: its node is taken over, or it is given to a reader.
func (w *walker) file(it *item, k *known) error {
	if w.o.ExcludeLarger > 0 && it.stat.Size > w.o.ExcludeLarger {
		return nil
	}
	w.link(it)
	if it.set == nil && k.sameFile(&it.stat, &it.dir.fs) && w.kept.node(w.ctx, k.node) {
		it.change, it.seen = isUnchanged, k.seen
		it.encoded = k.encoded
		if k.node.Link != it.node.Link || w.o.AccessTime || k.node.AccessTime != (snapshot.Time{}) {
			node := keep(k.node)
			node.Link, node.AccessTime = it.node.Link, it.node.AccessTime
			it.node, it.encoded = node, ""
		}
		it.node.Size = it.stat.Size
		return w.emit(it)
	}
	if k.node != nil {
		was := keep(k.node)
		it.was = &was
	}
	if it.set != nil && it.set.database == it.node.Name {
		it.set.given = true
	}
	it.read, it.held = true, true
	it.dir.Hold()
	return w.emit(it)
}

// enter handles a folder that is open.
func (w *walker) enter(s *step, at time.Time) error {
	k := w.previous.find(s.name)
	it := w.item(s, at)
	it.kind = itemEnter
	if s.sub.fs.ID != s.dir.fs.ID {
		it.fsID = s.sub.fs.ID
	}
	if k.sameEntry(&it.stat, &s.sub.fs) && w.kept.xattrs(k.node) {
		it.node.Xattrs, it.node.Flags, it.change = k.node.Xattrs, k.node.Flags, isUnchanged
	} else {
		w.change(&it, &k)
		var err error
		if it.node.Xattrs, it.node.Flags, err = attributes(s.sub.FD()); err != nil {
			w.problem(snapshot.ProblemAttr, s.sub.path, err)
			it.seen.ChangeTime = snapshot.Time{} // look again next time
		}
	}
	w.previous.enter(k)
	return w.emit(&it)
}

// closed handles a folder that can't be opened.
func (w *walker) closed(s *step, at time.Time) error {
	k := w.previous.find(s.name)
	if source.IsGone(s.err) {
		w.cur.vanished++
		return nil
	}
	it := w.item(s, at)
	w.problem(snapshot.Unreadable, s.full(), s.err)
	if k.node != nil && k.node.Type == snapshot.Dir && w.kept.folder(w.ctx, k.node.Content) {
		it.node.Content, it.node.State = keep(k.node).Content, snapshot.Carried // restoring what it held is better than nothing
	}
	return w.emit(&it)
}

// emit adds an item to the current batch, and passes the batch on when it is full.
func (w *walker) emit(it *item) error {
	size := uint64(0)
	if it.read {
		size = it.stat.Size
		full := w.cur.bytes+size > batchBytes || it.dir != w.dir && w.cur.folders >= w.dirsMax
		if w.cur.reads && (full || it.stat.UID != w.owner) {
			if err := w.pass(); err != nil {
				return err
			}
		}
		if it.dir != w.dir || !w.cur.reads {
			w.cur.folders++
		}
		w.owner, w.dir, w.cur.reads = it.stat.UID, it.dir, true
	}
	w.cur.items = append(w.cur.items, *it)
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
			b.release()
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

func (w *walker) problem(kind snapshot.ProblemKind, path string, err error) {
	w.cur.problems = append(w.cur.problems, snapshot.Problem{Kind: kind, Path: path, Reason: source.Reason(err)})
	w.progress.Problems.Add(1)
}

// racy reports whether a change after the stat, which was made after the moment at, could leave no trace in it.
func racy(st *source.Stat, at time.Time) bool {
	limit := at.Add(-raceWindow)
	late := func(t snapshot.Time) bool { return !t.Time().Before(limit) }
	return late(st.ChangeTime) || late(st.ModTime)
}

func fillNode(n *snapshot.Node, name string, st *source.Stat, atime bool) {
	*n = snapshot.Node{Name: name, Type: st.Type, Mode: st.Mode, UID: st.UID, GID: st.GID, ModTime: st.ModTime, Device: st.Special}
	if atime {
		n.AccessTime = st.AccessTime
	}
}
