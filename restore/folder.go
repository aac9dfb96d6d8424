package restore

import (
	"strings"
	"sync/atomic"

	"github.com/tarn-backup/tarn/snapshot"
)

// folder is a folder of the snapshot and its counterpart in the target. The walker makes it; it is open until the last of its
// users lets go of it: the walker, the entries that wait in batches, and the folders below.
type folder struct {
	parent *folder // nil for the target
	node   snapshot.Node
	users  atomic.Int32
	h      handle
	found  *status // as it was in the target before; nil if this run made it

	decision Decision
	state    folderState
	thawed   uint32              // flags that were taken from it so that it can be changed
	ours     bool                // what is made in it belongs to us
	heritage heritage            // what it hands down to what is made in it
	whole    bool                // all its entries were read from the snapshot, when it was open already
	extras   map[string]struct{} // names in the target that the snapshot was not seen to have; nil unless they may be deleted
}

// folderState says whether there is something to work on.
type folderState uint8

const (
	pending folderState = iota // not looked at yet: the filter passes it, and nothing below it was taken so far
	opened
	absent  // dry run: it is not there
	refused // it can't be had: what is below it is passed over
)

// join is the path of an entry below the restored root. The folder's own path is not kept: in a tree of thousands of levels the
// paths together would need more memory than all else.
func (f *folder) join(name string) string {
	if f == nil { // the entry is the root
		return "."
	}
	if f.parent == nil {
		return name
	}
	size, levels := len(name), 0
	for d := f; d.parent != nil; d = d.parent {
		size += len(d.node.Name) + 1
		levels++
	}
	parts := make([]string, 0, levels)
	for d := f; d.parent != nil; d = d.parent {
		parts = append(parts, d.node.Name)
	}
	var b strings.Builder
	b.Grow(size)
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		b.WriteByte('/')
	}
	b.WriteString(name)
	return b.String()
}

func (f *folder) path() string { return f.parent.join(f.node.Name) }

// hold adds a user, if the folder has one.
func (f *folder) hold() bool {
	for {
		n := f.users.Load()
		if n == 0 {
			return false
		}
		if f.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release takes a user away. leave is called for each folder that has none left, deepest first.
func (f *folder) release(leave func(*folder)) {
	for f != nil && f.users.Add(-1) == 0 {
		leave(f)
		f = f.parent
	}
}

// reopen opens a folder that may be closed already, component by component from the target.
func (f *folder) reopen() (handle, error) {
	if f.parent == nil {
		return f.h.again()
	}
	up, err := f.parent.reopen()
	if err != nil {
		return up, err
	}
	defer up.close()
	return up.openPath(f.node.Name)
}

// bare reports whether n carries no metadata: a folder that a snapshot needs as a place for others, and that was not saved itself.
func bare(n *snapshot.Node) bool {
	return n.Mode == 0 && n.ModTime == (snapshot.Time{}) && n.UID == 0 && n.GID == 0 && len(n.Xattrs) == 0
}

// bareMode is the mode of folders that are made for such nodes.
const bareMode = 0o755
