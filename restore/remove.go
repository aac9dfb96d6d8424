package restore

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/tarn-backup/tarn/snapshot"
)

var (
	errNotEmpty = errors.New("it is not empty, and deleting was not asked for")
	errStays    = errors.New("it is not empty, and not all that is in it can be deleted")
	errMount    = errors.New("another file system is mounted there")
)

// deleteExtras removes what the filter takes and the snapshot does not have, but for what could not be saved. If a part of the folder's list could not be
// read, nobody knows what the snapshot has, and nothing is removed.
func (w *writer) deleteExtras(ctx context.Context, f *folder) {
	if !f.whole || len(f.extras) == 0 {
		return
	}
	names := make([]string, 0, len(f.extras))
	for name := range f.extras {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.remove(ctx, f.h, name, f.join(name))
	}
}

// remove removes an entry with all below it, as far as the filter takes it, and reports whether it is gone. What is another file
// system's stays. Depth is bounded by the open descriptors: each level holds one.
func (w *writer) remove(ctx context.Context, dir handle, name, path string) bool {
	if ctx.Err() != nil {
		return false
	}
	st, err := dir.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		w.ledger.failed(path, 0, err)
		return false
	}
	d := w.o.match(path, st.typ)
	if d == Skip {
		return false
	}
	if w.o.Unsaved != nil && w.o.Unsaved(path) {
		w.ledger.kept(path, st.typ)
		return false
	}
	if st.typ == snapshot.Dir {
		if !w.removeBelow(ctx, dir, name, path) || d == Pass {
			return false
		}
		err = w.unlink(dir, name, handle.rmdir)
	} else {
		err = w.unlink(dir, name, handle.remove)
	}
	if err != nil {
		w.ledger.failed(path, st.typ, err)
		return false
	}
	w.ledger.deleted(path, st.typ)
	return true
}

func (w *writer) unlink(dir handle, name string, call func(handle, string) error) error {
	if w.o.DryRun {
		return nil
	}
	return dir.thawing(name, func() error { return call(dir, name) })
}

// removeBelow empties a folder and reports whether nothing is left in it.
func (w *writer) removeBelow(ctx context.Context, dir handle, name, path string) bool {
	open := handle.forceDir
	if w.o.DryRun {
		open = handle.openDir
	}
	h, err := open(dir, name)
	if err != nil {
		w.ledger.failed(path, snapshot.Dir, err)
		return false
	}
	defer h.close()
	if !dir.sameDevice(h) {
		err = errMount
	}
	var names []string
	if err == nil {
		names, err = h.names()
	}
	if err != nil {
		w.ledger.failed(path, snapshot.Dir, err)
		return false
	}
	if !w.o.DryRun && len(names) > 0 {
		h.thawSelf()
	}
	empty := true
	for _, below := range names {
		if !w.remove(ctx, h, below, path+"/"+below) {
			empty = false
		}
	}
	return empty
}

// removeFolder removes a folder that is in the way of an entry of another type: an empty one, or any if deleting was asked for. A dry run sees whether
// that would do.
func (w *writer) removeFolder(ctx context.Context, dir *folder, name string) error {
	isEmpty, err := w.removeEmpty(dir.h, name)
	if err != nil || isEmpty {
		return err
	}
	if !w.o.Delete {
		return errNotEmpty
	}
	if !w.removeBelow(ctx, dir.h, name, dir.join(name)) {
		return errStays
	}
	return w.unlink(dir.h, name, handle.rmdir)
}

// removeEmpty removes a folder if it is empty, and reports whether it was.
func (w *writer) removeEmpty(dir handle, name string) (bool, error) {
	if w.o.DryRun {
		return isEmpty(dir, name)
	}
	err := w.unlink(dir, name, handle.rmdir)
	if isNotEmpty(err) {
		return false, nil
	}
	return true, err
}

func isEmpty(dir handle, name string) (bool, error) {
	h, err := dir.openDir(name)
	if err != nil {
		return false, err
	}
	defer h.close()
	names, err := h.names()
	return len(names) == 0, err
}
