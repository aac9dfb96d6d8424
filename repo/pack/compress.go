package pack

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
)

// Level is how hard to compress.
type Level uint8

// The levels. They are a writer's choice and not stored.
const (
	Default Level = iota
	Off
	Fast
	Better
	Max
)

// ParseLevel reads off, fast, default, better or max.
func ParseLevel(s string) (Level, error) {
	for l, name := range levelNames {
		if s == name {
			return Level(l), nil
		}
	}
	return 0, fmt.Errorf("compression %q: want off, fast, default, better or max", s)
}

func (l Level) String() string { return levelNames[l] }

var levelNames = [...]string{Default: "default", Off: "off", Fast: "fast", Better: "better", Max: "max"}

// The codecs, stored in a segment's first byte.
const (
	codecPlain = 0
	codecZstd  = 1
)

// windowSize is the compression window: a segment of usual size. Longer ones hold a single chunk.
const windowSize = 4 << 20

// A Compressor compresses segments. It serves one goroutine.
type Compressor struct {
	enc *zstd.Encoder
	buf []byte
}

// NewCompressor returns a compressor.
func NewCompressor(level Level) *Compressor {
	c := new(Compressor)
	speed := zstd.SpeedDefault
	switch level {
	case Off:
		return c
	case Fast:
		speed = zstd.SpeedFastest
	case Better:
		speed = zstd.SpeedBetterCompression
	case Max:
		speed = zstd.SpeedBestCompression
	}
	// A history of one window, not two: nothing is longer than that, so nothing is ever moved down in it.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowSize),
		zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	c.enc = enc
	return c
}

// Compress returns a segment's body: the codec byte and what it says. It is valid until the next call.
func (c *Compressor) Compress(plain []byte) []byte {
	if c.enc != nil {
		c.buf = c.enc.EncodeAll(plain, append(c.buf[:0], codecZstd))
		if len(c.buf) <= len(plain)-len(plain)/64 {
			return c.buf
		}
	}
	c.buf = AppendPlain(c.buf[:0], plain)
	return c.buf
}

// AppendPlain appends a segment's body that is not compressed.
func AppendPlain(dst, plain []byte) []byte { return append(append(dst, codecPlain), plain...) }

// A Decompressor opens segments. It serves any number of goroutines if made for them.
type Decompressor struct {
	dec *zstd.Decoder
}

// NewDecompressor returns a decompressor that at most n goroutines use at once; others wait.
func NewDecompressor(n int) *Decompressor {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(index.SegmentSizeMax),
		zstd.WithDecodeAllCapLimit(true), zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return &Decompressor{dec}
}

// decompress returns the plaintext of a segment's body, which must have size bytes. It never allocates more than dst lacks to hold them.
func (d *Decompressor) decompress(dst, body []byte, size int) ([]byte, error) {
	if len(body) == 0 || size < 0 || size > index.SegmentSizeMax {
		return nil, fmt.Errorf("%w: segment of %d bytes for %d", seal.ErrCorrupt, len(body), size)
	}
	if cap(dst) < size {
		dst = make([]byte, 0, size)
	}
	var err error
	switch body[0] {
	case codecPlain:
		dst = append(dst[:0], body[1:min(len(body), size+1)]...)
		if len(body)-1 != size {
			err = fmt.Errorf("%d bytes, want %d", len(body)-1, size)
		}
	case codecZstd:
		dst, err = d.dec.DecodeAll(body[1:], dst[0:0:size])
		if err == nil && len(dst) != size {
			err = fmt.Errorf("%d bytes, want %d", len(dst), size)
		}
	default:
		return nil, fmt.Errorf("segment of codec %d: %w", body[0], seal.ErrVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: segment: %v", seal.ErrCorrupt, err)
	}
	return dst, nil
}

// Open opens and decompresses a segment that has size bytes of plaintext, into dst if that has room. scratch is working space; both
// are returned for the next call.
func (d *Decompressor) Open(o *seal.Opener, number uint32, sealed, dst, scratch []byte, size int) (plain, newScratch []byte, err error) {
	body, err := o.Open(scratch[:0], number, sealed)
	if err != nil {
		return nil, scratch, err
	}
	plain, err = d.decompress(dst, body, size)
	return plain, body, err
}

// A Prover looks back at what was sealed. It serves one goroutine.
type Prover struct {
	dec            *Decompressor
	plain, scratch []byte
}

// NewProver returns a prover.
func NewProver() *Prover { return &Prover{dec: NewDecompressor(1)} }

// Prove opens and decompresses a sealed segment in buffers of its own and compares it with what was saved.
func (p *Prover) Prove(o *seal.Opener, number uint32, sealed, want []byte) error {
	body, err := o.Open(p.scratch[:0], number, sealed)
	if err == nil {
		p.scratch = body
		err = p.same(body, want)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("segment looked at again after sealing: %w: this machine's memory or processor may be faulty", err)
}

// same compares a segment's body with its plaintext. One that is not compressed is compared where it lies.
func (p *Prover) same(body, want []byte) error {
	got := body
	if len(body) > 0 && body[0] == codecPlain {
		got = body[1:]
	} else {
		if cap(p.plain) < len(want) {
			p.plain = make([]byte, 0, len(want)+len(want)/4)
		}
		var err error
		if got, err = p.dec.decompress(p.plain, body, len(want)); err != nil {
			return err
		}
	}
	if !bytes.Equal(got, want) {
		return errors.New("it reads differently")
	}
	return nil
}

// Decompress returns the size bytes of plaintext of a body that a Compressor made, for bodies that are read now and then.
func Decompress(body []byte, size int) ([]byte, error) {
	d := NewDecompressor(1)
	defer d.dec.Close()
	return d.Decompress(body, size)
}

// Decompress returns the size bytes of plaintext of a body that a Compressor made.
func (d *Decompressor) Decompress(body []byte, size int) ([]byte, error) {
	return d.decompress(nil, body, size)
}
