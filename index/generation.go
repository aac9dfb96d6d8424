package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
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
//	28n       rows, in the order of their prefixes, each with the number of its pack in the section above; see row
//	4(2^f+1)  fan-out: the number of rows whose prefix, its first f bits taken as a number, is below 0, 1, ... 2^f
//	16*256    filter parameters: seed u64, segment length u32, segment count u32; zeros where there is no filter
//	          filters: for each value of a prefix's first byte, the fingerprints of a binary fuse filter
//	4k        sums: CRC-32C of each MiB of all the above, the last of them of what is left
//	72        footer
//
//	pack      size  field                          footer    size  field
//	0         32    name                           0         8     magic
//	32        16    session                        8         16    id of the repository
//	48        32    salt                           24        8     p, number of packs
//	80        4     key epoch                      32        8     s, number of segments
//	84        4     bytes stored                   40        8     n, number of rows
//	88        4     number of blobs                48        8     f, bits of the fan-out, at least 8
//	92        4     end of its segments in the     56        8     bytes of fingerprints
//	                section of segments            64        4     CRC-32C of the sums
//	                                               68        4     CRC-32C of the footer up to here
type generation struct {
	path   string
	unmap  func() error
	packs  []byte // this and the next three are sections of the file, which is mapped where the system can
	segs   []byte
	rows   []byte
	fanout []byte
	filter [256]xorfilter.BinaryFuse[uint8]
	shift  uint // 64 less the bits of the fan-out
}

const (
	generationMagic = "tarnrow1"
	footerSize      = 72
	cachePackSize   = 96
	filterParamSize = 16
	sumBlockSize    = 1 << 20
	fanoutBitsMin   = 8
	fanoutBitsMax   = 28
	window          = 8
)

// counts are the numbers in a footer.
type counts struct {
	packs, segments, rows, fanoutBits, fingerprints uint64
}

// sizes are the lengths of the sections up to the sums.
func (c *counts) sizes() [6]uint64 {
	return [...]uint64{
		c.packs * cachePackSize, c.segments * tableSegmentSize, c.rows * rowSize, 4 * (1<<c.fanoutBits + 1), 256 * filterParamSize,
		c.fingerprints,
	}
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendFooter(b []byte, repo [16]byte, c *counts, sums []byte) []byte {
	at := len(b)
	b = append(b, generationMagic...)
	b = append(b, repo[:]...)
	for _, v := range [...]uint64{c.packs, c.segments, c.rows, c.fanoutBits, c.fingerprints} {
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
		unmap()
		return nil, fmt.Errorf("open index cache %s: %w: %w", path, ErrBadCache, err)
	}
	g.path, g.unmap = path, unmap
	return g, nil
}

func parseGeneration(file []byte, repo [16]byte) (*generation, error) {
	c, sums, err := parseFooter(file, repo)
	if err != nil {
		return nil, err
	}
	if err := verify(file, sums); err != nil {
		return nil, err
	}
	g, rest := &generation{shift: 64 - uint(c.fanoutBits)}, file
	var params, fingerprints []byte
	for i, section := range [...]*[]byte{&g.packs, &g.segs, &g.rows, &g.fanout, &params, &fingerprints} {
		size := c.sizes()[i]
		*section, rest = rest[:size:size], rest[size:]
	}
	if err := g.checkPacks(); err != nil {
		return nil, err
	}
	return g, g.parseFilters(params, fingerprints)
}

// parseFooter reads the footer and finds the sums, and checks the lengths of all sections.
func parseFooter(file []byte, repo [16]byte) (c counts, sums []byte, err error) {
	if len(file) < footerSize {
		return c, nil, fmt.Errorf("%d bytes", len(file))
	}
	body, f := file[:len(file)-footerSize], file[len(file)-footerSize:]
	if string(f[:8]) != generationMagic {
		return c, nil, fmt.Errorf("no footer of this version")
	}
	if binary.LittleEndian.Uint32(f[68:]) != crc32.Checksum(f[:68], castagnoli()) {
		return c, nil, fmt.Errorf("bad checksum of the footer")
	}
	if [16]byte(f[8:24]) != repo {
		return c, nil, fmt.Errorf("of repository %x", f[8:24])
	}
	for i, v := range [...]*uint64{&c.packs, &c.segments, &c.rows, &c.fanoutBits, &c.fingerprints} {
		*v = binary.LittleEndian.Uint64(f[24+8*i:])
		if *v > 1<<32-1 {
			return c, nil, fmt.Errorf("count of %d", *v)
		}
	}
	if c.fanoutBits < fanoutBitsMin || c.fanoutBits > fanoutBitsMax || c.packs > packsMax {
		return c, nil, fmt.Errorf("fan-out of %d bits, %d packs", c.fanoutBits, c.packs)
	}
	size := uint64(0)
	for _, n := range c.sizes() {
		size += n
	}
	if size > uint64(len(body)) || uint64(len(body))-size != (size+sumBlockSize-1)/sumBlockSize*4 {
		return c, nil, fmt.Errorf("%d bytes, want other %d", len(file), size)
	}
	sums = body[size:]
	if binary.LittleEndian.Uint32(f[64:]) != crc32.Checksum(sums, castagnoli()) {
		return c, nil, fmt.Errorf("bad checksum of the checksums")
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

// checkPacks checks what packInfo relies on, since a checksum proves only that the file is as it was written.
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

func (g *generation) parseFilters(params, fingerprints []byte) error {
	for i := range g.filter {
		p, f := params[i*filterParamSize:], &g.filter[i]
		f.Seed = binary.LittleEndian.Uint64(p)
		f.SegmentLength, f.SegmentCount = binary.LittleEndian.Uint32(p[8:]), binary.LittleEndian.Uint32(p[12:])
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

func (g *generation) packCount() int { return len(g.packs) / cachePackSize }

func (g *generation) rowCount() int { return len(g.rows) / rowSize }

func (g *generation) row(i int) *row { return (*row)(g.rows[i*rowSize:]) }

func (g *generation) packName(n int) blob.Name { return blob.Name(g.packs[n*cachePackSize:]) }

func (g *generation) packBlobs(n int) uint32 {
	return binary.LittleEndian.Uint32(g.packs[n*cachePackSize+88:])
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
		Blobs:    int(binary.LittleEndian.Uint32(b[88:])),
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

// shard returns the rows whose prefixes begin with byte i, as a range of their numbers.
func (g *generation) shard(i int) (begin, end int) {
	step := len(g.fanout) / 4 >> 8 * 4 // the fan-out has one number more than 256 steps
	begin, end = int(binary.LittleEndian.Uint32(g.fanout[i*step:])), int(binary.LittleEndian.Uint32(g.fanout[(i+1)*step:]))
	return min(begin, end, g.rowCount()), min(end, g.rowCount())
}

// filterKey is what the filters know of an id.
func filterKey(prefix []byte) uint64 { return binary.LittleEndian.Uint64(prefix[8:]) }

// find returns the rows of id as a range of their numbers: few, next to each other, mostly none or one.
func (g *generation) find(id *blob.ID) (begin, end int) {
	if f := &g.filter[id[0]]; f.SegmentLength > 0 && !f.Contains(filterKey(id[:])) {
		return 0, 0
	}
	high, low := binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:])
	at := high >> g.shift * 4
	first, last := int(binary.LittleEndian.Uint32(g.fanout[at:])), int(binary.LittleEndian.Uint32(g.fanout[at+4:]))
	if first >= last || last > g.rowCount() {
		return 0, 0
	}
	// Ids are uniform: the bits that follow those of the fan-out tell about where among the bucket's rows this one is. Counting
	// the smaller ones of a few rows around needs no branch that the processor could guess wrong, so it goes on to the next
	// look-up while this one waits for memory: that makes it twice as fast as a search.
	i := max(first, min(first+scale(uint32(high<<(64-g.shift)>>32), last-first)-window/2, last-window))
	if last-first >= window {
		smaller := uint64(0)
		for j := range window {
			_, less := bits.Sub64(binary.BigEndian.Uint64(g.rows[(i+j)*rowSize:]), high, 0)
			smaller += less
		}
		i += int(smaller)
	}
	if i == last || !g.row(i).is(id) || i > first && !g.less(i-1, high, low) {
		for i > first && !g.less(i-1, high, low) {
			i--
		}
		for i < last && g.less(i, high, low) {
			i++
		}
	}
	for begin, end = i, i; end < last && g.row(end).is(id); end++ {
	}
	return begin, end
}

// less reports whether row i is before the id with this prefix.
func (g *generation) less(i int, high, low uint64) bool {
	r := g.row(i)
	h := binary.BigEndian.Uint64(r[:])
	return h < high || h == high && binary.BigEndian.Uint64(r[8:]) < low
}

// removeFile takes the generation out of the cache for those who open it later.
func (g *generation) removeFile() error {
	if err := os.Remove(g.path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove old index cache: %w", err)
	}
	return nil
}
