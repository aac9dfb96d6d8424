package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// entry restores a file, symlink, device, FIFO or socket.
func (w *writer) entry(ctx context.Context, buf *buffer, j *job) {
	var (
		action Action
		linked linkage
		err    error
	)
	if j.node.Link.IsZero() {
		action, _, err = w.place(ctx, buf, j)
	} else {
		action, linked, err = w.linked(ctx, buf, j)
	}
	switch {
	case ctx.Err() != nil && err != nil: // the run is over; why, is told once
	case err != nil:
		w.fail(j.dir, &j.node, err)
	default:
		if action == Skipped {
			w.unread.add(j.dir.join(j.node.Name))
		}
		w.ledger.done(j.dir, &j.node, action, linked)
	}
}

// needs are the blobs of a file that is certain to be written, as far as its node names them. Large files announce their parts themselves, and
// further names of a file need nothing most of the time.
func (w *writer) needs(j *job, ids []blob.ID) []blob.ID {
	n := &j.node
	isNew := j.dir.found == nil || w.o.Overwrite == OverwriteRefuse || w.o.Overwrite == OverwriteAlways
	if n.Type != snapshot.File || n.Size >= largeFile || n.Content.Depth > 0 || !n.Link.IsZero() || !isNew || w.o.DryRun {
		return ids
	}
	for _, e := range n.Content.Elements {
		if !e.IsZeros() {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// place makes the entry, or sees to what is there in its place. id is the inode that it has then, if it is one of several names; in a dry run no inode
// that is there if a new one would be made.
func (w *writer) place(ctx context.Context, buf *buffer, j *job) (action Action, id *status, err error) {
	dir, n := j.dir, &j.node
	var found *status
	if dir.found != nil && dir.state == opened {
		st, err := dir.h.stat(n.Name)
		if err == nil {
			found = &st
		} else if !errors.Is(err, fs.ErrNotExist) {
			return 0, nil, err
		}
	}
	action = Made
	if found != nil {
		if action, err = w.judge(ctx, buf, j, found); err != nil {
			return 0, nil, err
		}
	}
	if action == Skipped {
		return action, nil, nil
	}
	if action == Unchanged && found.nlink > 1 && !w.links.own(n.Link, found) {
		action = Replaced
	}
	if action == Unchanged || action == Updated {
		return action, found, nil
	}
	if w.o.DryRun {
		if action == Replaced {
			err = w.makeWay(ctx, dir, n.Name, found)
		}
		return action, new(status), err
	}
	id, err = w.make(ctx, buf, j, found)
	return action, id, err
}

// judge says what is to be done about an entry that is there, and sets its metadata if only that is wrong.
func (w *writer) judge(ctx context.Context, buf *buffer, j *job, found *status) (Action, error) {
	n, dir := &j.node, j.dir
	switch w.o.Overwrite {
	case OverwriteRefuse:
		return 0, fs.ErrExist
	case OverwriteNever:
		return Skipped, nil
	}
	if err := w.mayReplace(dir, n, found.typ); err != nil {
		return 0, err
	}
	if w.o.Overwrite == OverwriteAlways {
		return Replaced, nil
	}
	if found.typ != n.Type || found.nlink > 1 && n.Link.IsZero() {
		return Replaced, nil
	}
	o := dir.h.at(n.Name)
	if n.Type == snapshot.File {
		f, err := dir.h.open(n.Name)
		if err != nil {
			return Replaced, nil // it can't be looked at, but perhaps replaced
		}
		defer f.close()
		if now, err := f.stat(); err != nil || !now.sameInode(found) {
			return Replaced, nil
		}
		same, err := w.sameContent(ctx, buf, f, n, found)
		if err != nil {
			return 0, err
		}
		if !same {
			return Replaced, nil
		}
		o = f.object()
	} else if same, err := sameSpecial(dir, n, found); err != nil || !same {
		return Replaced, err
	}
	return w.update(ctx, o, j, found)
}

var errLeftOut = errors.New("something of another type is in its place, and is not among what is to be restored")

// mayReplace returns an error if what is in n's place is not the filter's to take, which it is asked for if that is of another type than n.
func (w *writer) mayReplace(dir *folder, n *snapshot.Node, found snapshot.Type) error {
	if w.o.Filter == nil || found == n.Type || w.o.match(dir.join(n.Name), found) == Take {
		return nil
	}
	return errLeftOut
}

func (w *writer) sameContent(ctx context.Context, buf *buffer, f file, n *snapshot.Node, found *status) (bool, error) {
	if found.size != n.Size {
		return false, nil
	}
	if w.o.Compare == CompareTimes {
		return found.mtime == n.ModTime, nil
	}
	err := w.compare(ctx, buf, f, n)
	var d errDiffers
	if errors.As(err, &d) {
		return false, nil
	}
	return err == nil, err
}

func sameSpecial(dir *folder, n *snapshot.Node, found *status) (bool, error) {
	switch n.Type {
	case snapshot.Symlink:
		target, err := dir.h.readlink(n.Name)
		return target == n.Target, err
	case snapshot.CharDevice, snapshot.BlockDevice:
		return found.device == n.Device, nil
	}
	return true, nil
}

// update sets the metadata of an entry whose content is right. If it has other names it is replaced, since they may be
// outside the target, and what they name must not change.
func (w *writer) update(ctx context.Context, o object, j *job, found *status) (Action, error) {
	differs, err := w.differs(ctx, o, &j.node, found)
	switch {
	case err != nil:
		return 0, err
	case !differs:
		return Unchanged, nil
	case found.nlink > 1:
		return Replaced, nil
	case w.o.DryRun:
		return Updated, nil
	}
	o.thaw()
	if err := w.apply(ctx, o, j.dir, &j.node, origin{found: found}); err != nil {
		return 0, err
	}
	w.flagsLast(o, j.dir, &j.node, flagRest{exact: true})
	return Updated, nil
}

// make makes the entry, under a temporary name if something else has its own.
func (w *writer) make(ctx context.Context, buf *buffer, j *job, found *status) (id *status, err error) {
	name := j.node.Name
	if found != nil {
		if err := w.stuck(j.dir, name, found); err != nil {
			return nil, err
		}
		name = snapshot.RestoringName()
	}
	if j.node.Type == snapshot.File {
		return w.makeFile(ctx, buf, j, name, found)
	}
	dir, n := j.dir, &j.node
	if err := dir.h.special(name, n); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = dir.h.remove(name)
		}
	}()
	failed := w.apply(ctx, dir.h.at(name), dir, n, origin{ours: dir.ours, heritage: dir.heritage})
	if found != nil {
		if err := w.swap(ctx, dir, name, n.Name, found); err != nil {
			return nil, err
		}
	}
	if failed != nil { // it is whole but for an attribute, and stays
		w.fail(dir, n, failed)
	}
	return w.identify(j)
}

// makeFile writes a file. On an error nothing is left of it.
func (w *writer) makeFile(ctx context.Context, buf *buffer, j *job, name string, found *status) (id *status, err error) {
	dir, n := j.dir, &j.node
	f, err := dir.h.create(name)
	if err != nil {
		return nil, err
	}
	isOpen := true
	defer func() {
		if isOpen {
			_ = f.close()
		}
		if err != nil {
			_ = dir.h.remove(name)
		}
	}()
	w.flagsFirst(f.object(), n, dir.heritage)
	if err := w.write(ctx, buf, f, n, w.reusable(j, found)); err != nil {
		return nil, err
	}
	failed := w.apply(ctx, f.object(), dir, n, origin{ours: dir.ours, heritage: dir.heritage})
	frozen := w.freezes(n)
	if !frozen { // a file that is open can't be renamed everywhere
		w.flagsLast(f.object(), dir, n, flagRest{exact: dir.heritage.flags})
		isOpen = false
		if err := f.close(); err != nil {
			return nil, err
		}
	}
	if name != n.Name {
		if err := w.swap(ctx, dir, name, n.Name, found); err != nil {
			return nil, err
		}
		name = n.Name
	}
	if frozen {
		w.flagsLast(f.object(), dir, n, flagRest{exact: dir.heritage.flags, thaw: !n.Link.IsZero()})
	}
	if failed != nil {
		w.fail(dir, n, failed)
	}
	return w.identify(j)
}

// identify looks up the inode of an entry that has several names.
func (w *writer) identify(j *job) (*status, error) {
	if j.node.Link.IsZero() {
		return nil, nil
	}
	st, err := j.dir.h.stat(j.node.Name)
	return &st, err
}

// swap gives a complete entry its name, in place of what is there.
func (w *writer) swap(ctx context.Context, dir *folder, temporary, name string, found *status) error {
	if err := w.makeWay(ctx, dir, name, found); err != nil {
		return err
	}
	return dir.h.thawing(name, func() error { return dir.h.rename(temporary, name) })
}

// stuck tells of a folder that makeWay would not remove, before anything is fetched and written for its place. What can't be seen yet makeWay tells.
func (w *writer) stuck(dir *folder, name string, found *status) error {
	if found.typ != snapshot.Dir || w.o.Delete {
		return nil
	}
	if empty, err := isEmpty(dir.h, name); err == nil && !empty {
		return inTheWay(errNotEmpty)
	}
	return nil
}

// makeWay removes a folder in whose place something else comes. All other types a rename replaces.
func (w *writer) makeWay(ctx context.Context, dir *folder, name string, found *status) error {
	if found.typ != snapshot.Dir {
		return nil
	}
	return inTheWay(w.removeFolder(ctx, dir, name))
}

func inTheWay(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("a folder is in the way: %w", err)
}
