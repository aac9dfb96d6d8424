// Package chunker cuts byte streams at boundaries that the content itself defines, so that an insertion moves the
// boundaries behind it along and only the chunks around it change.
//
// A [Chunker] is made by [New] for an [Algorithm], a secret key and [Params]. Its Cut says how long the first chunk of
// a buffer is. It does no I/O, starts no goroutine and keeps nothing from one call to the next, so that one Chunker
// serves a whole process. A [Stream] adds a reader and a buffer, and finds long runs of zeros, which are no chunks.
//
// The cuts are part of the repository format: the same key, params and content must give the same chunks in all
// versions and on all machines, or nothing is found again. testdata holds frozen ones. Numbers in this package are
// whole for that reason.
//
// # Common rules
//
// A position e of a chunk, counted in bytes from its start, is looked at if Min <= e < Max. The first that the
// algorithm accepts is the boundary, else Max, or the end of the stream. Whether it is accepted depends on bytes of the
// same chunk before e and on e: mostly on the [Window] of 64 bytes before e. The first Min bytes are skipped, but for
// the window of the first position.
//
// # rabin
//
// restic/chunker: the log2(Avg) low bits of the Rabin fingerprint of the window, modulo an irreducible polynomial of
// degree 53, are zero. The polynomial is what its DerivePolynomial draws from the bytes that BLAKE3, keyed with the key,
// puts out for "tarn v1 chunker rabin". The mean on random data is about 1.23 Avg, since the minimum comes on top.
//
// # gear
//
// Made for speed: 64-byte windows are summed by vector code, eight at once, and by plain Go with the same result. With
// all numbers little-endian and 32 bits wide, x(e) being the four bytes before e:
//
//	mix(x) = y xor (y >> 17), where y = x * factor
//	sum(e) = mix(x(e)) + mix(x(e-4)) << 2 + mix(x(e-8)) << 4 + ... + mix(x(e-60)) << 30
//
//	mean = Avg - Min
//	c    = floor(log2(mean)) - 4
//	e is a candidate if the first c bits of sum(e) are 0
//
//	tag(e) = the first 8 bytes of AES-256-CBC-MAC(window of e), zero IV, a 64-bit number
//	share  = floor(2^(64+c) / mean)
//	a candidate is accepted if its window is all zeros,
//	  or tag(e) < floor(share/4) where e < Min + floor(mean*9/10),
//	  or tag(e) < share*4 from there on
//
// factor (4 bytes, little-endian, with the highest and lowest bit set) and the AES key (32 bytes) are the first 36
// bytes that BLAKE3, keyed with the key, puts out for "tarn v1 chunker gear".
//
// The sum alone is weak: it proposes one position in 2^c, 16 to 32 for each boundary, and a pseudo-random function of
// the window decides. The share that grows from a quarter to fourfold brings the lengths closer together (normalized
// chunking, as in FastCDC by Xia et al., 2016). The mean on random data is 1.00 Avg.
//
// # Zeros
//
// A window of zeros is a boundary in both, under every key: its fingerprint and its sum are zero. Padding and holes
// stand where something ends (a file in an archive or in a disk image, a section of a program), so these are good
// places to cut, and a hole is taken out by [Stream.Zeros] but for its first 64 bytes, or what its chunk lacks of Min.
// The price is that content with much padding has chunks of little more than Min. A sum can also be zero in its first
// bits because a window ends in 36 or more zeros; then AES is asked more often.
//
// # What the key is good for
//
// Lengths of chunks tell which known file they are from, if somebody can see them and knows where the cuts fall. tarn's
// first defence is that he can't see them: chunks lie together in compressed, padded segments. The key is the second.
// Rabin and gear hashes are linear, and published attacks get their keys back from a few observed lengths (Truong et
// al., 2025; Alexeev et al., 2025); rabin has that weakness. With gear, one who has found factor knows candidates.
// Which of them are boundaries is up to AES, so cuts of content that he has not seen cut before remain guesses, with 4
// to 5 bits per candidate. The cuts that were seen still identify content when they are seen again: no deterministic
// chunker can help that.
//
// # Caveats
//
// A window that comes again and again in a stream (a pattern, a licence text in each file) is accepted each time or
// never, by luck of the key. Where it is a candidate and refused, AES is asked each time, but for runs of one byte; a
// repeated short pattern is then searched at some megabytes per second. For a given pattern that happens under one key
// in 2^c (32,768 for the data params).
package chunker
