package prune

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

// A pack is small, and put together with others, if it has less than smallSize bytes and there are smallMin of them. Writers make packs of
// metadata alone much shorter than others.
const (
	smallSize = 4 << 20
	smallMeta = 320 << 10
	smallMin  = 8
)

// usage is how much of a pack is needed there.
type usage struct {
	name   blob.Name
	size   int64
	needed int64 // bytes of plaintext of blobs that have their home here
	plain  int64 // of all blobs
	copies int   // blobs that are needed, and have their home in another pack
	data   bool  // it holds more than metadata
}

// small reports whether the pack is better put together with others.
func (u *usage) small() bool {
	if u.data {
		return u.size < smallSize
	}
	return u.size < smallMeta
}

// unused is about how many stored bytes of a pack are of no use.
func (u *usage) unused() int64 {
	if u.plain == 0 {
		return u.size
	}
	return int64(float64(u.size) * float64(u.plain-u.needed) / float64(u.plain))
}

// plan says what becomes of the packs that are in no trash.
type plan struct {
	busy    map[blob.Session]bool
	repack  map[blob.Name]bool // what is needed of them is stored again, and then they go
	discard []blob.Name        // nothing in them is needed, or all of it is elsewhere, too
	copied  map[blob.Name]bool // of those that go, the ones that hold copies of what is needed
}

// plan looks at all packs of the first look.
func (p *pruner) plan(busy map[blob.Session]bool) (*plan, error) {
	v := p.first
	pl := &plan{busy: busy, repack: map[blob.Name]bool{}, copied: map[blob.Name]bool{}}
	var partly, kept []usage
	r := &p.result
	for _, size := range v.Packs {
		r.Before.add(size)
	}
	for n := range v.Damaged {
		if _, ok := v.Index.Pack(n); !ok {
			r.Damaged.add(v.Packs[n]) // nobody knows what is in it
		}
	}
	for info, rows := range v.Index.Blobs() {
		size, there := v.Packs[info.Name]
		if !there {
			continue // this session's own, begun since
		}
		u := p.usage(pl, info, rows, size)
		r.Unused += u.unused()
		switch {
		case busy[info.Session]:
			r.Busy.add(u.size)
		case v.Damaged[info.Name] != nil && u.needed > 0:
			r.Damaged.add(u.size)
		case u.needed == 0:
			pl.discard = append(pl.discard, u.name)
			pl.copied[u.name] = u.copies > 0
			r.Trashed.add(u.size)
		case u.needed < u.plain:
			pl.copied[u.name] = u.copies > 0
			partly = append(partly, u)
		default:
			kept = append(kept, u)
		}
	}
	p.choose(pl, partly, kept)
	return pl, nil
}

// usage counts what is needed of a pack. A blob that is in several packs is needed in one, its home.
func (p *pruner) usage(pl *plan, info *index.PackInfo, rows []index.Entry, size int64) usage {
	u := usage{name: info.Name, size: size}
	for i := range rows {
		row := &rows[i]
		u.plain += int64(row.Length)
		u.data = u.data || !row.Kind.Meta()
		id := idOf(row)
		switch {
		case !p.marker.live.Has(id):
		case p.home(pl, id) == info.Name:
			u.needed += int64(row.Length)
		default:
			u.copies++
		}
	}
	return u
}

// home is the pack that is to keep a blob: the one that seems the safest and the longest-lived. All who ask get the same answer.
func (p *pruner) home(pl *plan, id blob.ID) blob.Name {
	var buf [4]blob.Extent
	copies := p.first.Index.LookupAll(id, buf[:0])
	if len(copies) == 1 {
		return copies[0].Pack
	}
	var best blob.Name
	var score [3]int64
	for _, e := range copies {
		info, ok := p.first.Index.Pack(e.Pack)
		if !ok {
			continue
		}
		s := [3]int64{1, 0, p.first.Packs[e.Pack]}
		if p.first.Damaged[e.Pack] != nil {
			s[0] = 0
		}
		if pl.busy[info.Session] { // it stays in any case
			s[1] = 1
		}
		if c := slices.Compare(s[:], score[:]); best.IsZero() || c > 0 || c == 0 && bytes.Compare(e.Pack[:], best[:]) < 0 {
			best, score = e.Pack, s
		}
	}
	return best
}

// choose decides which packs are stored again: those of which the least is needed, until little enough is of no use, and small ones if
// there are many.
func (p *pruner) choose(pl *plan, partly, kept []usage) {
	r := &p.result
	var stored, left int64
	for i := range partly {
		stored += partly[i].size
		left += partly[i].unused()
	}
	for i := range kept {
		stored += kept[i].size
	}
	slices.SortFunc(partly, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.unused()*a.size, a.unused()*b.size), bytes.Compare(a.name[:], b.name[:]))
	})
	again := func(u *usage) bool {
		if p.options.MaxRepack > 0 && r.Repacked.Bytes+u.size > p.options.MaxRepack {
			return false
		}
		pl.repack[u.name] = true
		r.Repacked.add(u.size)
		return true
	}
	allowed := p.options.MaxUnused.of(stored)
	for i := range partly {
		u := &partly[i]
		if left > allowed && again(u) {
			left -= u.unused()
			stored -= u.unused()
			allowed = p.options.MaxUnused.of(stored)
			continue
		}
		kept = append(kept, *u)
	}
	r.Left = left
	var small []*usage
	for i := range kept {
		if kept[i].small() {
			small = append(small, &kept[i])
		}
	}
	if len(small) < smallMin {
		return
	}
	slices.SortFunc(small, func(a, b *usage) int { return cmp.Or(cmp.Compare(a.size, b.size), bytes.Compare(a.name[:], b.name[:])) })
	for _, u := range small {
		if !again(u) {
			return
		}
	}
}
