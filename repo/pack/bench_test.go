package pack_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
)

// prose is text that compresses about as source code does: words, and lines that come again.
func prose(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 2000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", random.Uint64N(1<<(4+random.UintN(36))))
	}
	var text []byte
	var lines []string
	for len(text) < size {
		if len(lines) > 0 && random.IntN(3) > 0 {
			text = append(text, lines[random.IntN(len(lines))]...)
			continue
		}
		begin := len(text)
		text = append(text, "\t\t\t"[:random.IntN(4)]...)
		for range 1 + random.IntN(8) {
			at := random.Float64()
			text = append(append(text, words[int(float64(len(words))*at*at*at)]...), " (),;=*"[random.IntN(7)])
		}
		text = append(text, '\n')
		lines = append(lines, string(text[begin:]))
	}
	return text[:size]
}

// BenchmarkSegment takes a segment of text through what a writer does with it. Beside it, the same text blob by blob, as those do who seal every
// blob alone; and the library with its own settings.
func BenchmarkSegment(b *testing.B) {
	const blobSize = 4 << 10
	plain := prose(1 << 20)
	keys := testKeys()
	b.Run("compress", func(b *testing.B) {
		c := pack.NewCompressor(pack.Default)
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n = len(c.Compress(plain))
		}
		b.ReportMetric(float64(len(plain))/float64(n), "ratio")
	})
	b.Run("compress-blobs", func(b *testing.B) {
		c := pack.NewCompressor(pack.Default)
		b.SetBytes(int64(len(plain)))
		n := 0
		for b.Loop() {
			n = 0
			for at := 0; at < len(plain); at += blobSize {
				n += len(c.Compress(plain[at : at+blobSize]))
			}
		}
		b.ReportMetric(float64(len(plain))/float64(n), "ratio")
	})
	b.Run("compress-library", func(b *testing.B) {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			b.Fatal(err)
		}
		defer enc.Close()
		b.SetBytes(int64(len(plain)))
		var out []byte
		for b.Loop() {
			out = enc.EncodeAll(plain, out[:0])
		}
		b.ReportMetric(float64(len(plain))/float64(len(out)), "ratio")
	})
	random := make([]byte, len(plain))
	rand.NewChaCha8([32]byte{}).Read(random)
	for name, plain := range map[string][]byte{"prove": plain, "prove-incompressible": random} {
		b.Run(name, func(b *testing.B) {
			s := keys.NewSealer(seal.Pack, nil, plain)
			salt := s.Salt()
			number, sealed := s.Append(pack.NewCompressor(pack.Default).Compress(plain))
			o, err := keys.OpenerOf(seal.Pack, keys.Epoch(), &salt)
			if err != nil {
				b.Fatal(err)
			}
			p := pack.NewProver()
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Prove(o, number, sealed, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
