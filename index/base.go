package index

import (
	"sync/atomic"

	"github.com/tarn-backup/tarn/blob"
)

// base is one generation of the local cache as an Index sees it: with the packs that are live, and that no generation
// before it has.
type base struct {
	*generation
	live  []atomic.Bool // by number of the pack
	blobs atomic.Int64  // of live packs
}

func newBase(g *generation) *base {
	return &base{generation: g, live: make([]atomic.Bool, g.packCount())}
}

// add makes a pack live if the generation has it, and reports whether it does.
func (b *base) add(name blob.Name) bool {
	n, ok := b.findPack(name)
	if ok {
		b.addNumber(n)
	}
	return ok
}

func (b *base) addNumber(n int) {
	if !b.live[n].Swap(true) {
		b.blobs.Add(int64(b.packBlobs(n)))
	}
}

func (b *base) remove(name blob.Name) {
	if n, ok := b.findPack(name); ok && b.live[n].Swap(false) {
		b.blobs.Add(-int64(b.packBlobs(n)))
	}
}

func (b *base) has(name blob.Name) bool {
	n, ok := b.findPack(name)
	return ok && b.live[n].Load()
}

func (b *base) pack(name blob.Name) (*PackInfo, bool) {
	if n, ok := b.findPack(name); ok && b.live[n].Load() {
		return b.packInfo(n), true
	}
	return nil, false
}

func (b *base) isLive(pack uint32) bool { return int(pack) < len(b.live) && b.live[pack].Load() }

func (b *base) lookup(id *blob.ID) (blob.Extent, bool) {
	begin, end := b.find(id)
	for i := begin; i < end; i++ {
		if r := b.slot(i); b.isLive(r.pack()) {
			return r.extent(b.packName(int(r.pack()))), true
		}
	}
	return blob.Extent{}, false
}

func (b *base) lookupAll(id *blob.ID, buf []blob.Extent) []blob.Extent {
	begin, end := b.find(id)
	for i := begin; i < end; i++ {
		if r := b.slot(i); b.isLive(r.pack()) {
			buf = append(buf, r.extent(b.packName(int(r.pack()))))
		}
	}
	return buf
}

// all is Index.All for a generation.
func (b *base) all(yield func(*PackInfo, Entry) bool) bool {
	infos := make([]*PackInfo, b.packCount())
	for i := range b.slotCount() {
		r := b.slot(i)
		if r.free() || !b.isLive(r.pack()) {
			continue
		}
		info := &infos[r.pack()]
		if *info == nil {
			*info = b.packInfo(int(r.pack()))
		}
		if !yield(*info, r.entry()) {
			return false
		}
	}
	return true
}

// blobsByPack is table.blobsByPack for a generation.
func (b *base) blobsByPack(rows []Entry, wanted func(blob.Name) bool, yield func(*PackInfo, []Entry) bool) ([]Entry, bool) {
	starts, positions := byPack(b.packCount(), func(see func(uint32, *row)) {
		for i := range b.slotCount() {
			if r := b.slot(i); !r.free() && int(r.pack()) < len(b.live) {
				see(uint32(i), r)
			}
		}
	})
	for n := range b.live {
		if !b.live[n].Load() {
			continue
		}
		info := b.packInfo(n)
		if !wanted(info.Name) {
			continue
		}
		rows = rows[:0]
		for _, i := range positions[starts[n]:starts[n+1]] {
			rows = append(rows, b.slot(int(i)).entry())
		}
		inPackOrder(rows)
		if !yield(info, rows) {
			return rows, false
		}
	}
	return rows, true
}
