package pack_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
)

var levels = []pack.Level{pack.Default, pack.Off, pack.Fast, pack.Better, pack.Max}

// text is n bytes that compress; noise is n bytes that don't.
func text(n int) []byte {
	words := []string{"tarn ", "keeps ", "backups ", "deep ", "still ", "and ", "cold\n"}
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b[:n]
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestCompressRoundTrip(t *testing.T) {
	for _, level := range levels {
		c := pack.NewCompressor(level)
		for _, n := range []int{0, 1, 63, 64, 65, 1000, 128 << 10, 1 << 20, 1<<20 + 1} {
			for what, plain := range map[string][]byte{"zeros": make([]byte, n), "text": text(n), "noise": noise(n)} {
				body := c.Compress(plain)
				if len(body) > n+1 {
					t.Errorf("%v: %d bytes of %s: %d bytes", level, n, what, len(body))
				}
				if small := level != pack.Off && what != "noise" && n >= 1000; n >= 1000 && small != (len(body) < n/2) {
					t.Errorf("%v: %d bytes of %s: %d bytes", level, n, what, len(body))
				}
				got, err := pack.Decompress(body, n)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%v: %d bytes of %s: %v", level, n, what, err)
				}
				for _, size := range []int{n - 1, n + 1} {
					if n > 1000 {
						break
					}
					if _, err := pack.Decompress(body, size); !errors.Is(err, seal.ErrCorrupt) {
						t.Errorf("%v: %d bytes of %s as %d: got %v", level, n, what, size, err)
					}
				}
			}
		}
	}
}

func TestLargestSegment(t *testing.T) {
	for _, n := range []int{index.SegmentSizeMax, index.SegmentSizeMax + 1} {
		plain := make([]byte, n)
		got, err := pack.Decompress(pack.NewCompressor(pack.Default).Compress(plain), n)
		if good := n <= index.SegmentSizeMax; (err == nil) != good || good && !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestDecompressRefuses(t *testing.T) {
	zstdBody := pack.NewCompressor(pack.Default).Compress(text(1000))
	for what, test := range map[string]struct {
		body []byte
		size int
		want error
	}{
		"empty":           {nil, 0, seal.ErrCorrupt},
		"too large":       {make([]byte, index.SegmentSizeMax+2), index.SegmentSizeMax + 1, seal.ErrCorrupt},
		"unknown codec":   {[]byte{2, 0, 0}, 2, seal.ErrVersion},
		"no frame":        {[]byte{1}, 1, seal.ErrCorrupt},
		"garbage":         {[]byte{1, 2, 3, 4, 5, 6, 7, 8}, 4, seal.ErrCorrupt},
		"cut":             {zstdBody[:len(zstdBody)-1], 1000, seal.ErrCorrupt},
		"two frames":      {append(bytes.Clone(zstdBody), zstdBody[1:]...), 1000, seal.ErrCorrupt},
		"plain and short": {[]byte{0, 1, 2}, 3, seal.ErrCorrupt},
	} {
		if _, err := pack.Decompress(test.body, test.size); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestBomb decompresses what would be 20 MiB: no more may be allocated than the segment is said to have.
func TestBomb(t *testing.T) {
	for _, window := range []int{1 << 20, 512 << 20} {
		enc, err := zstd.NewWriter(nil, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		body := enc.EncodeAll(make([]byte, 20<<20), []byte{1})
		enc.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = pack.Decompress(body, 1000)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("window %d: got %v", window, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
			t.Errorf("window %d: %d bytes were allocated", window, n)
		}
	}
}

func TestLevels(t *testing.T) {
	for _, level := range levels {
		if got, err := pack.ParseLevel(level.String()); err != nil || got != level {
			t.Errorf("%v: got %v, %v", level, got, err)
		}
	}
	for _, name := range []string{"", "Default", "9"} {
		if _, err := pack.ParseLevel(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestProve(t *testing.T) {
	keys := testKeys()
	p := pack.NewProver()
	c := pack.NewCompressor(pack.Default)
	for _, n := range []int{1, 1000, 1 << 20, 3 << 20, 10} {
		plain := text(n)
		w := pack.NewWriter(keys, testSession, make([]byte, 0, 4<<20))
		number, sealed := w.Append(c.Compress(plain), entries(keys, plain))
		o, err := w.Opener()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Prove(o, number, sealed, plain); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err := p.Prove(o, number+1, sealed, plain); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("%d bytes, another number: %v", n, err)
		}
		wrong := bytes.Clone(plain)
		wrong[n/2] ^= 1
		if err := p.Prove(o, number, sealed, wrong); err == nil {
			t.Errorf("%d bytes: other bytes were proven", n)
		}
		if err := p.Prove(o, number, sealed, plain[:n-1]); err == nil {
			t.Errorf("%d bytes: fewer bytes were proven", n)
		}
		sealed[n/100] ^= 1
		if err := p.Prove(o, number, sealed, plain); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("%d bytes, damaged: %v", n, err)
		}
	}
}
