package chunker_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/big"
	"math/bits"
	"slices"
	"testing"

	"github.com/tarn-backup/tarn/chunker"
	"github.com/zeebo/blake3"
)

// reference is gear as doc.go defines it, word for word, at whatever pace.
func reference(t testing.TB, key byte, p chunker.Params, data []byte) int {
	t.Helper()
	h, err := blake3.NewKeyed(append([]byte{key}, make([]byte, 31)...))
	if err != nil {
		t.Fatal(err)
	}
	h.WriteString("tarn v1 chunker gear")
	secret := make([]byte, 36)
	h.Digest().Read(secret)
	factor := binary.LittleEndian.Uint32(secret) | 0x80000001
	block, err := aes.NewCipher(secret[4:])
	if err != nil {
		t.Fatal(err)
	}

	mean := p.Avg - p.Min
	c := bits.Len(uint(mean)) - 1 - 4
	share := new(big.Int).Lsh(big.NewInt(1), uint(64+c))
	share.Div(share, big.NewInt(int64(mean)))
	for e := p.Min; e < min(len(data), p.Max); e++ {
		var sum uint32
		for j := 0; j < 16; j++ {
			y := binary.LittleEndian.Uint32(data[e-4*j-4:]) * factor
			sum += (y ^ y>>17) << (2 * j)
		}
		if sum>>(32-c) != 0 {
			continue
		}
		if bytes.Equal(data[e-64:e], make([]byte, 64)) {
			return e
		}
		tag := make([]byte, 64)
		cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(tag, data[e-64:e])
		limit := share.Uint64() / 4
		if e >= p.Min+mean*9/10 {
			limit = share.Uint64() * 4
		}
		if binary.LittleEndian.Uint64(tag[48:]) < limit {
			return e
		}
	}
	return min(len(data), p.Max)
}

// small has limits that let a short input see all of the code.
var small = chunker.Params{Min: 128, Avg: 24 << 10, Max: 96 << 10}

// sameCuts checks the cuts of data with vector code, without, and by the definition.
func sameCuts(t *testing.T, key byte, p chunker.Params, data []byte) {
	t.Helper()
	c := newChunker(t, chunker.Gear, key, p)
	portable := chunker.Portable(c)
	for at := 0; at < len(data); {
		want := reference(t, key, p, data[at:])
		if got := portable.Cut(data[at:]); got != want {
			t.Fatalf("key %d: plain Go cuts %d bytes at %d, want %d", key, got, at, want)
		}
		if got := c.Cut(data[at:]); got != want {
			t.Fatalf("key %d: vector code cuts %d bytes at %d, want %d", key, got, at, want)
		}
		at += want
	}
}

func TestGearIsAsDefined(t *testing.T) {
	if c := newChunker(t, chunker.Gear, 0, small); chunker.Portable(c) == c {
		t.Log("this machine has no vector code: plain Go is compared alone")
	}
	for seed := range byte(12) {
		sameCuts(t, seed, small, random(seed, 512<<10))
		sameCuts(t, seed, small, mixed(seed, 512<<10))
		dense := chunker.Params{Min: 64, Avg: 64 + 80, Max: 32 << 10}
		sameCuts(t, seed, dense, random(seed, 32<<10))
		sameCuts(t, seed, dense, mixed(seed, 64<<10))
	}
	for n := range 200 { // all ends of the last group, with memory behind it that must not matter
		sameCuts(t, 3, small, random(3, 9000+n)[:8192+n:8192+n])
	}
}

// TestZerosEndAChunk checks the rule for zeros around its limit, wherever they begin.
func TestZerosEndAChunk(t *testing.T) {
	const zeros = chunker.Window
	c := newChunker(t, chunker.Gear, 1, chunker.DataParams)
	for _, at := range []int{0, 1, 1000, 16 << 10, 16<<10 + 17, 16<<10 + 8191} {
		at += chunker.DataParams.Min - zeros
		data := random(10, chunker.DataParams.Min+64<<10)
		if n := c.Cut(data); n != len(data) {
			t.Fatalf("a boundary at %d: choose another seed", n)
		}
		clear(data[at : at+zeros-1])
		data[at-1], data[at+zeros-1] = 1, 1
		if n := c.Cut(data); n != len(data) {
			t.Errorf("%d zeros from %d on end a chunk at %d", zeros-1, at, n)
		}
		data[at+zeros-1] = 0
		if n := c.Cut(data); n != at+zeros {
			t.Errorf("%d zeros from %d on: chunk of %d bytes, want %d", zeros, at, n, at+zeros)
		}
	}
}

// FuzzGear compares vector code, plain Go and the definition on what the fuzzer finds, repeated and put between random bytes.
func FuzzGear(f *testing.F) {
	f.Add([]byte{}, byte(0), uint16(0))
	f.Add([]byte{0}, byte(1), uint16(9000))
	f.Add([]byte("tarn\n"), byte(2), uint16(20000))
	f.Add(random(1, 100), byte(3), uint16(300))
	f.Fuzz(func(t *testing.T, piece []byte, seed byte, repeat uint16) {
		data := random(seed, 20<<10)
		if len(piece) > 0 {
			middle := bytes.Repeat(piece, 1+int(repeat)%(1+(32<<10)/len(piece)))
			data = slices.Concat(data[:9<<10], middle, data[9<<10:], middle)
		}
		sameCuts(t, seed, small, data)
	})
}

// FuzzCut checks what holds for all chunkers: the limits, and that the chunks are the same from every boundary on.
func FuzzCut(f *testing.F) {
	f.Add([]byte("tarn"), byte(2), uint16(5))
	f.Add(make([]byte, 5000), byte(1), uint16(1025))
	p := chunker.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}
	chunkers := map[chunker.Algorithm]chunker.Chunker{} // made once, since a polynomial takes long
	for _, alg := range algorithms {
		chunkers[alg] = newChunker(f, alg, 5, p)
	}
	f.Fuzz(func(t *testing.T, data []byte, seed byte, more uint16) {
		data = slices.Concat(data, random(seed, int(more)))
		for alg, c := range chunkers {
			at := 0
			for _, n := range lengths(c, data) {
				if n > p.Max || n < p.Min && at+n < len(data) {
					t.Fatalf("%v: chunk of %d bytes at %d", alg, n, at)
				}
				if again := c.Cut(data[at:min(len(data), at+p.Max)]); again != n {
					t.Fatalf("%v: chunk of %d bytes at %d, with no more than Max %d", alg, n, at, again)
				}
				at += n
			}
			if at != len(data) {
				t.Fatalf("%v: chunks of %d bytes, want %d", alg, at, len(data))
			}
		}
	})
}
