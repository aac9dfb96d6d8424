package chunker

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// gear cuts by the content of the Window bytes before a position, in two steps. doc.go defines it; every constant here
// is part of the repository format.
type gear struct {
	params  Params
	factor  uint32       // of the sum; odd and secret
	limit   uint32       // of the sum of a candidate
	cipher  cipher.Block // of the function that decides on candidates
	pivot   int          // the length from which on more candidates become boundaries
	seldom  uint64       // the share of candidates, of 2^64, that become boundaries before the pivot
	often   uint64       // and from the pivot on
	advance advanceFunc  // nil where the machine has no vector code
}

const (
	oneInBits  = 4       // there are at least 2^oneInBits candidates per boundary, and less than twice as many
	normalBits = 2       // boundaries are so much rarer before the pivot and more frequent behind, as a power of two
	span       = 8 << 10 // positions that are searched at a time: two stripes, one in each half of a vector
)

func newGear(key *[32]byte, p Params) (Chunker, error) {
	s, err := derive(key, "tarn v1 chunker gear")
	if err != nil {
		return nil, err
	}
	var secret [4 + 32]byte
	if _, err := io.ReadFull(s, secret[:]); err != nil {
		return nil, fmt.Errorf("derive gear: %w", err)
	}
	block, err := aes.NewCipher(secret[4:])
	if err != nil {
		return nil, fmt.Errorf("derive gear: %w", err)
	}
	// In whole numbers, since floating point is not the same on every machine: one position in mean is a boundary.
	mean := uint64(p.Avg - p.Min)
	candidateBits := bits.Len64(mean) - 1 - oneInBits
	share, _ := bits.Div64(1<<candidateBits, 0, mean)
	return &gear{
		params:  p,
		factor:  binary.LittleEndian.Uint32(secret[:]) | 1<<31 | 1,
		limit:   1<<(32-candidateBits) - 1,
		cipher:  block,
		pivot:   p.Min + int(mean)*9/10,
		seldom:  share >> normalBits,
		often:   share << normalBits,
		advance: vectorAdvance(),
	}, nil
}

func (g *gear) Params() Params { return g.params }

func (g *gear) Cut(p []byte) int {
	p = p[:min(len(p), g.params.Max)]
	d := decider{gear: g}
	for lo := g.params.Min; lo < len(p); lo += span {
		hi := min(len(p), lo+span)
		if e := d.first(p[:hi], lo); e < hi {
			return e
		}
	}
	return len(p)
}

// decider decides about candidates for one cut.
type decider struct {
	*gear
	mac [aes.BlockSize]byte
}

// first returns the first boundary from position lo on, or the end of p.
func (d *decider) first(p []byte, lo int) int {
	if d.advance != nil && len(p)-lo == span {
		return d.firstOfStripes(p, lo)
	}
	return d.firstInOrder(p, lo)
}

// firstOfStripes does the same for one span, of which it searches both halves side by side.
func (d *decider) firstOfStripes(p []byte, lo int) int {
	a, b := lo, lo+span/2
	for end := b; a < end; a, b = a+group, b+group {
		n := d.advance(&p[a], &p[b], end-a, d.factor, d.limit)
		if a, b = a+n, b+n; a == end {
			break
		}
		if e := d.firstInOrder(p[:a+group], a); e < a+group {
			return e
		}
		if e := d.firstInOrder(p[:b+group], b); e < b+group {
			if sooner := d.firstInOrder(p[:end], a+group); sooner < end {
				return sooner
			}
			return e
		}
	}
	return len(p)
}

// firstInOrder does the same for any number of positions.
func (d *decider) firstInOrder(p []byte, lo int) int {
	for ; lo < len(p); lo++ {
		if lo = candidate(p, lo, d.factor, d.limit); lo == len(p) || d.boundary(p, lo) {
			return lo
		}
		lo += d.sameBehind(p, lo)
	}
	return len(p)
}

// sameBehind returns how many positions behind e, which was refused, are refused as well, since they are in a run of
// one byte and have the same window. Without it such a run would cost a decision per byte.
func (d *decider) sameBehind(p []byte, e int) int {
	equal := 1
	for at := e - Window + 1; at < len(p) && p[at] == p[at-1]; at++ {
		equal++
	}
	same := max(0, equal-Window)
	if e < d.pivot { // behind the pivot the share is another
		same = min(same, d.pivot-1-e)
	}
	return same
}

// boundary decides whether the candidate e is a boundary. CBC-MAC is a pseudo-random function of inputs that all have the
// same length.
func (d *decider) boundary(p []byte, e int) bool {
	window := p[e-Window : e]
	if ZeroPrefix(window) == Window {
		return true
	}
	clear(d.mac[:])
	for ; len(window) > 0; window = window[aes.BlockSize:] {
		subtle.XORBytes(d.mac[:], d.mac[:], window[:aes.BlockSize])
		d.cipher.Encrypt(d.mac[:], d.mac[:])
	}
	share := d.seldom
	if e >= d.pivot {
		share = d.often
	}
	return binary.LittleEndian.Uint64(d.mac[:]) < share
}
