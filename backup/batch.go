package backup

import (
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// What a batch holds at most, and how many batches are on the way.
const (
	batchBytes  = 4 << 20
	batchItems  = 2048 // enough for files of 2 KiB to fill a segment
	batchesOpen = 24
)

type itemKind uint8

const (
	itemEntry itemKind = iota // anything but a folder
	itemEnter                 // a folder begins
	itemLeave                 // the folder entered last ends
	itemGone                  // it turned out that there is nothing to store
)

type change uint8

const (
	isNew change = iota
	isChanged
	isUnchanged
)

// item is one step of the walk.
type item struct {
	kind    itemKind
	read    bool // its content has to be read
	held    bool // its folder is held open for that
	change  change
	dir     *folder
	node    snapshot.Node
	encoded string // the parent's record of it, to be taken over
	stat    source.Stat
	seen    snapshot.Seen
	fsID    string         // a file system that begins with this folder
	was     *snapshot.Node // the parent's node, if it may have to be carried
	set     *fileSet
	extras  []extra // files that were captured together with this one
	bytes   uint64  // that were read
}

// extra is a file that a set brought along.
type extra struct {
	node   snapshot.Node
	seen   snapshot.Seen
	change change
}

// path is the item's absolute path.
func (it *item) path() string {
	if it.dir == nil {
		return "/" + it.node.Name
	}
	if it.node.Name == "" {
		return it.dir.path
	}
	return strings.TrimSuffix(it.dir.path, "/") + "/" + it.node.Name
}

// folder is an open folder of the walk.
type folder struct {
	*source.Dir                   // nil above the paths that are backed up
	path        string            // as the user knows it
	region      *source.Region    // how it is read; nil is as it is
	recovers    bool              // in or below a database cluster that recovers from a power cut by itself
	fs          source.FileSystem // without an ID above the paths that were asked for
	device      uint64            // the same, as this boot numbers it
	origin      *origin           // nil above the paths that are backed up
}

// origin is a path that was asked for.
type origin struct {
	number int // in the order of the options
	base   string
	device uint64 // for OneFileSystem
	fsID   string // of the same, where that is a folder
}

// batch is a run of neighbouring items. It is done when its files are read.
type batch struct {
	items    []item
	bytes    uint64 // to be read
	reads    bool
	folders  int // that are held open for its files, or more
	done     chan struct{}
	problems []snapshot.Problem
	vanished uint64
}

var itemLists = sync.Pool{New: func() any { return new([batchItems]item) }}

func newBatch() *batch {
	return &batch{done: make(chan struct{}), items: itemLists.Get().(*[batchItems]item)[:0]}
}

// release gives back the folders of files that nobody will read, after an error.
func (b *batch) release() {
	for i := range b.items {
		b.items[i].finished()
	}
}

// finished tells that nothing of the item will be read any more.
func (it *item) finished() {
	if it.held {
		it.held = false
		it.dir.Release()
	}
}

// recycle gives the room for the items back, when nobody needs them any more.
func (b *batch) recycle() {
	clear(b.items)
	itemLists.Put((*[batchItems]item)(b.items[:batchItems]))
	b.items = nil
}
