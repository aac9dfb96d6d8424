package index

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"slices"

	"github.com/FastFilter/xorfilter"

	"github.com/tarn-backup/tarn/blob"
)

const (
	// writeSize is a large page: what was written in such pieces Linux keeps and maps in large pages, on file systems
	// that can, and look-ups take half the time (measured on ext4, Linux 6.18).
	writeSize = 2 << 20

	filterRowsMin = 64      // a shard with fewer rows is searched as fast without a filter
	packGone      = 1 << 31 // instead of a number: of a pack that isn't taken over
)

// builder makes one generation of older ones and of new packs. It holds one shard's rows at a time, besides those of the new
// packs, so that merging ten million rows takes little memory.
type builder struct {
	repo    [16]byte
	sources []source
	packs   []builderPack // in the order of their names
	fresh   [256][]row    // of new packs, by shard

	counts counts
	params []byte // of the shards that are written
	prints []byte // their filters' fingerprints
	shard  []row  // the one that is loaded
	sorted []row  // scratch, like the next three
	next   []uint32
	keys   []uint64
	fuse   xorfilter.BinaryFuseBuilder
}

// source is a generation that is merged into the new one.
type source struct {
	*generation
	numbers []uint32 // by the number of a pack here, its number in the new generation, or packGone
}

// builderPack says where a pack comes from: fresh, or number n of a source.
type builderPack struct {
	name   blob.Name
	fresh  *Pack
	source int
	n      int
}

// newBuilder takes over the packs of gens that keep says yes to, and the packs of fresh. Of a pack that is there more than
// once, one is taken.
func newBuilder(repo [16]byte, gens []*generation, keep func(gen, pack int) bool, fresh []*Pack) *builder {
	b := &builder{repo: repo}
	for i, g := range gens {
		b.sources = append(b.sources, source{g, make([]uint32, g.packCount())})
		for n := range g.packCount() {
			b.sources[i].numbers[n] = packGone
			if keep(i, n) {
				b.packs = append(b.packs, builderPack{name: g.packName(n), source: i, n: n})
			}
		}
	}
	for _, p := range fresh {
		b.packs = append(b.packs, builderPack{name: p.Name, fresh: p})
	}
	slices.SortStableFunc(b.packs, func(p, q builderPack) int { return bytes.Compare(p.name[:], q.name[:]) })
	b.packs = slices.CompactFunc(b.packs, func(p, q builderPack) bool { return p.name == q.name })
	for number := range b.packs {
		b.number(uint32(number))
	}
	b.counts.packs = uint64(len(b.packs))
	return b
}

// number gives a pack its number in the new generation, and takes the rows of a fresh one.
func (b *builder) number(number uint32) {
	p := &b.packs[number]
	if p.fresh == nil {
		g := &b.sources[p.source]
		g.numbers[p.n] = number
		b.counts.rows += uint64(g.packBlobs(p.n))
		b.counts.segments += uint64(g.packInfo(p.n).Segments())
		return
	}
	for i := range p.fresh.Blobs {
		r := makeRow(number, &p.fresh.Blobs[i])
		b.fresh[r[0]] = append(b.fresh[r[0]], r)
	}
	b.counts.rows += uint64(len(p.fresh.Blobs))
	b.counts.segments += uint64(len(p.fresh.Segments))
}

// name is the file's name: it depends on nothing but which packs the generation has, so that two processes that merge the
// same packs make one file.
func (b *builder) name() string {
	h := sha256.New()
	for i := range b.packs {
		h.Write(b.packs[i].name[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]) + generationSuffix
}

// write writes the whole file, front to back.
func (b *builder) write(w io.Writer) error {
	s := &summer{w: w}
	buf := bufio.NewWriterSize(s, writeSize) // its errors stick, and come out of Flush
	b.writePacks(buf)
	for i := range b.fresh {
		b.loadShard(i)
		b.writeShard(buf)
	}
	buf.Write(b.params)
	buf.Write(b.prints)
	if err := buf.Flush(); err != nil {
		return err
	}
	b.counts.fingerprints = uint64(len(b.prints))
	sums := s.sums()
	if _, err := w.Write(sums); err != nil {
		return err
	}
	_, err := w.Write(appendFooter(nil, b.repo, &b.counts, sums))
	return err
}

func (b *builder) writePacks(w *bufio.Writer) {
	info, end := make([]*PackInfo, 1), uint32(0)
	each := func(fn func(*PackInfo)) {
		for _, p := range b.packs {
			if p.fresh != nil {
				made := makePackInfo(p.fresh)
				info[0] = &made
			} else {
				info[0] = b.sources[p.source].packInfo(p.n)
			}
			fn(info[0])
		}
	}
	each(func(p *PackInfo) {
		end += uint32(p.Segments())
		w.Write(p.Name[:])
		w.Write(p.Session[:])
		w.Write(p.Salt[:])
		for _, v := range [...]uint32{p.Epoch, p.Size, uint32(p.Blobs), end} {
			w.Write(binary.LittleEndian.AppendUint32(w.AvailableBuffer(), v))
		}
	})
	each(func(p *PackInfo) { w.Write(p.segments) })
}

// loadShard collects the rows whose prefixes begin with byte i.
func (b *builder) loadShard(i int) {
	b.shard = append(b.shard[:0], b.fresh[i]...)
	b.fresh[i] = nil
	for _, s := range b.sources {
		for at := s.shards[i].begin; at < s.shards[i].end; at++ {
			r := *s.slot(at)
			if old := r.pack(); !r.free() && int(old) < len(s.numbers) && s.numbers[old] != packGone {
				r.setPack(s.numbers[old])
				b.shard = append(b.shard, r)
			}
		}
	}
}

// writeShard writes the slots of the shard that is loaded, and adds its parameters and its filter.
func (b *builder) writeShard(w *bufio.Writer) {
	homes := len(b.shard) * 8 / 7
	home := func(r *row) int { return scale(homeBits(r[:]), homes) }
	b.sortShard(homes, home)
	b.params = binary.LittleEndian.AppendUint32(b.params, uint32(b.counts.slots))
	b.params = binary.LittleEndian.AppendUint32(b.params, uint32(homes))
	b.addFilter()
	var free row
	slot := 0
	for i := range b.shard {
		r := &b.shard[i]
		for ; slot < home(r); slot++ {
			w.Write(free[:])
		}
		w.Write(r[:])
		slot++
		copy(free[:16], r[:])
	}
	b.counts.slots += uint64(slot)
}

// sortShard deals the rows to their homes, and sorts the few that have the same one.
func (b *builder) sortShard(homes int, home func(*row) int) {
	b.next = slices.Grow(b.next[:0], homes+1)[:homes+1]
	clear(b.next)
	for i := range b.shard {
		b.next[home(&b.shard[i])+1]++
	}
	for i := range homes {
		b.next[i+1] += b.next[i]
	}
	b.sorted = slices.Grow(b.sorted[:0], len(b.shard))[:len(b.shard)]
	for i := range b.shard {
		n := &b.next[home(&b.shard[i])]
		b.sorted[*n] = b.shard[i]
		*n++
	}
	b.shard, b.sorted = b.sorted, b.shard
	begin := uint32(0)
	for _, end := range b.next[:homes] { // the starts have become the ends
		slices.SortFunc(b.shard[begin:end], compareRows)
		begin = end
	}
}

// compareRows sorts by prefix, and copies of a blob by pack and place.
func compareRows(r, s row) int { return bytes.Compare(r[:], s[:]) }

// addFilter makes the filter of the shard that is loaded.
func (b *builder) addFilter() {
	b.keys = b.keys[:0]
	for i := range b.shard {
		if i == 0 || Prefix(b.shard[i][:]) != Prefix(b.shard[i-1][:]) {
			b.keys = append(b.keys, filterKey(b.shard[i][:]))
		}
	}
	var f xorfilter.BinaryFuse[uint8] // the zero one is no filter
	if len(b.keys) >= filterRowsMin {
		if built, err := xorfilter.BuildBinaryFuse[uint8](&b.fuse, b.keys); err == nil {
			f = built
		}
	}
	b.params = binary.LittleEndian.AppendUint64(b.params, f.Seed)
	b.params = binary.LittleEndian.AppendUint32(b.params, f.SegmentLength)
	b.params = binary.LittleEndian.AppendUint32(b.params, f.SegmentCount)
	b.prints = append(b.prints, f.Fingerprints...)
}

// summer passes on what is written and sums it up block by block.
type summer struct {
	w    io.Writer
	done []byte
	sum  uint32
	n    int // bytes in the block that is not done
}

func (s *summer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part := rest[:min(len(rest), sumBlockSize-s.n)]
		s.sum = crc32.Update(s.sum, castagnoli(), part)
		rest, s.n = rest[len(part):], s.n+len(part)
		if s.n == sumBlockSize {
			s.done = binary.LittleEndian.AppendUint32(s.done, s.sum)
			s.sum, s.n = 0, 0
		}
	}
	return s.w.Write(p)
}

func (s *summer) sums() []byte {
	if s.n > 0 {
		return binary.LittleEndian.AppendUint32(s.done, s.sum)
	}
	return s.done
}
