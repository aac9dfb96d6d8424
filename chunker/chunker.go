package chunker

import (
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// Algorithm says how boundaries are found. Its number stands in a repository's configuration and never changes.
type Algorithm uint8

// The algorithms.
const (
	Rabin Algorithm = 1 // Rabin fingerprints over a secret polynomial, by restic/chunker
	Gear  Algorithm = 2 // a fast sum that proposes and a keyed function that decides
)

func (a Algorithm) String() string {
	switch a {
	case Rabin:
		return "rabin"
	case Gear:
		return "gear"
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

// Parse reads the name of an algorithm, as [Algorithm.String] writes it.
func Parse(name string) (Algorithm, error) {
	for _, a := range []Algorithm{Rabin, Gear} {
		if name == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q: no such chunker, want rabin or gear", name)
}

// Window is how many bytes before a position say whether it is a boundary, in both algorithms.
const Window = 64

// SizeMax is the largest Max in bytes: the most that one blob can hold.
const SizeMax = 8 << 20

// Params bound the lengths of chunks, in bytes. Only the last chunk of a stream may be shorter than Min.
type Params struct {
	Min int // at least Window
	Avg int // the mean to aim at, at least Window more than Min; a power of two for rabin
	Max int // at least Avg, at most SizeMax
}

// The params of a new repository, for the content of files, and for trees and scan records. They are never assigned to.
var (
	DataParams = Params{Min: 256 << 10, Avg: 1 << 20, Max: 4 << 20}
	MetaParams = Params{Min: 16 << 10, Avg: 64 << 10, Max: 256 << 10}
)

// Validate reports what is wrong with p, if anything.
func (p Params) Validate() error {
	switch {
	case p.Min < Window:
		return fmt.Errorf("chunk params: minimum of %d bytes, want at least %d", p.Min, Window)
	case p.Max > SizeMax:
		return fmt.Errorf("chunk params: maximum of %d bytes, want at most %d", p.Max, SizeMax)
	case p.Avg > p.Max:
		return fmt.Errorf("chunk params: average of %d bytes, want at most the maximum, %d", p.Avg, p.Max)
	case p.Avg-Window < p.Min:
		return fmt.Errorf("chunk params: average of %d bytes, want %d more than the minimum, %d", p.Avg, Window, p.Min)
	}
	return nil
}

// Chunker cuts streams. It holds no state of any of them, and may be used by many goroutines at once.
type Chunker interface {
	// Cut returns the length of the first chunk of p, which begins at a boundary and holds at least Max bytes of the
	// stream, or all that is left of it. It is len(p) if there is no boundary in p, and never more than Max. A result
	// below len(p) is final however few bytes of the stream p holds, since nothing behind a boundary has a say in it.
	Cut(p []byte) int
	// Params returns what the chunker was made with.
	Params() Params
}

// New returns a chunker whose boundaries depend on a secret key. The same algorithm, key and params give the same
// boundaries on every machine and in every version.
func New(alg Algorithm, key *[32]byte, p Params) (Chunker, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	switch alg {
	case Rabin:
		return newRabin(key, p)
	case Gear:
		return newGear(key, p)
	}
	return nil, fmt.Errorf("%v: no such chunker", alg)
}

// derive returns an endless secret stream, another one for each purpose.
func derive(key *[32]byte, purpose string) (io.Reader, error) {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		return nil, fmt.Errorf("derive %s: %w", purpose, err)
	}
	if _, err := h.WriteString(purpose); err != nil {
		return nil, fmt.Errorf("derive %s: %w", purpose, err)
	}
	return h.Digest(), nil
}
