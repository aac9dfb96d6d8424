package chunker

import "encoding/binary"

// The sum of a position e is that of four-byte words, modulo 2^32, the last with the most weight left:
//
//	mix(x(e)) + mix(x(e-4)) << 2 + mix(x(e-8)) << 4 + ... + mix(x(e-60)) << 30
//
// where x(e) is the little-endian number in the four bytes before e, and mix(x) = y xor y>>17 with y = x*factor. It is
// a gear hash with a multiplication for its table, and steps of four bytes: sum(e) = sum(e-4) << 2 + mix(x(e)). What is
// older than Window bytes has been shifted out, so it need not be taken out, and the four sums at e to e+3 do not wait
// for each other.
const (
	sumShift = 2
	mixShift = 17
)

// group is the number of positions that an advanceFunc tests at once.
const group = 16

// advanceFunc tests n positions from a on and n from b on, side by side. It returns how many of both it has passed
// before the first group in which either has a candidate, or n. It reads the Window bytes before a and b and the n
// bytes from there on; n is a multiple of group.
type advanceFunc func(a, b *byte, n int, factor uint32, limit uint32) int

// candidate returns the first position from lo on whose sum is at most limit, or the end of p. It says the same as an
// advanceFunc, and tests hold them against each other.
func candidate(p []byte, lo int, factor uint32, limit uint32) int {
	// The sums of e to e+3, where e is four bytes behind the start of q; they are complete after Window bytes.
	var s0, s1, s2, s3 uint32
	q := p[lo-Window:]
	for range Window/4 - 1 {
		if len(q) < 8 {
			break
		}
		s0 = s0<<sumShift + mix(binary.LittleEndian.Uint32(q), factor)
		s1 = s1<<sumShift + mix(binary.LittleEndian.Uint32(q[1:]), factor)
		s2 = s2<<sumShift + mix(binary.LittleEndian.Uint32(q[2:]), factor)
		s3 = s3<<sumShift + mix(binary.LittleEndian.Uint32(q[3:]), factor)
		q = q[4:]
	}
	for ; len(q) >= 8; q = q[4:] { // one test after each sum keeps all of it in registers
		if s0 = s0<<sumShift + mix(binary.LittleEndian.Uint32(q), factor); s0 <= limit {
			break
		}
		if s1 = s1<<sumShift + mix(binary.LittleEndian.Uint32(q[1:]), factor); s1 <= limit {
			break
		}
		if s2 = s2<<sumShift + mix(binary.LittleEndian.Uint32(q[2:]), factor); s2 <= limit {
			break
		}
		if s3 = s3<<sumShift + mix(binary.LittleEndian.Uint32(q[3:]), factor); s3 <= limit {
			break
		}
	}
	// What is left are the positions of the candidate, or the last few.
	e := len(p) - len(q) + 4
	for e < len(p) && sum(p[e-Window:e], factor) > limit {
		e++
	}
	return e
}

// sum is the sum of the position behind window.
func sum(window []byte, factor uint32) (s uint32) {
	for ; len(window) >= 4; window = window[4:] {
		s = s<<sumShift + mix(binary.LittleEndian.Uint32(window), factor)
	}
	return s
}

func mix(x, factor uint32) uint32 {
	x *= factor
	return x ^ x>>mixShift
}
