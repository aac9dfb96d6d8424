package index

import (
	"cmp"
	"slices"

	"github.com/tarn-backup/tarn/blob"
)

// byPack sorts rows by their packs: a first pass counts, a second one enters each row's position where its pack's run
// is. each calls its argument with every row, twice the same ones in the same order.
//
// starts has one element more than there are packs; the rows of pack n are at positions[starts[n]:starts[n+1]].
func byPack(packs int, each func(func(position uint32, r *row))) (starts, positions []uint32) {
	starts = make([]uint32, packs+2) // one further: filling moves each start to where the next pack's is
	each(func(_ uint32, r *row) { starts[r.pack()+2]++ })
	for n := 2; n < len(starts); n++ {
		starts[n] += starts[n-1]
	}
	positions = make([]uint32, starts[packs+1])
	each(func(position uint32, r *row) {
		at := &starts[r.pack()+1]
		positions[*at] = position
		*at++
	})
	return starts[:packs+1], positions
}

// inPackOrder sorts the rows of one pack as they lie in it.
func inPackOrder(rows []Entry) {
	at := func(r *Entry) uint64 { return uint64(r.Segment)<<32 | uint64(r.Offset) }
	slices.SortFunc(rows, func(a, b Entry) int {
		if c := cmp.Compare(at(&a), at(&b)); c != 0 {
			return c
		}
		return cmp.Compare(a.Length, b.Length)
	})
}

// blobsByPack gives each live pack of the table that is wanted with its rows, until yield says no. It returns buf, for further use.
func (t *table) blobsByPack(buf []Entry, wanted func(blob.Name) bool, yield func(*PackInfo, []Entry) bool) ([]Entry, bool) {
	var shards [256]rows
	for i := range t.shards {
		shards[i] = t.shards[i].list()
	}
	packs := t.list()
	starts, positions := byPack(len(packs), func(see func(uint32, *row)) {
		for i := range shards {
			for j := range shards[i].n {
				see(uint32(i)<<24|uint32(j), shards[i].at(j))
			}
		}
	})
	for n, tp := range packs {
		if tp.dead.Load() || !wanted(tp.Name) {
			continue
		}
		buf = buf[:0]
		for _, at := range positions[starts[n]:starts[n+1]] {
			buf = append(buf, shards[at>>24].at(int(at&(1<<24-1))).entry())
		}
		inPackOrder(buf)
		if !yield(&tp.PackInfo, buf) {
			return buf, false
		}
	}
	return buf, true
}
