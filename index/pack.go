package index

import (
	"fmt"

	"github.com/tarn-backup/tarn/blob"
)

// Limits of one pack, from docs/format.md. Everything read from storage is checked against them before it is allocated.
const (
	PackSizeMax    = 1 << 30 // stored bytes
	SegmentSizeMax = 8 << 20 // plaintext bytes of a segment
	SegmentsMax    = 65535
)

// HeaderSize is the length in bytes of a pack's clear header. The first segment begins there, and each of the others where
// the one before it ends.
const HeaderSize = 80

// Pack says what one pack holds, and all that is needed to read and open any of its segments with one ranged read.
type Pack struct {
	Name     blob.Name
	Session  blob.Session // the writer that made it
	Epoch    uint32       // key epoch
	Salt     [32]byte     // of the object's key
	Size     uint32       // stored bytes of the whole object
	Segments []Segment    // in the order in which they lie in the pack
	Blobs    []Entry      // in the order in which they lie in the segments
}

// Segment is a run of blobs that are compressed and sealed as one.
type Segment struct {
	Offset uint32 // of the sealed bytes in the pack
	Stored uint32 // sealed bytes, tag included
	Plain  uint32 // bytes of plaintext: the sum of the blobs' lengths
}

// Entry is one blob in a pack, as the pack says and as the index knows it.
type Entry struct {
	Prefix  Prefix // of its id
	Kind    blob.Kind
	Segment uint16
	Offset  uint32 // bytes into the segment's plaintext
	Length  uint32 // bytes
}

// Check reports what is wrong with p, if anything: segments and blobs must follow each other without gaps, in order, within
// the limits, and every segment must hold a blob. These are the packs that a directory can describe. A Size of 0 means that
// it is not known yet; otherwise the segments must end within it.
func (p *Pack) Check() error {
	if len(p.Segments) > SegmentsMax {
		return fmt.Errorf("%d segments, the limit is %d", len(p.Segments), SegmentsMax)
	}
	if p.Size > PackSizeMax {
		return fmt.Errorf("pack of %d bytes, the limit is %d", p.Size, PackSizeMax)
	}
	if n := DirectorySize(p); n > DirectorySizeMax {
		return fmt.Errorf("directory of %d bytes, the limit is %d", n, DirectorySizeMax)
	}
	end, limit := uint64(HeaderSize), uint64(PackSizeMax)
	if p.Size > 0 {
		limit = uint64(p.Size)
	}
	rest := p.Blobs
	for i, s := range p.Segments {
		if uint64(s.Offset) != end {
			return fmt.Errorf("segment %d begins at %d, want %d", i, s.Offset, end)
		}
		if end += uint64(s.Stored); end > limit {
			return fmt.Errorf("segment %d ends at %d, past %d", i, end, limit)
		}
		n, err := checkSegment(uint16(i), s.Plain, rest)
		if err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("blob %s is in no segment or out of order", rest[0].Prefix.Short())
	}
	return nil
}

// checkSegment checks the blobs of the segment, which blobs begins with, and returns how many they are.
func checkSegment(segment uint16, plain uint32, blobs []Entry) (n int, err error) {
	end := uint64(0)
	for ; n < len(blobs) && blobs[n].Segment == segment; n++ {
		e := &blobs[n]
		if !e.Kind.Valid() {
			return 0, fmt.Errorf("blob %s is of unknown %v", e.Prefix.Short(), e.Kind)
		}
		if uint64(e.Offset) != end {
			return 0, fmt.Errorf("blob %s begins at %d, want %d", e.Prefix.Short(), e.Offset, end)
		}
		if end += uint64(e.Length); end > SegmentSizeMax {
			return 0, fmt.Errorf("blob %s ends at %d, past %d", e.Prefix.Short(), end, SegmentSizeMax)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("no blobs")
	}
	if uint64(plain) != end {
		return 0, fmt.Errorf("%d bytes of plaintext, its blobs have %d", plain, end)
	}
	return n, nil
}
