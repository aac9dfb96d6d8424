package backup

import (
	"context"
	"slices"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// previous goes through the parent snapshot along with the walk: its trees and its scan record.
type previous struct {
	ctx    context.Context
	loader snapshot.Loader
	scan   *snapshot.ScanReader // nil without a parent
	levels []previousLevel
}

// previousLevel is a folder of the parent snapshot; without a cursor, one that it does not have.
type previousLevel struct {
	cursor *snapshot.Cursor
	node   snapshot.Node // the one that the cursor gave last
	have   bool
	scan   int    // the scan reader's level in this folder; -1 if it does not know the folder
	fsID   string // of the folder
}

// known is what the parent snapshot knows of an entry.
type known struct {
	node    *snapshot.Node // nil if it has no such entry; valid until the next look-up
	encoded string
	seen    snapshot.Seen
	inScan  bool
	fsID    string
}

func newPrevious(ctx context.Context, p *Parent) *previous {
	if p == nil {
		return &previous{}
	}
	v := &previous{ctx: ctx, loader: p.Loader, scan: snapshot.NewScanReader(ctx, p.Loader, p.Record.Scan)}
	v.levels = []previousLevel{{cursor: v.open(p.Record.Root.Content)}}
	return v
}

func (v *previous) open(c snapshot.Content) *snapshot.Cursor {
	cursor := snapshot.NewCursor(v.ctx, v.loader, c)
	cursor.Reuse()
	return cursor
}

func (v *previous) close() {
	for _, l := range v.levels {
		if l.cursor != nil {
			l.cursor.Close()
		}
	}
	if v.scan != nil {
		v.scan.Close()
	}
}

// find looks for an entry of the current folder. Names come in ascending order. What can't be read of the parent is not found, and
// read again from the source.
func (v *previous) find(name string) (k known) {
	if v.scan == nil {
		return k
	}
	l := &v.levels[len(v.levels)-1]
	k.fsID = l.fsID
	if l.cursor == nil {
		return k
	}
	for !l.have || l.node.Name < name {
		if l.have = l.cursor.Next(&l.node); !l.have {
			break
		}
	}
	if l.have && l.node.Name == name {
		k.node, k.encoded = &l.node, l.cursor.Encoded()
	}
	if l.scan >= 0 {
		v.scan.LeaveTo(l.scan)
		var fsID string
		if k.seen, fsID, k.inScan = v.scan.Find(name); fsID != "" {
			k.fsID = fsID
		}
	}
	return k
}

// keep returns a copy of a node that a look-up gave, for longer than until the next one.
func keep(n *snapshot.Node) snapshot.Node {
	c := *n
	c.Content.Elements = slices.Clone(n.Content.Elements)
	return c
}

// enter goes into the folder that was found last.
func (v *previous) enter(k known) {
	if v.scan == nil {
		return
	}
	next := previousLevel{scan: -1, fsID: k.fsID}
	if k.node != nil && k.node.Type == snapshot.Dir {
		next.cursor = v.open(k.node.Content)
		if parent := v.levels[len(v.levels)-1].scan; k.inScan && v.scan.Level() == parent+1 {
			next.scan = parent + 1
		}
	}
	v.levels = append(v.levels, next)
}

// leave goes back to the folder above.
func (v *previous) leave() {
	if v.scan == nil {
		return
	}
	last := len(v.levels) - 1
	if c := v.levels[last].cursor; c != nil {
		c.Close()
	}
	v.levels[last] = previousLevel{}
	v.levels = v.levels[:last]
}

// sameEntry reports whether an entry was not touched since the parent snapshot: nothing that changes content or metadata
// leaves the ctime as it was, and an entry that was changed at about the time when it was seen has none recorded.
func (k *known) sameEntry(st *source.Stat, fs *source.FileSystem) bool {
	return k.node != nil && k.inScan && k.node.Type == st.Type && k.seen.ChangeTime == st.ChangeTime && st.ChangeTime != (snapshot.Time{}) &&
		k.node.ModTime == st.ModTime && fs.ID != "" && k.fsID == fs.ID && (!fs.StableInodes || k.seen.Inode == st.Inode)
}

// sameFile reports whether a regular file's node can be taken over.
func (k *known) sameFile(st *source.Stat, fs *source.FileSystem) bool {
	return k.sameEntry(st, fs) && k.node.Size == st.Size && k.node.State == snapshot.Whole
}
