package backup

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// lister goes through the source in walk order, ahead of the walker: it opens and lists folders, looks at their entries, and says which of
// them belong to the backup. It belongs to one goroutine.
type lister struct {
	ctx      context.Context
	o        *Options
	progress *Progress
	steps    chan<- *stepBatch
	cur      *stepBatch
	most     int    // folders that a stepBatch may hold open
	looks    []look // at all folders, for the settler
}

type stepKind uint8

const (
	stepEntry   stepKind = iota // anything but a folder
	stepEnter                   // a folder that is open
	stepAbove                   // a folder that is only on the way to what was asked for
	stepLeave                   // the folder entered last ends
	stepClosed                  // a folder that can't be opened
	stepProblem                 // something that is wrong with a path, and no entry
	stepGone                    // an entry that went away since its folder was listed
	stepNone                    // an entry that is not read
	stepDone                    // nothing more comes of a folder that was not entered
)

// step is what the lister says of one place.
type step struct {
	kind    stepKind
	dir     *folder // that the entry is in; nil for stepLeave and stepProblem
	name    string
	stat    source.Stat
	sub     *folder // of stepEnter, its stepLeave, and stepDone: the folder itself
	set     *fileSet
	problem snapshot.ProblemKind // of stepProblem
	path    string               // of stepProblem
	err     error
}

// full is the entry's absolute path.
func (s *step) full() string { return pathIn(s.dir.path, s.name) }

func pathIn(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// What a stepBatch holds at most, and how many of them are on the way: an open folder takes a file descriptor, and there may be few.
const (
	stepsMax   = 256
	foldersMax = 16
	stepsOpen  = 8
)

// stepBatch is a run of steps. What it says was so after the moment at.
type stepBatch struct {
	at      time.Time
	list    []step
	folders int
}

var stepBatches = sync.Pool{New: func() any { return &stepBatch{list: make([]step, 0, stepsMax)} }}

// recycle makes a batch ready to be used again.
func (b *stepBatch) recycle() {
	clear(b.list)
	b.list, b.folders = b.list[:0], 0
	stepBatches.Put(b)
}

// release gives back the folders of steps that nobody takes any more.
func (b *stepBatch) release() {
	for i := range b.list {
		if s := &b.list[i]; s.kind == stepEnter || s.kind == stepDone {
			s.sub.Release()
		}
	}
}

// room sees to it that there is room for one more step. It is called before a place is looked at, so that the moment of the batch that tells
// of it lies before the look.
func (l *lister) room() error {
	if b := l.cur; b != nil && (len(b.list) == stepsMax || b.folders >= l.most) {
		if err := l.pass(); err != nil {
			return err
		}
	}
	if l.cur == nil {
		l.cur = stepBatches.Get().(*stepBatch)
		l.cur.at = time.Now()
	}
	return nil
}

// add appends a step for the caller to fill in.
func (l *lister) add(kind stepKind) (*step, error) {
	if err := l.room(); err != nil {
		return nil, err
	}
	b := l.cur
	if kind == stepEnter || kind == stepDone {
		b.folders++
	}
	b.list = append(b.list, step{kind: kind})
	return &b.list[len(b.list)-1], nil
}

// pass hands on what there is.
func (l *lister) pass() error {
	if l.cur == nil {
		return l.ctx.Err()
	}
	select {
	case l.steps <- l.cur:
		l.cur = nil
		return nil
	case <-l.ctx.Done():
		l.cur.release()
		l.cur = nil
		return l.ctx.Err()
	}
}

// failed tells of a path that can't be read.
func (l *lister) failed(path string, err error) error {
	return l.problem(snapshot.Unreadable, path, err)
}

// problem tells of something that is wrong with a path.
func (l *lister) problem(kind snapshot.ProblemKind, path string, err error) error {
	s, e := l.add(stepProblem)
	if e == nil {
		s.problem, s.path, s.err = kind, path, err
	}
	return e
}

// targets goes through all that was asked for.
func (l *lister) targets(root *target) error {
	if root.asked {
		return l.whole(root)
	}
	return l.above(root, "/")
}

// done leaves a folder that was not entered to the walker, which may have to look into it still.
func (l *lister) done(dir *folder, err error) error {
	if err == nil {
		var s *step
		if s, err = l.add(stepDone); err == nil {
			s.sub = dir
			return nil
		}
	}
	dir.Release()
	return err
}

// whole lists everything from "/".
func (l *lister) whole(root *target) error {
	region := l.o.Held.Begins("/")
	dir, err := region.Open("/")
	if err != nil {
		return err
	}
	st, err := dir.Stat()
	if err != nil {
		dir.Release()
		return err
	}
	fs := fileSystem(dir, region)
	asked := &origin{number: root.number, base: "/", device: st.Device, fsID: fs.ID}
	top := &folder{Dir: dir, path: "/", region: region, fs: fs, device: st.Device, origin: asked}
	return l.done(top, l.entries(top))
}

// above goes through folders that are only on the way to what was asked for. They are stored with mode and owner alone, since their times
// and entries are not part of the backup.
func (l *lister) above(t *target, at string) error {
	for _, next := range t.below {
		full := pathIn(at, next.name)
		var err error
		if next.asked {
			err = l.asked(next, at, full)
		} else {
			err = l.between(next, at, full)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// between handles one folder that is only on the way.
func (l *lister) between(t *target, at, full string) error {
	dir, err := source.OpenDir(full)
	if err != nil {
		return l.failed(full, err)
	}
	st, err := dir.Stat()
	dir.Release()
	if err != nil {
		return l.failed(full, err)
	}
	s, err := l.add(stepAbove)
	if err != nil {
		return err
	}
	s.dir, s.name, s.stat = &folder{path: at}, t.name, st
	if err := l.above(t, full); err != nil {
		return err
	}
	_, err = l.add(stepLeave)
	return err
}

// asked lists one path that was asked for.
func (l *lister) asked(t *target, at, full string) error {
	region := l.o.Held.Around(at)
	parent, err := region.Open(at)
	if err != nil {
		return l.failed(full, err)
	}
	dir := &folder{Dir: parent, path: at, region: region, origin: &origin{number: t.number, base: full}}
	if err := l.room(); err != nil {
		return l.done(dir, err)
	}
	st, err := dir.Lstat(t.name)
	if err != nil {
		return l.done(dir, l.failed(full, err))
	}
	if l.o.Held.Begins(full) == nil {
		dir.origin.device = st.Device // else it is set by the folder itself
	}
	if st.Type != snapshot.Dir {
		dir.fs = fileSystem(dir.Dir, region)
	}
	return l.done(dir, l.entry(dir, t.name, &st, nil))
}

// entries goes through the entries of an open folder.
func (l *lister) entries(dir *folder) error {
	names, err := dir.List()
	if err != nil {
		return l.failed(dir.path, err)
	}
	if err := l.cluster(dir, names); err != nil {
		return err
	}
	if left, ok := tagged(l.o, dir, names); ok {
		names = left
	}
	return l.each(dir, names)
}

// each goes through entries of a folder.
func (l *lister) each(dir *folder, names []string) error {
	sets := newSets(names)
	for _, name := range names {
		if err := l.listed(dir, name, sets[name]); err != nil {
			return err
		}
	}
	return nil
}

// listed handles a name that the folder was said to have.
func (l *lister) listed(dir *folder, name string, set *fileSet) error {
	if err := l.room(); err != nil {
		return err
	}
	st, err := dir.Lstat(name)
	if err != nil {
		return l.unseen(dir, name, set, err)
	}
	if st.Type != snapshot.Dir && snapshot.IsRestoring(name) {
		full := pathIn(dir.path, name)
		l.progress.Restoring.Store(&full)
		return l.leftOut(dir, name, set)
	}
	if l.o.Exclude != nil || l.o.Held.Skips() {
		full := pathIn(dir.path, name)
		if l.o.Exclude != nil && l.o.Exclude.Match(full, st.Type == snapshot.Dir) || l.o.Held.Skip(full) {
			return l.leftOut(dir, name, set)
		}
	}
	return l.entry(dir, name, &st, set)
}

// unseen tells of an entry that can't be looked at.
func (l *lister) unseen(dir *folder, name string, set *fileSet, why error) error {
	kind := stepProblem
	if source.IsGone(why) {
		kind = stepGone
	}
	s, err := l.add(kind)
	if err == nil {
		s.name, s.set, s.problem, s.path, s.err = name, set, snapshot.Unreadable, pathIn(dir.path, name), why
	}
	return err
}

// leftOut tells of an entry that is not read, if somebody may wait for it.
func (l *lister) leftOut(dir *folder, name string, set *fileSet) error {
	if set == nil {
		return nil
	}
	s, err := l.add(stepNone)
	if err == nil {
		s.name, s.set = name, set
	}
	return err
}

// entry handles one entry.
func (l *lister) entry(dir *folder, name string, st *source.Stat, set *fileSet) error {
	if st.Type == snapshot.Dir {
		if err := l.folder(dir, name, *st); err != nil {
			return err
		}
		return l.leftOut(dir, name, set) // it is no database
	}
	if l.o.Held.MountsFiles() && dir.region.Held() && l.o.Held.MountsFile(pathIn(dir.path, name)) {
		if err := l.mounted(dir, name); err != nil {
			return err
		}
		return l.leftOut(dir, name, set)
	}
	s, err := l.add(stepEntry)
	if err == nil {
		s.dir, s.name, s.stat, s.set = dir, name, *st, set
	}
	return err
}

// mounted handles a single file that is mounted in a folder which is read from a snapshot: it is read as it is.
func (l *lister) mounted(in *folder, name string) error {
	full := pathIn(in.path, name)
	parent, err := source.OpenDir(in.path)
	if err != nil {
		return l.failed(full, err)
	}
	dir := &folder{Dir: parent, path: in.path, fs: parent.FileSystem(), origin: in.origin}
	if err := l.room(); err != nil {
		return l.done(dir, err)
	}
	st, err := dir.Lstat(name)
	if err != nil {
		return l.done(dir, l.failed(full, err))
	}
	return l.done(dir, l.entry(dir, name, &st, nil))
}

// folder handles a folder and all below it.
func (l *lister) folder(dir *folder, name string, st source.Stat) error {
	full := pathIn(dir.path, name)
	begins := l.o.Held.Begins(full)
	sub, err := l.open(dir, name, full, begins, &st)
	if err != nil {
		s, e := l.add(stepClosed)
		if e == nil {
			s.dir, s.name, s.stat, s.err = dir, name, st, err
		}
		return e
	}
	defer sub.Release()
	// What is read live and what is read from a snapshot of it have other devices.
	asked := dir.origin
	same := st.Device == asked.device || sub.fs.ID != "" && sub.fs.ID == asked.fsID
	if !sub.region.Held() { // in a snapshot all names are of one moment
		l.looks = append(l.looks, newLook(sub, &st, l.cur.at))
	}
	s, err := l.add(stepEnter)
	if err != nil {
		return err
	}
	s.dir, s.name, s.stat, s.sub = dir, name, st, sub
	sub.Hold() // for the walker
	if !sub.fs.Pseudo && (!l.o.OneFileSystem || same) {
		if err := l.entries(sub); err != nil {
			return err
		}
	}
	s, err = l.add(stepLeave)
	if err == nil {
		s.sub = sub
	}
	return err
}

// open opens a folder where it is to be read. Where another region begins, what the folder above has in its place is an empty folder: st then
// says what is really there.
func (l *lister) open(dir *folder, name, full string, begins *source.Region, st *source.Stat) (*folder, error) {
	sub := &folder{path: full, region: dir.region, recovers: dir.recovers, fs: dir.fs, origin: dir.origin}
	var err error
	if begins == nil {
		sub.Dir, err = dir.Open(name)
	} else {
		sub.region = begins
		sub.Dir, err = begins.Open(full)
	}
	if err != nil {
		return nil, err
	}
	if begins != nil {
		if *st, err = sub.Stat(); err != nil {
			sub.Release()
			return nil, err
		}
	}
	sub.device = st.Device
	if dir.fs.ID == "" || begins != nil || dir.device != st.Device {
		sub.fs = fileSystem(sub.Dir, sub.region)
	}
	asked := dir.origin
	if asked.device == 0 {
		asked.device = st.Device // of the path that was asked for, where that is held
	}
	if full == asked.base {
		asked.fsID = sub.fs.ID
	}
	return sub, nil
}

// fileSystem says which file system a folder is on; a snapshot's is that of its origin.
func fileSystem(dir *source.Dir, region *source.Region) source.FileSystem {
	if region.Held() {
		return region.FileSystem()
	}
	return dir.FileSystem()
}
