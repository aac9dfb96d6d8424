package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tarn-backup/tarn/snapshot"
)

// run is one call of Run.
type run struct {
	loader snapshot.Loader
	o      Options
	ledger *ledger
	cancel context.CancelCauseFunc
	links  links
	unread unread
	system
}

// Run restores root into the folder target, which is made if it is not there. The target gets root's entries, and root's metadata if root
// is a folder that has some. If root is no folder, it becomes an entry of target.
//
// The summary is right whatever the error is. The error wraps ErrIncomplete if all was tried and some entries failed;
// the other errors are those that ended the run early, such as a full disk or ctx's end.
func Run(ctx context.Context, l snapshot.Loader, root snapshot.Node, target string, o Options, report Reporter) (Summary, error) {
	if err := o.check(); err != nil {
		return Summary{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{loader: l, o: o, system: system{me: whoami()}, ledger: newLedger(report), cancel: cancel}
	top, err := r.openTop(root, target)
	if err == nil {
		err = r.restore(ctx, top, root)
	}
	if err == nil {
		err = r.ledger.err()
	}
	return r.ledger.sum, err
}

func (r *run) restore(ctx context.Context, top *folder, root snapshot.Node) error {
	w := &writer{r}
	err := r.passes(ctx, w, top, root)
	var h handle
	if r.o.Sync && !r.o.DryRun && err == nil { // the target's own metadata is set by the release, and is to be synced too
		if h, err = top.h.again(); err == nil {
			defer h.close()
		}
	}
	top.release(func(f *folder) { w.leave(ctx, f) })
	if r.o.Sync && !r.o.DryRun && err == nil {
		err = h.sync()
	}
	return err
}

// passes goes over the tree as often as needed.
func (r *run) passes(ctx context.Context, w *writer, top *folder, root snapshot.Node) error {
	var single *snapshot.Node
	if root.Type != snapshot.Dir {
		if err := checkNode(&root); err != nil {
			return fmt.Errorf("restore %q: %w", root.Name, err)
		}
		single = &root
	}
	if err := r.traverse(ctx, w, top, single); err != nil {
		return err
	}
	if r.o.DryRun {
		return nil
	}
	r.freezeLinks()
	if !r.o.Verify {
		return nil
	}
	return r.verify(ctx, top, single)
}

// openTop opens the target, and makes it if need be.
func (r *run) openTop(root snapshot.Node, target string) (*folder, error) {
	top := &folder{state: opened, node: snapshot.Node{Type: snapshot.Dir}}
	if root.Type == snapshot.Dir {
		top.node = root
	}
	if top.decision = r.o.match(".", snapshot.Dir); top.decision == Skip {
		top.decision = Pass
	}
	top.users.Store(1)
	made, err := r.makeTarget(target)
	if err != nil {
		return nil, fmt.Errorf("make target: %w", err)
	}
	if top.h, err = openTarget(target); err != nil {
		if r.o.DryRun && errors.Is(err, fs.ErrNotExist) {
			top.state = absent
			return top, nil
		}
		return nil, fmt.Errorf("open target %s: %w", target, err)
	}
	if err := r.checkTop(top, target, made); err != nil {
		top.h.close()
		return nil, err
	}
	return top, nil
}

// makeTarget reports whether it had to make it. The folder itself is closed to others until it is done.
func (r *run) makeTarget(target string) (bool, error) {
	if _, err := os.Stat(target); r.o.DryRun || !errors.Is(err, fs.ErrNotExist) {
		return false, nil // other errors come up again when it is opened
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return false, err
	}
	return true, os.Mkdir(target, 0o700)
}

func (r *run) checkTop(top *folder, target string, made bool) error {
	st, err := top.h.self()
	if err != nil {
		return fmt.Errorf("look at target %s: %w", target, err)
	}
	top.ours, top.heritage = r.me.owns(&st), top.h.heritage()
	if !made {
		top.found = &st
	}
	if r.o.Delete && isRoot(top.h) && top.decision == Take {
		return fmt.Errorf("restore: target %s is the root of this system: delete would empty it; say by a filter what to restore", target)
	}
	if made || r.o.Overwrite != OverwriteRefuse {
		return r.prepare(top)
	}
	names, err := top.h.names()
	if err != nil {
		return fmt.Errorf("list target %s: %w", target, err)
	}
	for _, name := range names {
		if name != lostAndFound {
			return fmt.Errorf("%w: %s has %q", ErrNotEmpty, target, name)
		}
	}
	return r.prepare(top)
}

// lostAndFound is what a new file system is not without.
const lostAndFound = "lost+found"
