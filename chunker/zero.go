package chunker

import (
	"encoding/binary"
	"math/bits"
)

// ZeroRunMin is the shortest run of zero bytes that is told apart from data, in bytes.
const ZeroRunMin = 256 << 10

// ZeroPrefix returns how many zero bytes p begins with.
func ZeroPrefix(p []byte) int {
	q := p
	for ; len(q) >= 64; q = q[64:] {
		a := binary.LittleEndian.Uint64(q) | binary.LittleEndian.Uint64(q[8:])
		b := binary.LittleEndian.Uint64(q[16:]) | binary.LittleEndian.Uint64(q[24:])
		c := binary.LittleEndian.Uint64(q[32:]) | binary.LittleEndian.Uint64(q[40:])
		d := binary.LittleEndian.Uint64(q[48:]) | binary.LittleEndian.Uint64(q[56:])
		if a|b|c|d != 0 {
			break
		}
	}
	for ; len(q) >= 8; q = q[8:] {
		if x := binary.LittleEndian.Uint64(q); x != 0 {
			return len(p) - len(q) + bits.TrailingZeros64(x)/8
		}
	}
	for ; len(q) > 0 && q[0] == 0; q = q[1:] {
	}
	return len(p) - len(q)
}
