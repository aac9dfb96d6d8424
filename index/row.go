package index

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
)

// Prefix is the first half of a blob's ID: what the index keeps of it. The package comment says why that is enough.
type Prefix [16]byte

// PrefixOf returns the prefix of id.
func PrefixOf(id blob.ID) Prefix { return Prefix(id[:16]) }

// ParsePrefix reads 32 hex digits.
func ParsePrefix(s string) (p Prefix, err error) {
	if len(s) != hex.EncodedLen(len(p)) {
		return p, fmt.Errorf("%q: want %d hex digits", s, hex.EncodedLen(len(p)))
	}
	_, err = hex.Decode(p[:], []byte(s))
	return p, err
}

// ID returns an ID that an Index and a Set take for each that begins so.
func (p Prefix) ID() (id blob.ID) {
	copy(id[:], p[:])
	return id
}

// String returns p as 32 hex digits.
func (p Prefix) String() string { return hex.EncodeToString(p[:]) }

// Short returns the first 8 hex digits, for messages.
func (p Prefix) Short() string { return hex.EncodeToString(p[:4]) }

// row is an Entry as it is kept, in memory and in cache files, all integers little-endian:
//
//	offset  size  field
//	0       16    prefix of the id
//	16      4     number of the pack in its table or file, kind in the upper 2 bits
//	20      2     segment
//	22      3     offset
//	25      3     length
type row [rowSize]byte

const (
	rowSize  = 28
	packsMax = 1 << 30 // packs that a row can number
)

func makeRow(pack uint32, e *Entry) (r row) {
	copy(r[:16], e.Prefix[:])
	binary.LittleEndian.PutUint32(r[16:], pack|uint32(e.Kind)<<30)
	binary.LittleEndian.PutUint16(r[20:], e.Segment)
	put24(r[22:], e.Offset)
	put24(r[25:], e.Length)
	return r
}

func (r *row) prefix() Prefix { return Prefix(r[:16]) }

func (r *row) is(id *blob.ID) bool { return [16]byte(r[:16]) == [16]byte(id[:16]) }

// less reports whether r's prefix is before the one with these halves, taken as big-endian numbers.
func (r *row) less(high, low uint64) bool {
	h := binary.BigEndian.Uint64(r[:])
	return h < high || h == high && binary.BigEndian.Uint64(r[8:]) < low
}

// free reports whether r is of no kind: a slot of a cache file that holds no row.
func (r *row) free() bool { return r[19]>>6 == 0 }

func (r *row) pack() uint32 { return binary.LittleEndian.Uint32(r[16:]) & (packsMax - 1) }

func (r *row) setPack(pack uint32) {
	kind := binary.LittleEndian.Uint32(r[16:]) &^ (packsMax - 1)
	binary.LittleEndian.PutUint32(r[16:], kind|pack)
}

func (r *row) extent(pack blob.Name) blob.Extent {
	return blob.Extent{
		Pack:    pack,
		Segment: binary.LittleEndian.Uint16(r[20:]),
		Offset:  get24(r[22:]),
		Length:  get24(r[25:]),
	}
}

func (r *row) entry() Entry {
	return Entry{
		Prefix:  Prefix(r[:16]),
		Kind:    blob.Kind(r[19] >> 6),
		Segment: binary.LittleEndian.Uint16(r[20:]),
		Offset:  get24(r[22:]),
		Length:  get24(r[25:]),
	}
}

func get24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func put24(b []byte, v uint32) { b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16) }
