package seal_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
)

// benchSizes are a small file, and a chunk.
var benchSizes = map[string]int{"4KiB": 4 << 10, "1MiB": 1 << 20}

func noise(size int) []byte {
	random, data := rand.NewChaCha8([32]byte{1}), make([]byte, size)
	random.Read(data) // never fails
	return data
}

// BenchmarkID names blobs; SHA-256, which others name them by, does it beside.
func BenchmarkID(b *testing.B) {
	keys := seal.NewKeys(seal.RepoID{1}, 0, [32]byte{2})
	for name, size := range benchSizes {
		data := noise(size)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				keys.ID(blob.Data, data)
			}
		})
		b.Run(name+"-sha256", func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				sha256.Sum256(data)
			}
		})
	}
}

// BenchmarkSeal seals a segment into an object that is begun for it, and opens it; the cipher alone does it beside.
func BenchmarkSeal(b *testing.B) {
	keys := seal.NewKeys(seal.RepoID{1}, 0, [32]byte{2})
	plain := noise(1 << 20)
	buf := make([]byte, 0, 2<<20)
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			keys.NewSealer(seal.Pack, buf, plain).Append(plain)
		}
	})
	b.Run("open", func(b *testing.B) {
		s := keys.NewSealer(seal.Pack, nil, plain)
		salt := s.Salt()
		_, sealed := s.Append(plain)
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			o, err := keys.OpenerOf(seal.Pack, 0, &salt)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := o.Open(buf[:0], 0, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cipher", func(b *testing.B) {
		block, err := aes.NewCipher(make([]byte, 32))
		if err != nil {
			b.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			b.Fatal(err)
		}
		nonce := make([]byte, gcm.NonceSize())
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			gcm.Seal(buf[:0], nonce, plain, nil)
		}
	})
}
