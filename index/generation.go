package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"github.com/FastFilter/xorfilter"

	"github.com/tarn-backup/tarn/blob"
)

// A generation is one file of the local cache: what is known of some packs, never changed once it has its name. All integers
// are little-endian.
//
//	size      section
//	96p       packs, in the order of their names
//	8s        segments, in the order of packs: end in the pack u32, bytes of plaintext u32
//	28m       slots, most of which hold a row: those of the prefixes that begin with byte 0, with byte 1, and so on
//	24*256    shards: what is known of the slots for each of these bytes
//	          filters: the fingerprints of each shard's binary fuse filter
//	4k        sums: CRC-32C of each MiB of all the above, the last of them of what is left
//	72        footer
//
//	pack      size  field
//	0         32    name
//	32        16    session
//	48        32    salt
//	80        4     key epoch
//	84        4     bytes stored
//	88        4     number of blobs
//	92        4     end of its segments in the section of segments
//
//	shard     size  field
//	0         4     number of its first slot
//	4         4     number of its homes
//	8         8     seed of its filter
//	16        4     segment length of its filter; 0: it has none
//	20        4     segment count of its filter
//
//	footer    size  field
//	0         8     magic
//	8         16    id of the repository
//	24        8     p, number of packs
//	32        8     s, number of segments
//	40        8     n, number of rows
//	48        8     m, number of slots
//	56        8     bytes of fingerprints
//	64        4     CRC-32C of the sums
//	68        4     CRC-32C of the footer up to here
//
// A shard's rows are in the order of their prefixes, in a hash table that keeps this order: a row's home is the 32 bits after
// the first byte of its prefix, scaled to the number of homes, and it stands in the first free slot from there on. A slot that
// stays free in between holds the prefix of the row before it and kind 0. So a look-up reads on from the home until a row is not
// smaller, mostly within one or two cache lines. Waiting for memory is nearly all that it costs: a sorted array without gaps,
// behind a table of where each prefix begins, makes it wait twice, and was measured to take half as long again.
type generation struct {
	path   string
	unmap  func() error
	packs  []byte // this and the next two are sections of the file, which is mapped where the system can
	segs   []byte
	slots  []byte
	shards [256]cacheShard
	rows   uint64 // slots that are taken
}

type cacheShard struct {
	begin, end int // slots
	homes      int
	filter     xorfilter.BinaryFuse[uint8] // there is none if its SegmentLength is 0
}

const (
	generationMagic = "tarnrow1"
	footerSize      = 72
	cachePackSize   = 96
	cacheShardSize  = 24
	sumBlockSize    = 1 << 20
)

// counts are the numbers in a footer.
type counts struct {
	packs, segments, rows, slots, fingerprints uint64
}

// sizes are the lengths of the sections up to the sums.
func (c *counts) sizes() [5]uint64 {
	return [...]uint64{c.packs * cachePackSize, c.segments * tableSegmentSize, c.slots * rowSize, 256 * cacheShardSize, c.fingerprints}
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendFooter(b []byte, repo [16]byte, c *counts, sums []byte) []byte {
	at := len(b)
	b = append(b, generationMagic...)
	b = append(b, repo[:]...)
	for _, v := range [...]uint64{c.packs, c.segments, c.rows, c.slots, c.fingerprints} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(sums, castagnoli()))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli()))
}

// openGeneration maps a file and checks all of it. An error wraps ErrBadCache, unless the file can't be read.
func openGeneration(path string, repo [16]byte) (*generation, error) {
	file, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("open index cache: %w", err)
	}
	g, err := parseGeneration(file, repo)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open index cache %s: %w: %w", path, ErrBadCache, err), unmap())
	}
	g.path, g.unmap = path, unmap
	return g, nil
}

// parseGeneration reads a generation, and keeps slices of file. It checks the checksums, and besides them all that the other
// methods rely on: whatever is in a file that was parsed, they don't panic.
func parseGeneration(file []byte, repo [16]byte) (*generation, error) {
	c, sums, err := parseFooter(file, repo)
	if err != nil {
		return nil, err
	}
	if err := verify(file, sums); err != nil {
		return nil, err
	}
	g, rest := &generation{rows: c.rows}, file
	var params, fingerprints []byte
	for i, section := range [...]*[]byte{&g.packs, &g.segs, &g.slots, &params, &fingerprints} {
		size := c.sizes()[i]
		*section, rest = rest[:size:size], rest[size:]
	}
	if err := g.checkPacks(); err != nil {
		return nil, err
	}
	if err := g.parseShards(params, fingerprints); err != nil {
		return nil, err
	}
	return g, nil
}

// parseFooter reads the footer and finds the sums, and checks the lengths of all sections.
func parseFooter(file []byte, repo [16]byte) (c counts, sums []byte, err error) {
	if len(file) < footerSize {
		return c, nil, fmt.Errorf("%d bytes", len(file))
	}
	body, f := file[:len(file)-footerSize], file[len(file)-footerSize:]
	if string(f[:8]) != generationMagic {
		return c, nil, errors.New("no footer of this version")
	}
	if binary.LittleEndian.Uint32(f[68:]) != crc32.Checksum(f[:68], castagnoli()) {
		return c, nil, errors.New("bad checksum of the footer")
	}
	if [16]byte(f[8:24]) != repo {
		return c, nil, fmt.Errorf("of repository %x", f[8:24])
	}
	for i, v := range [...]*uint64{&c.packs, &c.segments, &c.rows, &c.slots, &c.fingerprints} {
		*v = binary.LittleEndian.Uint64(f[24+8*i:])
		if *v > 1<<31-1 { // no sum of lengths overflows, and all numbers are ints
			return c, nil, fmt.Errorf("count of %d", *v)
		}
	}
	size := uint64(0)
	for _, n := range c.sizes() {
		size += n
	}
	if size > uint64(len(body)) || uint64(len(body))-size != (size+sumBlockSize-1)/sumBlockSize*4 {
		return c, nil, fmt.Errorf("%d bytes, the sections have %d", len(file), size)
	}
	sums = body[size:]
	if binary.LittleEndian.Uint32(f[64:]) != crc32.Checksum(sums, castagnoli()) {
		return c, nil, errors.New("bad checksum of the checksums")
	}
	return c, sums, nil
}

func verify(file, sums []byte) error {
	end := len(file) - footerSize - len(sums)
	for i, at := 0, 0; at < end; i, at = i+1, at+sumBlockSize {
		if crc32.Checksum(file[at:min(at+sumBlockSize, end)], castagnoli()) != binary.LittleEndian.Uint32(sums[4*i:]) {
			return fmt.Errorf("bad checksum of block %d", i)
		}
	}
	return nil
}

func (g *generation) checkPacks() error {
	end := uint32(0)
	for n := range g.packCount() {
		next := binary.LittleEndian.Uint32(g.packs[n*cachePackSize+92:])
		if next < end || uint64(next)*tableSegmentSize > uint64(len(g.segs)) {
			return fmt.Errorf("segments of pack %d end at %d", n, next)
		}
		end = next
	}
	return nil
}

func (g *generation) parseShards(params, fingerprints []byte) error {
	for i := range g.shards {
		p, s := params[i*cacheShardSize:][:cacheShardSize], &g.shards[i]
		begin, homes, end := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:]), uint32(g.slotCount())
		if i < len(g.shards)-1 {
			end = binary.LittleEndian.Uint32(params[(i+1)*cacheShardSize:])
		}
		if begin > end || end > uint32(g.slotCount()) || homes > 1<<30 {
			return fmt.Errorf("shard %d from slot %d to %d, %d homes", i, begin, end, homes)
		}
		s.begin, s.homes, s.end = int(begin), int(homes), int(end)
		f := &s.filter
		f.Seed = binary.LittleEndian.Uint64(p[8:])
		f.SegmentLength, f.SegmentCount = binary.LittleEndian.Uint32(p[16:]), binary.LittleEndian.Uint32(p[20:])
		if f.SegmentLength == 0 {
			continue
		}
		size := (uint64(f.SegmentCount) + 2) * uint64(f.SegmentLength)
		if f.SegmentLength&(f.SegmentLength-1) != 0 || f.SegmentCount == 0 || size > uint64(len(fingerprints)) {
			return fmt.Errorf("filter %d of %d bytes", i, size)
		}
		f.SegmentLengthMask, f.SegmentCountLength = f.SegmentLength-1, f.SegmentCount*f.SegmentLength
		f.Fingerprints, fingerprints = fingerprints[:size:size], fingerprints[size:]
	}
	if len(fingerprints) > 0 {
		return fmt.Errorf("%d bytes after the filters", len(fingerprints))
	}
	return nil
}

func (g *generation) close() error { return g.unmap() }

// removeFile takes the generation out of the cache for those who open it later.
func (g *generation) removeFile() error {
	if err := os.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old index cache: %w", err)
	}
	return nil
}

func (g *generation) packCount() int { return len(g.packs) / cachePackSize }

func (g *generation) packName(n int) blob.Name { return blob.Name(g.packs[n*cachePackSize:]) }

func (g *generation) packBlobs(n int) int {
	return int(binary.LittleEndian.Uint32(g.packs[n*cachePackSize+88:]))
}

func (g *generation) packInfo(n int) *PackInfo {
	b := g.packs[n*cachePackSize:][:cachePackSize]
	begin, end := 0, int(binary.LittleEndian.Uint32(b[92:]))
	if n > 0 {
		begin = int(binary.LittleEndian.Uint32(g.packs[n*cachePackSize-4:]))
	}
	return &PackInfo{
		Name:     blob.Name(b),
		Session:  blob.Session(b[32:]),
		Salt:     [32]byte(b[48:]),
		Epoch:    binary.LittleEndian.Uint32(b[80:]),
		Size:     binary.LittleEndian.Uint32(b[84:]),
		Blobs:    g.packBlobs(n),
		segments: g.segs[begin*tableSegmentSize : end*tableSegmentSize : end*tableSegmentSize],
	}
}

// findPack returns the number of a pack, and whether the generation has it. Names are uniform, as ids are, so a name's first bits
// tell about where it is; looking there tells better, and after three looks it is a few places away.
func (g *generation) findPack(name blob.Name) (n int, ok bool) {
	count := g.packCount()
	if count == 0 {
		return 0, false
	}
	key := int64(binary.BigEndian.Uint32(name[:]))
	n = scale(uint32(key), count)
	for range 3 {
		have := int64(binary.BigEndian.Uint32(g.packs[n*cachePackSize:]))
		n = max(0, min(count-1, n+int((key-have)*int64(count)>>32)))
	}
	compare := func(n int) int { return bytes.Compare(g.packs[n*cachePackSize:][:len(name)], name[:]) }
	for n > 0 && compare(n) > 0 {
		n--
	}
	for n < count-1 && compare(n) < 0 {
		n++
	}
	return n, compare(n) == 0
}

func (g *generation) slotCount() int { return len(g.slots) / rowSize }

func (g *generation) slot(i int) *row { return (*row)(g.slots[i*rowSize:]) }

// filterKey is what the filters know of an id.
func filterKey(prefix []byte) uint64 { return binary.LittleEndian.Uint64(prefix[8:]) }

// homeBits are the bits of a prefix that its home is taken from.
func homeBits(prefix []byte) uint32 { return binary.BigEndian.Uint32(prefix[1:]) }

// find returns the slots of id as a range of their numbers: mostly none or one.
func (g *generation) find(id *blob.ID) (begin, end int) {
	s := &g.shards[id[0]]
	if s.filter.SegmentLength > 0 && !s.filter.Contains(filterKey(id[:])) {
		return 0, 0
	}
	high, low := binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:])
	begin = s.begin + scale(homeBits(id[:]), s.homes)
	for begin < s.end && g.slot(begin).less(high, low) {
		begin++
	}
	for end = begin; end < s.end && g.slot(end).is(id) && !g.slot(end).free(); end++ {
	}
	return begin, end
}
