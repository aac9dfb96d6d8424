package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
)

// linkage says which name of an inode an entry is.
type linkage int

const (
	onlyName linkage = iota // or the first
	furtherName
)

// links is the table of inodes with several names.
type links struct {
	once  sync.Once
	seed  maphash.Seed
	mu    sync.Mutex
	known map[snapshot.LinkKey]*inode  // under mu
	owner map[inodeID]snapshot.LinkKey // under mu: of inodes that were there and stay
}

// inodeID tells inodes apart: device and number.
type inodeID [2]uint64

// own reports whether an inode that was there may stay for a key: not if another key has it, for what the snapshot has as two files must not be one.
func (l *links) own(key snapshot.LinkKey, found *status) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner == nil {
		l.owner = map[inodeID]snapshot.LinkKey{}
	}
	at := found.inode()
	if owner, ok := l.owner[at]; ok {
		return owner == key
	}
	l.owner[at] = key
	return true
}

// inode is one of them. The worker that comes first makes it, the others wait until it is settled.
type inode struct {
	settled chan struct{} // closed when the rest is valid
	dir     *folder       // of the first name; nil if it could not be made
	name    string
	typ     snapshot.Type
	holds   uint64 // what contentHash says of the first name
	id      status
	freeze  *snapshot.Node // if flags are to be set that forbid further links
}

// claim returns the inode of a key, and whether the caller is to make it. A worker that made a claim waits for nobody until
// it settled it, so no two can wait for each other.
func (l *links) claim(key snapshot.LinkKey) (ino *inode, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ino = l.known[key]; ino != nil {
		return ino, false
	}
	if l.known == nil {
		l.known = map[snapshot.LinkKey]*inode{}
	}
	ino = &inode{settled: make(chan struct{})}
	l.known[key] = ino
	return ino, true
}

// settle tells the others. If the inode could not be made, the next one tries.
func (l *links) settle(key snapshot.LinkKey, ino *inode) {
	if ino.dir == nil {
		l.mu.Lock()
		delete(l.known, key)
		l.mu.Unlock()
	}
	close(ino.settled)
}

// linked restores an entry that is one of several names of an inode.
func (w *writer) linked(ctx context.Context, buf *buffer, j *job) (Action, linkage, error) {
	n := &j.node
	for {
		ino, first := w.links.claim(n.Link)
		if first {
			action, id, err := w.place(ctx, buf, j)
			if err == nil && id != nil {
				ino.dir, ino.name, ino.typ, ino.holds, ino.id = j.dir, n.Name, n.Type, w.links.contentHash(n), *id
				if w.freezes(n) {
					node := *n
					ino.freeze = &node
				}
			}
			w.links.settle(n.Link, ino)
			return action, onlyName, err
		}
		select {
		case <-ino.settled:
		case <-ctx.Done():
			return 0, onlyName, context.Cause(ctx)
		}
		if ino.dir == nil {
			continue
		}
		err := errors.New("the snapshot has other content under another name of the same file")
		if ino.holds == w.links.contentHash(n) {
			var action Action
			if action, err = w.link(ctx, j, ino); err == nil {
				return action, furtherName, nil
			}
		}
		action, _, err2 := w.place(ctx, buf, j)
		if err2 == nil && action != Skipped {
			w.ledger.lost(j.dir.join(n.Name), n.Type, AspectLink, err)
		}
		return action, onlyName, err2
	}
}

// contentHash is equal for names that hold the same by the snapshot. Names of one file are captured one after the other, so under one that was
// written to or replaced meanwhile there is something else.
func (l *links) contentHash(n *snapshot.Node) uint64 {
	l.once.Do(func() { l.seed = maphash.MakeSeed() })
	var h maphash.Hash
	h.SetSeed(l.seed)
	maphash.WriteComparable(&h, [...]uint64{uint64(n.Type), n.Size, n.Device, uint64(n.Content.Depth)})
	for _, e := range n.Content.Elements {
		maphash.WriteComparable(&h, e)
	}
	_, _ = h.WriteString(n.Target) // never fails
	return h.Sum64()
}

// link makes j a further name of ino.
func (w *writer) link(ctx context.Context, j *job, ino *inode) (Action, error) {
	dir, name := j.dir, j.node.Name
	action, temporary := Made, name
	var found *status
	if dir.found != nil && dir.state == opened {
		st, err := dir.h.stat(name)
		switch {
		case err == nil && st.sameInode(&ino.id):
			return Unchanged, nil
		case err == nil && w.o.Overwrite == OverwriteNever:
			return Skipped, nil
		case err == nil && w.o.Overwrite == OverwriteRefuse:
			return 0, fs.ErrExist
		case err == nil:
			if err := w.mayReplace(dir, &j.node, st.typ); err != nil {
				return 0, err
			}
			action, temporary, found = Replaced, snapshot.RestoringName(), &st
		case !errors.Is(err, fs.ErrNotExist):
			return 0, err
		}
	}
	if w.o.DryRun {
		if found == nil {
			return action, nil
		}
		return action, w.makeWay(ctx, dir, name, found)
	}
	err := w.linkFrom(ctx, ino, dir, temporary)
	if err != nil {
		return 0, err
	}
	// The name may have been given to something else since it was made.
	if st, err := dir.h.stat(temporary); err != nil || !st.sameInode(&ino.id) {
		_ = dir.h.remove(temporary)
		return 0, fmt.Errorf("%s is not the file any more that was restored", ino.dir.join(ino.name))
	}
	if found == nil {
		return action, nil
	}
	if err := w.swap(ctx, dir, temporary, name, found); err != nil {
		_ = dir.h.remove(temporary)
		return 0, err
	}
	return action, nil
}

// linkFrom gives the inode one more name. The folder of the first one may be closed by now.
func (w *writer) linkFrom(ctx context.Context, ino *inode, dir *folder, name string) error {
	from := ino.dir.h
	if ino.dir.hold() {
		defer ino.dir.release(func(f *folder) { w.leave(ctx, f) })
	} else {
		h, err := ino.dir.reopen()
		if err != nil {
			return err
		}
		defer h.close()
		from = h
	}
	return from.thawing(ino.name, func() error { return dir.h.link(from, ino.name, name) })
}

// freezeLinks sets the flags that had to wait until all links were made.
func (r *run) freezeLinks() {
	for _, ino := range r.links.known {
		if ino.freeze == nil {
			continue
		}
		if err := ino.setFlags(r); err != nil {
			r.ledger.lost(ino.dir.join(ino.name), ino.typ, AspectFlags, err)
		}
	}
}

func (i *inode) setFlags(r *run) error {
	h, err := i.dir.reopen()
	if err != nil {
		return err
	}
	defer h.close()
	f, err := h.open(i.name)
	if err != nil {
		return err
	}
	defer f.close()
	if st, err := f.stat(); err != nil || !st.sameInode(&i.id) {
		return errors.New("it is not the file any more that was restored")
	}
	r.flagsLast(f.object(), i.dir, i.freeze, flagRest{exact: true})
	return nil
}
