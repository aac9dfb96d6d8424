package index_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

// random fills b from r.
func random(r *rand.Rand, b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, r.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// newPack makes a pack of random blobs: so many segments of so many blobs each.
func newPack(r *rand.Rand, segments, blobs int) *index.Pack {
	p := &index.Pack{Epoch: r.Uint32N(4)}
	random(r, p.Name[:])
	random(r, p.Session[:])
	random(r, p.Salt[:])
	end := uint32(index.HeaderSize)
	for i := range segments {
		s := index.Segment{Offset: end, Stored: 16 + r.Uint32N(10_000)}
		for range blobs {
			e := index.Entry{Kind: blob.Data + blob.Kind(r.IntN(3)), Segment: uint16(i), Offset: s.Plain, Length: 1 + r.Uint32N(8000)}
			var id blob.ID
			random(r, id[:])
			e.Prefix = index.PrefixOf(id)
			p.Blobs = append(p.Blobs, e)
			s.Plain += e.Length
		}
		p.Segments = append(p.Segments, s)
		end += s.Stored
	}
	p.Size = end + 200
	return p
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// extent is where p says that its blob i is.
func extent(p *index.Pack, i int) blob.Extent {
	e := p.Blobs[i]
	return blob.Extent{Pack: p.Name, Segment: e.Segment, Offset: e.Offset, Length: e.Length}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(p *index.Pack)
		want  string // in the error; none wanted if empty
	}{
		{"good", func(p *index.Pack) {}, ""},
		{"size not known yet", func(p *index.Pack) { p.Size = 0 }, ""},
		{"nothing in it", func(p *index.Pack) { p.Segments, p.Blobs = nil, nil }, ""},
		{"empty blob", func(p *index.Pack) {
			p.Segments, p.Blobs = p.Segments[:1], append(p.Blobs[:3:3], index.Entry{Kind: blob.Tree, Offset: p.Segments[0].Plain})
		}, ""},
		{"ends with the pack", func(p *index.Pack) { p.Size -= 200 }, ""},
		{"ends past the pack", func(p *index.Pack) { p.Size -= 201 }, "past"},
		{"largest pack", func(p *index.Pack) { p.Segments[1].Stored = 1<<30 - p.Segments[1].Offset; p.Size = 1 << 30 }, ""},
		{"pack too large", func(p *index.Pack) { p.Size = 1<<30 + 1 }, "limit"},
		{"segments too large", func(p *index.Pack) { p.Segments[1].Stored = 1 << 30; p.Size = 0 }, "past"},
		{"gap between segments", func(p *index.Pack) { p.Segments[1].Offset++ }, "begins at"},
		{"gap before the first segment", func(p *index.Pack) { p.Segments[0].Offset-- }, "begins at"},
		{"gap between blobs", func(p *index.Pack) { p.Blobs[1].Offset++ }, "begins at"},
		{"offset in another segment's terms", func(p *index.Pack) { p.Blobs[3].Offset = p.Segments[0].Plain }, "begins at"},
		{"wrong sum", func(p *index.Pack) { p.Segments[1].Plain++ }, "its blobs have"},
		{"largest blob", func(p *index.Pack) {
			p.Segments = p.Segments[:1]
			p.Segments[0].Plain = 8 << 20
			p.Blobs = p.Blobs[:1]
			p.Blobs[0].Length = 8 << 20
		}, ""},
		{"segment too long", func(p *index.Pack) {
			p.Segments = p.Segments[:1]
			p.Segments[0].Plain = 8<<20 + 1
			p.Blobs = p.Blobs[:1]
			p.Blobs[0].Length = 8<<20 + 1
		}, "past"},
		{"no such segment", func(p *index.Pack) { p.Blobs[5].Segment = 2 }, "its blobs have"},
		{"blobs out of order", func(p *index.Pack) { p.Blobs[0].Segment = 1 }, "no blobs"},
		{"segment without blobs", func(p *index.Pack) {
			s := p.Segments[1]
			p.Segments = append(p.Segments, index.Segment{Offset: s.Offset + s.Stored, Stored: 16})
		}, "no blobs"},
		{"blob without a segment", func(p *index.Pack) { p.Segments = p.Segments[:1] }, "in no segment"},
		{"unknown kind", func(p *index.Pack) { p.Blobs[4].Kind = 4 }, "kind 4"},
		{"no kind", func(p *index.Pack) { p.Blobs[4].Kind = 0 }, "kind 0"},
		{"too many segments", func(p *index.Pack) { p.Segments = make([]index.Segment, 65536) }, "limit"},
		{"too many blobs", func(p *index.Pack) { p.Blobs = make([]index.Entry, index.DirectorySizeMax/17) }, "limit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPack(newRand(1), 2, 3)
			test.spoil(p)
			err := p.Check()
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
