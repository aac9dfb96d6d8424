package fusefs

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"github.com/tarn-backup/tarn/snapshot"
)

// piece is an element of a content and where it begins.
type piece struct {
	snapshot.Element
	off uint64
}

// pieces calls fn for the elements of c that have bytes in [begin, end), in order, until fn says that it has enough. Of the lists it loads only
// those on the way.
func (s *store) pieces(ctx context.Context, c snapshot.Content, begin, end uint64, fn func(piece) (more bool, err error)) error {
	_, err := s.descend(ctx, extentsOf(c.Elements), c.Depth, 0, begin, end, fn)
	return err
}

func (s *store) descend(ctx context.Context, x *extents, depth uint8, base, begin, end uint64, fn func(piece) (bool, error)) (bool, error) {
	first := sort.Search(len(x.ends), func(i int) bool { return base+x.ends[i] > begin })
	for i := first; i < len(x.ends); i++ {
		e := x.elements[i]
		off := base + x.ends[i] - e.Length
		if off >= end {
			break
		}
		if depth == 0 {
			if more, err := fn(piece{e, off}); err != nil || !more {
				return false, err
			}
			continue
		}
		below, err := s.list(ctx, e)
		if err != nil {
			return false, err
		}
		if more, err := s.descend(ctx, below, depth-1, off, begin, end, fn); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

const (
	zerosSize  = 64 << 10
	vectorsMax = 64 // more of them are copied to one
)

// reader reads files.
type reader struct {
	*store
	zeros []byte
}

func newReader(s *store) *reader { return &reader{s, make([]byte, zerosSize)} }

// read returns the n bytes of a file from off, or fewer at its end: slices to be joined, which must not be modified. It never
// returns fewer for another reason, since the kernel would take that for the end of the file.
func (r *reader) read(ctx context.Context, node *snapshot.Node, off, n uint64) ([][]byte, error) {
	if off >= node.Size {
		return nil, nil
	}
	end := min(off+n, node.Size)
	at := off
	var out [][]byte
	err := r.pieces(ctx, node.Content, off, end, func(p piece) (bool, error) {
		from, to := at-p.off, min(end-p.off, p.Length)
		if p.IsZeros() {
			for left := to - from; left > 0; {
				z := r.zeros[:min(left, zerosSize)]
				out, left = append(out, z), left-uint64(len(z))
			}
		} else {
			data, err := r.chunk(ctx, p.Element)
			if err != nil {
				return false, err
			}
			out = append(out, data[from:to])
		}
		at = p.off + to
		return true, nil
	})
	if err == nil && at != end {
		err = fmt.Errorf("content ends at %d, want %d", at, end)
	}
	if err != nil {
		return nil, err
	}
	if len(out) > vectorsMax {
		out = [][]byte{join(out)}
	}
	return out, nil
}

// join returns slices as one; a single one is not copied.
func join(parts [][]byte) []byte {
	if len(parts) == 1 {
		return parts[0]
	}
	return bytes.Join(parts, nil)
}

// next returns where the next byte at or after off is that lies in a hole, or in none: what lseek(2) calls SEEK_HOLE and SEEK_DATA. A file that
// had no holes has none but the one behind its end. Without an answer found is false.
func (r *reader) next(ctx context.Context, node *snapshot.Node, off uint64, want seeking) (at uint64, found bool, err error) {
	if off >= node.Size {
		return 0, false, nil
	}
	at, found = node.Size, want == seekHole
	if !node.Sparse {
		if want == seekData {
			return off, true, nil
		}
		return at, found, nil
	}
	err = r.pieces(ctx, node.Content, off, node.Size, func(p piece) (bool, error) {
		if p.IsZeros() != (want == seekHole) {
			return true, nil
		}
		at, found = max(p.off, off), true
		return false, nil
	})
	return at, found, err
}

// seeking is what lseek looks for.
type seeking int

const (
	seekData seeking = iota
	seekHole
)

// blocks is what a file takes in 512-byte units, holes left out as far as the node itself tells of them.
func blocks(n *snapshot.Node) uint64 {
	size := n.Size
	if n.Sparse && n.Content.Depth == 0 {
		for _, e := range n.Content.Elements {
			if e.IsZeros() {
				size -= e.Length
			}
		}
	}
	return (size + 511) / 512
}
