package backup

import (
	"encoding/binary"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
	"github.com/zeebo/blake3"
)

type inode struct{ device, number uint64 }

// links has the keys of all inodes with several names that were met, about 50 bytes for each: a name can turn up again when the folders are
// looked at once more.
type links map[inode]snapshot.LinkKey

// link gives the names of one inode their common key: a hash of the first one in walk order, relative to the path that was asked for, so that
// equal folders have equal trees wherever they are.
func (w *walker) link(it *item) {
	if it.stat.Links < 2 || it.stat.Inode == 0 {
		return
	}
	in := inode{it.stat.Device, it.stat.Inode}
	key, ok := w.links[in]
	if !ok {
		name := binary.AppendUvarint(nil, uint64(it.dir.origin.number))
		name = append(name, strings.TrimPrefix(it.path(), it.dir.origin.base)...)
		sum := blake3.Sum256(name)
		copy(key[:], sum[:])
		w.links[in] = key
	}
	it.node.Link = key
}

// linkAfter is the link key of a file that was captured, which the walk saw as it.stat. If another file has its name since, the key is not its own.
// One that reuses the inode of a file that was removed has one name, as a rule.
func linkAfter(it *item, captured *source.Stat) snapshot.LinkKey {
	if captured.Inode != it.stat.Inode || captured.Links < 2 {
		return snapshot.LinkKey{}
	}
	return it.node.Link
}
