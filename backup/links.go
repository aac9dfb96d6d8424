package backup

import (
	"encoding/binary"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/zeebo/blake3"
)

type inode struct{ device, number uint64 }

// linked is what is known of an inode with several names.
type linked struct {
	key  snapshot.LinkKey
	left uint64 // names that were not seen yet
}

// link gives the names of one inode their common key: a hash of the first one in walk order, relative to the path that was asked for, so that
// equal folders have equal trees wherever they are.
func (w *walker) link(it *item) {
	if it.stat.Links < 2 || it.stat.Inode == 0 {
		return
	}
	in := inode{it.stat.Device, it.stat.Inode}
	l, ok := w.links[in]
	if !ok {
		l.left = it.stat.Links
		name := binary.AppendUvarint(nil, uint64(it.dir.origin.number))
		name = append(name, strings.TrimPrefix(it.path(), it.dir.origin.base)...)
		sum := blake3.Sum256(name)
		copy(l.key[:], sum[:])
	}
	it.node.Link = l.key
	if l.left--; l.left == 0 {
		delete(w.links, in)
	} else {
		w.links[in] = l
	}
}
