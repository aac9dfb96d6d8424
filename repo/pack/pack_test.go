package pack_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
)

var testSession = blob.Session{1, 2, 3}

func testKeys() *seal.Keys { return seal.NewKeys(seal.RepoID{9}, 3, [32]byte{7}) }

// entries are blobs of data that make up a plaintext: one of at most a kilobyte after the other.
func entries(keys *seal.Keys, plain []byte) (list []index.Entry) {
	for len(plain) > 0 {
		n := min(1000, len(plain))
		list = append(list, index.Entry{Prefix: index.PrefixOf(keys.ID(blob.Data, plain[:n])), Kind: blob.Data, Length: uint32(n)})
		plain = plain[n:]
	}
	return list
}

// newPack makes a pack of so many segments.
func newPack(t testing.TB, keys *seal.Keys, segments int) ([]byte, *index.Pack, [][]byte) {
	t.Helper()
	c := pack.NewCompressor(pack.Default)
	w := pack.NewWriter(keys, testSession, make([]byte, 0, 2<<20))
	var plains [][]byte
	for i := range segments {
		plain := text(500 + 1000*i)
		plains = append(plains, plain)
		w.Append(c.Compress(plain), entries(keys, plain))
	}
	data, info := w.Finish()
	return data, info, plains
}

// reader reads ranges of data.
func reader(data []byte) func(p []byte, off int64) error {
	return func(p []byte, off int64) error {
		if off < 0 || off+int64(len(p)) > int64(len(data)) {
			return io.ErrUnexpectedEOF
		}
		copy(p, data[off:])
		return nil
	}
}

func TestRoundTrip(t *testing.T) {
	keys := testKeys()
	for _, segments := range []int{1, 2, 40} {
		data, info, plains := newPack(t, keys, segments)
		if blob.Name(sha256.Sum256(data)) != info.Name || int(info.Size) != len(data) || len(data) < pack.SizeMin || seal.Padme(len(data)) != len(data) {
			t.Errorf("%d segments: %d bytes, info says %d", segments, len(data), info.Size)
		}
		if err := info.Check(); err != nil {
			t.Error(err)
		}
		got, err := pack.ReadDirectory(keys, info.Name, int64(len(data)), reader(data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(info, got); diff != "" {
			t.Error(diff)
		}
		o, err := keys.NewOpener(seal.Pack, data)
		if err != nil {
			t.Fatal(err)
		}
		d := pack.NewDecompressor(1)
		var dst, scratch []byte
		for i, s := range got.Segments {
			dst, scratch, err = d.Open(o, uint32(i), data[s.Offset:][:s.Stored], dst, scratch, int(s.Plain))
			if err != nil || !bytes.Equal(dst, plains[i]) {
				t.Fatalf("segment %d: %v", i, err)
			}
			for _, e := range got.Blobs {
				if int(e.Segment) == i && index.PrefixOf(keys.ID(e.Kind, dst[e.Offset:][:e.Length])) != e.Prefix {
					t.Errorf("blob %s is not where the directory says", e.Prefix.Short())
				}
			}
		}
	}
}

// TestFits fills packs to the brim: what fits must fit, with directory and padding, in the buffer.
func TestFits(t *testing.T) {
	keys := testKeys()
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		room := 64<<10 + r.IntN(300<<10)
		w := pack.NewWriter(keys, testSession, make([]byte, 0, room))
		if !w.Empty() {
			t.Error("a new pack is not empty")
		}
		for {
			body, blobs := noise(1+r.IntN(20<<10)), make([]index.Entry, 1+r.IntN(50))
			for i := range blobs {
				blobs[i] = index.Entry{Prefix: index.Prefix{byte(i)}, Kind: blob.Tree, Length: 1}
			}
			if !w.Fits(len(body), len(blobs)) {
				break
			}
			w.Append(body, blobs)
		}
		if w.Empty() {
			t.Fatalf("nothing fits into %d bytes", room)
		}
		size := w.Len()
		data, info := w.Finish()
		if len(data) > room || cap(data) != room {
			t.Errorf("%d bytes in a buffer of %d", len(data), room)
		}
		if len(data) != seal.Padme(max(size, pack.SizeMin)) {
			t.Errorf("%d bytes, Len said %d", len(data), size)
		}
		if _, err := pack.ReadDirectory(keys, info.Name, int64(len(data)), reader(data)); err != nil {
			t.Error(err)
		}
	}
}

// TestFull ends packs where they say that it costs little.
func TestFull(t *testing.T) {
	keys := testKeys()
	r := rand.New(rand.NewPCG(5, 6))
	const room = 1 << 20
	ended := 0
	for range 30 {
		w := pack.NewWriter(keys, testSession, make([]byte, 0, room))
		for {
			body, blobs := noise(10<<10+r.IntN(30<<10)), make([]index.Entry, 1+r.IntN(50))
			for i := range blobs {
				blobs[i] = index.Entry{Prefix: index.Prefix{byte(i)}, Kind: blob.Tree, Length: 1}
			}
			if !w.Fits(len(body), len(blobs)) {
				break
			}
			if w.Append(body, blobs); w.Full() {
				ended++
				break
			}
		}
		full, size := w.Full(), w.Len()
		data, _ := w.Finish()
		if full && (len(data) < room/8*5 || len(data)-size > len(data)/512) {
			t.Errorf("%d bytes with %d of padding count as full", len(data), len(data)-size)
		}
	}
	if ended < 15 {
		t.Errorf("%d of 30 packs ended before there was no more room", ended)
	}
}

func TestFitsLimits(t *testing.T) {
	w := pack.NewWriter(testKeys(), testSession, make([]byte, 0, 64<<20))
	most := (index.DirectorySizeMax - index.DirectorySizeMost(1, 0)) / (index.DirectorySizeMost(0, 1) - index.DirectorySizeMost(0, 0))
	if !w.Fits(100, most) || w.Fits(100, most+1) {
		t.Errorf("a directory of %d blobs is not the largest", most)
	}
}

// TestReadDirectoryRefuses has packs of which a part is damaged, missing or another pack's.
func TestReadDirectoryRefuses(t *testing.T) {
	keys := testKeys()
	data, info, _ := newPack(t, keys, 3)
	size := int64(len(data))
	other, _, _ := newPack(t, keys, 2)
	end := int(info.Segments[2].Offset + info.Segments[2].Stored)
	stored := index.DirectorySize(info) + seal.TagSize
	spoil := func(at int) []byte {
		b := bytes.Clone(data)
		b[at] ^= 16
		return b
	}
	for what, test := range map[string]struct {
		keys *seal.Keys
		data []byte
		size int64
		good bool
	}{
		"good":                     {keys, data, size, true},
		"damaged segment":          {keys, spoil(200), size, true}, // not looked at
		"damaged padding":          {keys, spoil(end + stored + 5), size, true},
		"damaged salt":             {keys, spoil(30), size, false},
		"damaged commitment":       {keys, spoil(79), size, false},
		"damaged directory":        {keys, spoil(end), size, false},
		"damaged directory's end":  {keys, spoil(end + stored - 1), size, false},
		"damaged footer":           {keys, spoil(len(data) - 20), size, false},
		"another's header":         {keys, append(bytes.Clone(other[:80]), data[80:]...), size, false},
		"another's footer":         {keys, append(bytes.Clone(data[:size-64]), other[len(other)-64:]...), size, false},
		"other keys":               {seal.NewKeys(seal.RepoID{9}, 3, [32]byte{8}), data, size, false},
		"other repository":         {seal.NewKeys(seal.RepoID{8}, 3, [32]byte{7}), data, size, false},
		"other epoch":              {seal.NewKeys(seal.RepoID{9}, 4, [32]byte{7}), data, size, false},
		"shorter":                  {keys, data[:size-1], size - 1, false},
		"longer":                   {keys, append(bytes.Clone(data), 0), size + 1, false},
		"shorter than it was said": {keys, data[:size-1], size, false},
		"tiny":                     {keys, data[:143], 143, false},
		"negative":                 {keys, data, -1, false},
		"huge":                     {keys, data, index.PackSizeMax + 1, false},
	} {
		got, err := pack.ReadDirectory(test.keys, info.Name, test.size, reader(test.data))
		if (err == nil) != test.good {
			t.Errorf("%s: got %v", what, err)
		}
		if test.good && !cmp.Equal(got, info) {
			t.Errorf("%s: another directory", what)
		}
		if !test.good && !errors.Is(err, seal.ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, which does not say that it is damaged", what, err)
		}
	}
}

// object seals what a hostile writer with the keys might: segments and any directory.
func object(keys *seal.Keys, kind seal.Kind, segments [][]byte, directory []byte) []byte {
	s := keys.NewSealer(kind, nil, nil)
	for _, b := range segments {
		s.Append(b)
	}
	return s.Finish(directory, pack.SizeMin)
}

// TestHostileDirectory has directories that are sealed well and lie.
func TestHostileDirectory(t *testing.T) {
	keys := testKeys()
	segment := make([]byte, 84) // 100 bytes when it is sealed
	good := &index.Pack{Session: testSession, Segments: []index.Segment{{Offset: 80, Stored: 100, Plain: 50}},
		Blobs: []index.Entry{{Prefix: index.Prefix{1}, Kind: blob.Data, Length: 50}}}
	directory := func(change func(p *index.Pack)) []byte {
		p := *good
		p.Segments, p.Blobs = append([]index.Segment{}, good.Segments...), append([]index.Entry{}, good.Blobs...)
		change(&p)
		return index.AppendDirectory(nil, &p)
	}
	count := directory(func(*index.Pack) {})
	binary.LittleEndian.PutUint32(count[16:], 1<<31)
	for what, test := range map[string]struct {
		data []byte
		good bool
	}{
		"good":            {object(keys, seal.Pack, [][]byte{segment}, directory(func(*index.Pack) {})), true},
		"other kind":      {object(keys, seal.Index, [][]byte{segment}, directory(func(*index.Pack) {})), false},
		"no directory":    {object(keys, seal.Pack, [][]byte{segment}, nil), false},
		"segment missing": {object(keys, seal.Pack, [][]byte{segment, segment}, directory(func(*index.Pack) {})), false},
		"segment more":    {object(keys, seal.Pack, nil, directory(func(*index.Pack) {})), false},
		"stored less":     {object(keys, seal.Pack, [][]byte{segment}, directory(func(p *index.Pack) { p.Segments[0].Stored-- })), false},
		"stored much":     {object(keys, seal.Pack, [][]byte{segment}, directory(func(p *index.Pack) { p.Segments[0].Stored = 1<<32 - 1 })), false},
		"blob too long":   {object(keys, seal.Pack, [][]byte{segment}, directory(func(p *index.Pack) { p.Blobs[0].Length = 1<<24 - 1 })), false},
		"blob of no kind": {object(keys, seal.Pack, [][]byte{segment}, directory(func(p *index.Pack) { p.Blobs[0].Kind = 4 })), false},
		"many segments":   {object(keys, seal.Pack, [][]byte{segment}, count), false},
		"more behind":     {object(keys, seal.Pack, [][]byte{segment}, append(directory(func(*index.Pack) {}), 0)), false},
		"too large":       {object(keys, seal.Pack, [][]byte{segment}, make([]byte, index.DirectorySizeMax+1)), false},
	} {
		if _, err := pack.ReadDirectory(keys, blob.Name{}, int64(len(test.data)), reader(test.data)); (err == nil) != test.good {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestLargeDirectoryIsNotRead: its length is bounded before it is allocated.
func TestLargeDirectoryIsNotRead(t *testing.T) {
	keys := testKeys()
	data := object(keys, seal.Pack, nil, make([]byte, index.DirectorySizeMax+1))
	read := reader(data)
	_, err := pack.ReadDirectory(keys, blob.Name{}, int64(len(data)), func(p []byte, off int64) error {
		if len(p) > 1<<20 {
			t.Errorf("%d bytes are read", len(p))
		}
		return read(p, off)
	})
	if !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// FuzzReadDirectory changes a pack, and gives any directory to a well sealed one.
func FuzzReadDirectory(f *testing.F) {
	keys := testKeys()
	data, info, _ := newPack(f, keys, 2)
	f.Add(index.AppendDirectory(nil, info), uint32(0), byte(0))
	f.Add([]byte{}, uint32(len(data)-1), byte(255))
	f.Fuzz(func(t *testing.T, directory []byte, at uint32, change byte) {
		damaged := bytes.Clone(data)
		damaged[int(at)%len(data)] ^= change
		if p, err := pack.ReadDirectory(keys, info.Name, int64(len(data)), reader(damaged)); err == nil && !cmp.Equal(p, info) {
			t.Errorf("byte %d changed by %#x: another directory", at, change)
		}
		sealed := object(keys, seal.Pack, nil, directory)
		p, err := pack.ReadDirectory(keys, info.Name, int64(len(sealed)), reader(sealed))
		if err == nil && !bytes.Equal(index.AppendDirectory(nil, p), directory) {
			t.Errorf("%x is encoded as %x", directory, index.AppendDirectory(nil, p))
		}
	})
}

func Example() {
	keys := seal.NewKeys(seal.RepoID{1}, 0, seal.NewMaster())
	plain := []byte("one file another file")
	blobs := []index.Entry{
		{Prefix: index.PrefixOf(keys.ID(blob.Data, plain[:8])), Kind: blob.Data, Length: 8},
		{Prefix: index.PrefixOf(keys.ID(blob.Data, plain[8:])), Kind: blob.Data, Length: 13},
	}
	w := pack.NewWriter(keys, blob.Session{1}, make([]byte, 0, 1<<20))
	body := pack.NewCompressor(pack.Default).Compress(plain)
	number, sealed := w.Append(body, blobs)
	o, err := w.Opener()
	if err == nil {
		err = pack.NewProver().Prove(o, number, sealed, plain)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	data, info := w.Finish()

	p, err := pack.ReadDirectory(keys, info.Name, int64(len(data)), func(b []byte, off int64) error {
		copy(b, data[off:])
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(data), "bytes,", len(p.Segments), "segment,", len(p.Blobs), "blobs")
	// Output: 65536 bytes, 1 segment, 2 blobs
}
