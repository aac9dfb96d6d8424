package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/tlv"
)

// The encodings below are plaintext: they stand in sealed segments. All integers of fixed size are little-endian.
//
// Directory, in each pack and in index objects:
//
//	offset      size  field
//	0           16    session that wrote the pack
//	16          4     s, number of segments, at most 65,535
//	20          8s    segments, in the order in which they lie in the pack
//	20+8s       16b   the first half of each blob's id, in the order in which the blobs lie in the segments; b is the sum of
//	                  the segments' blob counts
//	20+8s+16b         for each blob, in the same order: uvarint (length << 2 | kind), in its shortest form
//
//	segment            size  field
//	0                  4     sealed bytes, tag included
//	4                  4     number of blobs, at least 1
//
// A length is the plaintext's in bytes; kinds are 1 data, 2 tree, 3 scan. Ids don't compress and lengths do, so each stand together.
//
// Offsets are not stored. The first segment begins at byte 80 of the pack and each of the others where the one before it
// ends; in the same way blobs follow each other from byte 0 of their segment's plaintext, and a segment's plaintext is as long
// as its blobs together. So a directory can't contradict itself, and has one encoding only. A segment has at most 8 MiB of
// plaintext, the segments end within the pack (at most 1 GiB), and a directory has at most 8 MiB: it fits in one segment.
//
// List of an index object, followed by the directories of the packs in the order of the list:
//
//	offset   size  field
//	0        4     p, number of packs
//	4        76p   packs
//
//	pack               size  field
//	0                  32    name
//	32                 4     key epoch
//	36                 32    salt
//	68                 4     stored bytes of the pack, more than 80 and at most 1 GiB
//	72                 4     bytes of its directory
//
// The list and the directories together have at most 16 MiB.
const (
	directoryHead = 20
	prefixSize    = 16
	lengthSizeMax = 4 // bytes of a length and a kind
	entrySizeMin  = prefixSize + 1
	kindBits      = 2
	listHead      = 4
	listedSize    = 76
)

// SegmentSize is the number of bytes that a segment takes in a directory.
const SegmentSize = 8

// Limits of index objects and of what stands in them.
const (
	DirectorySizeMax = 8 << 20  // bytes of one pack's directory
	ObjectSizeMax    = 16 << 20 // plaintext bytes of an index object: the list and the directories
)

// DirectorySize is the encoded length in bytes of p's directory. Who writes a pack ends it before this passes DirectorySizeMax.
func DirectorySize(p *Pack) int {
	n := directoryHead + len(p.Segments)*SegmentSize
	for i := range p.Blobs {
		n += p.Blobs[i].Size()
	}
	return n
}

// Size is the number of bytes that a blob takes in a directory.
func (e *Entry) Size() int { return prefixSize + (bits.Len64(e.lengthAndKind()|1)+6)/7 }

// DirectorySizeMost bounds the encoded length in bytes of a directory of so many segments and blobs.
func DirectorySizeMost(segments, blobs int) int {
	return directoryHead + segments*SegmentSize + blobs*(prefixSize+lengthSizeMax)
}

// lengthAndKind is how both stand in a directory.
func (e *Entry) lengthAndKind() uint64 {
	return uint64(e.Length)<<kindBits | uint64(e.Kind)&(1<<kindBits-1)
}

// AppendDirectory appends p's directory to b. Name, epoch, salt and size are not part of it, since they stand beside it wherever
// it is stored. p must pass Check, or the result can't be decoded.
func AppendDirectory(b []byte, p *Pack) []byte {
	b = append(b, p.Session[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Segments)))
	rest := p.Blobs
	for i, s := range p.Segments {
		n := 0
		for n < len(rest) && int(rest[n].Segment) == i {
			n++
		}
		rest = rest[n:]
		b = binary.LittleEndian.AppendUint32(b, s.Stored)
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for i := range p.Blobs {
		b = append(b, p.Blobs[i].Prefix[:]...)
	}
	for i := range p.Blobs {
		b = binary.AppendUvarint(b, p.Blobs[i].lengthAndKind())
	}
	return b
}

// DecodeDirectory reads a directory that fills all of s into p, whose other fields it leaves alone. If p.Size is set, the
// segments must end within it.
func DecodeDirectory(s string, p *Pack) error {
	if err := decodeDirectory(s, p); err != nil {
		return fmt.Errorf("decode directory: %w", err)
	}
	return nil
}

func decodeDirectory(s string, p *Pack) error {
	if len(s) < directoryHead || len(s) > DirectorySizeMax {
		return fmt.Errorf("length of %d bytes", len(s))
	}
	n := uint64(le32(s, 16))
	if n > SegmentsMax || n*SegmentSize > uint64(len(s)-directoryHead) {
		return fmt.Errorf("%d segments in %d bytes", n, len(s))
	}
	table, rest := s[directoryHead:directoryHead+n*SegmentSize], s[directoryHead+n*SegmentSize:]
	blobs := uint64(0) // can't overflow: 65,535 numbers of 32 bits
	for i := range n {
		blobs += uint64(le32(table, i*SegmentSize+4))
	}
	if blobs*entrySizeMin > uint64(len(rest)) {
		return fmt.Errorf("%d blobs in %d bytes", blobs, len(rest))
	}
	d := entryReader{prefixes: rest[:blobs*prefixSize], lengths: rest[blobs*prefixSize:]}
	copy(p.Session[:], s)
	p.Segments, p.Blobs = make([]Segment, n), make([]Entry, 0, blobs)
	end := uint64(HeaderSize)
	for i := range p.Segments {
		g := &p.Segments[i]
		g.Offset, g.Stored = uint32(end), le32(table, uint64(i)*SegmentSize)
		if end += uint64(g.Stored); end > PackSizeMax {
			return fmt.Errorf("segment %d ends past %d bytes", i, PackSizeMax)
		}
		for range le32(table, uint64(i)*SegmentSize+4) {
			e, err := d.next()
			if err != nil {
				return fmt.Errorf("blob %d: %w", len(p.Blobs), err)
			}
			e.Segment, e.Offset = uint16(i), g.Plain
			p.Blobs = append(p.Blobs, e)
			if g.Plain += e.Length; g.Plain > SegmentSizeMax {
				return fmt.Errorf("segment %d has more than %d bytes of plaintext", i, SegmentSizeMax)
			}
		}
	}
	if d.lengths != "" {
		return fmt.Errorf("%d bytes follow the last blob", len(d.lengths))
	}
	return p.Check()
}

// entryReader reads the blobs of a directory from its two columns.
type entryReader struct{ prefixes, lengths string }

func (r *entryReader) next() (e Entry, err error) {
	v, n := tlv.Uvarint(r.lengths)
	if n == 0 || n > lengthSizeMax {
		return e, errors.New("bad length")
	}
	e.Length, e.Kind = uint32(v>>kindBits), blob.Kind(v&(1<<kindBits-1))
	copy(e.Prefix[:], r.prefixes)
	r.prefixes, r.lengths = r.prefixes[prefixSize:], r.lengths[n:]
	return e, nil
}

// Listed is one pack of an index object's list: what is known of it besides its directory.
type Listed struct {
	Name      blob.Name
	Epoch     uint32   // key epoch
	Salt      [32]byte // of the object's key
	Size      uint32   // stored bytes of the whole object
	Directory uint32   // encoded bytes of its directory
}

// Listed returns p's place in an index object's list.
func (p *Pack) Listed() Listed {
	return Listed{Name: p.Name, Epoch: p.Epoch, Salt: p.Salt, Size: p.Size, Directory: uint32(DirectorySize(p))}
}

// Pack returns the pack whose directory is given: the inverse of Pack.Listed and AppendDirectory.
func (l *Listed) Pack(directory string) (*Pack, error) {
	p := &Pack{Name: l.Name, Epoch: l.Epoch, Salt: l.Salt, Size: l.Size}
	if len(directory) != int(l.Directory) {
		return nil, fmt.Errorf("pack %s: directory of %d bytes, the list says %d", l.Name.Short(), len(directory), l.Directory)
	}
	if err := DecodeDirectory(directory, p); err != nil {
		return nil, fmt.Errorf("pack %s: %w", l.Name.Short(), err)
	}
	return p, nil
}

// AppendList appends the list of an index object to b. The directories follow it in the object, in the same order.
func AppendList(b []byte, list []Listed) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
	for i := range list {
		l := &list[i]
		b = append(b, l.Name[:]...)
		b = binary.LittleEndian.AppendUint32(b, l.Epoch)
		b = append(b, l.Salt[:]...)
		b = binary.LittleEndian.AppendUint32(b, l.Size)
		b = binary.LittleEndian.AppendUint32(b, l.Directory)
	}
	return b
}

// DecodeList reads a list that fills all of s.
func DecodeList(s string) ([]Listed, error) {
	if len(s) < listHead || len(s) > ObjectSizeMax {
		return nil, fmt.Errorf("decode list: length of %d bytes", len(s))
	}
	n := uint64(le32(s, 0))
	if n*listedSize != uint64(len(s)-listHead) {
		return nil, fmt.Errorf("decode list: %d packs in %d bytes", n, len(s))
	}
	list, total := make([]Listed, n), uint64(len(s))
	for i := range list {
		l, r := &list[i], s[listHead+i*listedSize:]
		copy(l.Name[:], r)
		l.Epoch = le32(r, 32)
		copy(l.Salt[:], r[36:])
		l.Size, l.Directory = le32(r, 68), le32(r, 72)
		if l.Size <= HeaderSize || l.Size > PackSizeMax || l.Directory < directoryHead || l.Directory > DirectorySizeMax {
			return nil, fmt.Errorf("decode list: pack %s of %d bytes with a directory of %d", l.Name.Short(), l.Size, l.Directory)
		}
		if total += uint64(l.Directory); total > ObjectSizeMax {
			return nil, fmt.Errorf("decode list: the directories pass %d bytes", ObjectSizeMax)
		}
	}
	return list, nil
}

// le32 reads the little-endian number at s[i:].
func le32(s string, i uint64) uint32 {
	_ = s[i+3]
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}
