package chunker

import (
	"fmt"
	"math/bits"

	restic "github.com/restic/chunker"
)

// rabin cuts where the low bits of the Rabin fingerprint of the last Window bytes are zero.
type rabin struct {
	params Params
	base   restic.BaseChunker // at the start of a chunk; each Cut works on a copy
}

func newRabin(key *[32]byte, p Params) (Chunker, error) {
	if p.Avg&(p.Avg-1) != 0 {
		return nil, fmt.Errorf("chunk params: average of %d bytes, want a power of two for rabin", p.Avg)
	}
	s, err := derive(key, "tarn v1 chunker rabin")
	if err != nil {
		return nil, err
	}
	pol, err := restic.DerivePolynomial(s)
	if err != nil {
		return nil, fmt.Errorf("derive polynomial: %w", err)
	}
	base := restic.NewBase(pol,
		restic.WithBaseBoundaries(uint(p.Min), uint(p.Max)),
		restic.WithBaseAverageBits(bits.Len(uint(p.Avg))-1))
	return &rabin{params: p, base: *base}, nil
}

func (r *rabin) Params() Params { return r.params }

func (r *rabin) Cut(p []byte) int {
	base := r.base
	if n := base.NextSplitPoint(p); n >= 0 {
		return n
	}
	return len(p)
}
