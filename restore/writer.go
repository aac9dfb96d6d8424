package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tarn-backup/tarn/snapshot"
)

// writer is the pass that restores.
type writer struct{ *run }

func (w *writer) broken(f *folder, t snapshot.Type, name string, err error) {
	w.ledger.failed(f.join(name), t, err)
}

// early is true of what is there and may have something to delete, whether or not something in it is restored: the names that are there are listed
// before those of the snapshot are crossed off.
func (w *writer) early(f *folder) bool {
	up := f.parent
	if !w.o.Delete || up.state != opened || up.found == nil {
		return false
	}
	st, err := up.h.stat(f.node.Name)
	return err == nil && st.typ == snapshot.Dir
}

// enter makes or opens a folder.
func (w *writer) enter(_ context.Context, f *folder) {
	err := w.open(f)
	switch {
	case err == errKept:
		w.unread.add(f.path())
		w.ledger.done(f.parent, &f.node, Skipped, onlyName)
		f.state = refused
	case err != nil:
		w.fail(f.parent, &f.node, fmt.Errorf("make folder (all below it is left out): %w", err))
		f.state = refused
	}
}

var errKept = errors.New("kept")

func (w *writer) open(f *folder) error {
	up, name := f.parent, f.node.Name
	if up.state == absent {
		f.state = absent
		return nil
	}
	if up.found != nil {
		st, err := up.h.stat(name)
		if err == nil {
			f.found = &st
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if f.found != nil && f.found.typ != snapshot.Dir {
		if err := w.clear(f); err != nil {
			return err
		}
	}
	if f.found == nil {
		if w.o.DryRun {
			f.state = absent
			return nil
		}
		if err := up.h.mkdir(name); err != nil {
			return err
		}
	} else if w.o.Overwrite == OverwriteRefuse && (up.parent != nil || name != lostAndFound) {
		return fs.ErrExist
	}
	open := handle.forceDir // the mode is set when the folder is done
	if w.o.DryRun || w.o.Overwrite == OverwriteNever {
		open = handle.openDir
	}
	h, err := open(up.h, name)
	if err != nil {
		return err
	}
	st, err := h.self()
	if err != nil {
		h.close()
		return err
	}
	f.h, f.state = h, opened
	f.ours, f.heritage = w.me.owns(&st), up.heritage
	if f.found != nil {
		f.heritage = h.heritage()
	}
	if err := w.prepare(f); err != nil {
		h.close()
		return err
	}
	return nil
}

// clear removes what is in the way of a folder.
func (w *writer) clear(f *folder) error {
	switch w.o.Overwrite {
	case OverwriteRefuse:
		return fs.ErrExist
	case OverwriteNever:
		return errKept
	}
	if err := w.mayReplace(f.parent, &f.node, f.found.typ); err != nil {
		return err
	}
	if !w.o.DryRun {
		if err := f.parent.h.thawing(f.node.Name, func() error { return f.parent.h.remove(f.node.Name) }); err != nil {
			return err
		}
	}
	f.found = nil
	return nil
}

// prepare makes an open folder ready to take entries.
func (r *run) prepare(f *folder) error {
	if f.found == nil {
		r.flagsFirst(f.h.object(), &f.node, f.heritage)
		return nil
	}
	if !r.o.DryRun && r.o.Overwrite != OverwriteNever {
		f.thawed = f.h.thawSelf()
		if r.me.uid != 0 && f.found.mode&0o700 != 0o700 { // root may write everywhere
			_ = f.h.object().chmod(uint32(f.found.mode) | 0o700)
		}
	}
	if !r.o.Delete {
		return nil
	}
	names, err := f.h.names()
	if err != nil {
		return fmt.Errorf("list what is there: %w", err)
	}
	f.extras = make(map[string]struct{}, len(names))
	for _, name := range names {
		f.extras[name] = struct{}{}
	}
	if f.parent == nil {
		delete(f.extras, lostAndFound)
	}
	return nil
}

// leave removes what the snapshot does not have, and sets the folder's metadata.
func (w *writer) leave(ctx context.Context, f *folder) {
	switch f.state {
	case pending, refused:
		return
	case absent:
		if ctx.Err() == nil {
			w.ledger.done(f.parent, &f.node, Made, onlyName)
		}
		return
	}
	defer f.h.close()
	if ctx.Err() != nil {
		return
	}
	w.deleteExtras(ctx, f)
	action := Made
	if f.found != nil {
		action = w.again(ctx, f)
	} else {
		w.finish(ctx, f)
	}
	w.ledger.done(f.parent, &f.node, action, onlyName)
}

// again deals with the metadata of a folder that was there before.
func (w *writer) again(ctx context.Context, f *folder) Action {
	if w.o.Overwrite == OverwriteNever {
		return Skipped
	}
	if f.decision == Pass || bare(&f.node) {
		if !w.o.DryRun && w.me.uid != 0 && f.found.mode&0o700 != 0o700 {
			_ = f.h.object().chmod(uint32(f.found.mode))
		}
		w.refreeze(f)
		return Unchanged
	}
	differs, err := w.differs(ctx, f.h.object(), &f.node, f.found)
	if err != nil {
		w.fail(f.parent, &f.node, err)
	}
	if !w.o.DryRun {
		w.finish(ctx, f) // even if nothing differed: what was done below changed the times
		if w.o.NoFlags {
			w.refreeze(f)
		}
	}
	if differs {
		return Updated
	}
	return Unchanged
}

// refreeze gives a folder its own flags back, where those of the snapshot are not restored.
func (w *writer) refreeze(f *folder) {
	if err := f.h.freezeSelf(f.thawed); err != nil {
		w.ledger.lost(f.path(), snapshot.Dir, AspectFlags, err)
	}
}

func (w *writer) finish(ctx context.Context, f *folder) {
	if bare(&f.node) {
		if f.found == nil {
			_ = f.h.object().chmod(bareMode)
		}
		return
	}
	from := origin{found: f.found, ours: f.found == nil && f.ours, heritage: f.heritage}
	if f.parent != nil {
		from.heritage = f.parent.heritage
	}
	if err := w.apply(ctx, f.h.object(), f.parent, &f.node, from); err != nil {
		w.fail(f.parent, &f.node, err)
	}
	w.flagsLast(f.h.object(), f.parent, &f.node, flagRest{exact: f.found != nil || from.flags})
}

func (r *run) fail(dir *folder, n *snapshot.Node, err error) {
	r.stop(err)
	path := dir.join(n.Name)
	r.unread.add(path)
	r.ledger.failed(path, n.Type, err)
}
