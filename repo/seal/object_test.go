package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
)

// sequence is n bytes that count up from first.
func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

var (
	testRepo   = seal.RepoID(sequence(0xa0, 16))
	testMaster = [32]byte(sequence(1, 32))
)

func testKeys() *seal.Keys { return seal.NewKeys(testRepo, 7, testMaster) }

// parts are the plaintexts of an object.
type parts struct {
	segments  [][]byte
	directory []byte
}

func (p *parts) seal(s *seal.Sealer, sizeMin int) []byte {
	for _, segment := range p.segments {
		s.Append(segment)
	}
	return s.Finish(p.directory, sizeMin)
}

// open opens all parts of an object in the way that package repo does.
func (p *parts) open(keys *seal.Keys, kind seal.Kind, object []byte) (*parts, error) {
	if len(object) < seal.HeaderSize+seal.FooterSize {
		return nil, seal.ErrCorrupt
	}
	o, err := keys.NewOpener(kind, object)
	if err != nil {
		return nil, err
	}
	off, stored, err := o.Footer(object[len(object)-seal.FooterSize:], int64(len(object)))
	if err != nil {
		return nil, err
	}
	out := new(parts)
	if out.directory, err = o.Directory(object[off : off+stored]); err != nil {
		return nil, err
	}
	if err := o.Padding(object, off+stored); err != nil {
		return nil, err
	}
	at := int64(seal.HeaderSize)
	for i, segment := range p.segments {
		end := at + int64(len(segment)) + seal.TagSize
		if end > off {
			return nil, seal.ErrCorrupt
		}
		plain, err := o.Open(nil, uint32(i), object[at:end])
		if err != nil {
			return nil, err
		}
		out.segments, at = append(out.segments, plain), end
	}
	if at != off {
		return nil, seal.ErrCorrupt
	}
	return out, nil
}

func (p *parts) equal(q *parts) bool {
	if len(p.segments) != len(q.segments) || !bytes.Equal(p.directory, q.directory) {
		return false
	}
	for i := range p.segments {
		if !bytes.Equal(p.segments[i], q.segments[i]) {
			return false
		}
	}
	return true
}

func goldenParts() *parts {
	return &parts{segments: [][]byte{[]byte("first segment"), []byte("second")}, directory: []byte("directory")}
}

// golden is goldenParts sealed as an index of testKeys, with the random bytes 0x40 to 0x5f.
const golden = "7461726e0102000007000000000000007bddd691e8cdc69c701892b312c8eb502b0b030aec5b4d59eda71acee6bca29e3b6790048e53a1492c7ab566e8f1dafb48276b526ad468a37368b2a701395b828abcc87e89d2491bf4c31a9ac56c2054756073ca2dd4d8775a4546d36383b7a4352ce7dbb2a0d2b5ed3f709cd518ddccabe56663c492d3b381371e43e2560fb430cde420cc71be2deed8a7b3c42cb6e73dbff3449678a2bb4fe6dd315901f968530ca27c05ca27f88c515e97c6417554b4014836d504010b6ccdd1941952f52e06efa128efc571f7f522cf89c716b7b40056562456df066596709bba07a5a2ea"

func goldenObject() []byte {
	p := goldenParts()
	return p.seal(testKeys().NewSealerFrom(seal.Index, nil, p.segments[0], [32]byte(sequence(0x40, 32))), 0)
}

func TestGoldenObject(t *testing.T) {
	if got := hex.EncodeToString(goldenObject()); got != golden {
		t.Errorf("got %s", got)
	}
}

// TestGoldenKeys freezes what is derived from a master key.
func TestGoldenKeys(t *testing.T) {
	k := testKeys()
	data, tree, scan := k.ID(blob.Data, []byte("plaintext")), k.ID(blob.Tree, []byte("plaintext")), k.ID(blob.Scan, []byte("plaintext"))
	for name, pair := range map[string][2]string{
		"data":    {data.String(), "ce90d66b02a8f72391de2c3ee127bb2c213bc0f130b8a1abb9da752772f4bf7c"},
		"tree":    {tree.String(), "d53ff9bb789afc02ee9dc4349c6c2cbb388806f2a1b0ee2539b2d772446dd34a"},
		"scan":    {scan.String(), "9ab1e9df46a3f55a88c7a5567bd560ff54fcf1cb5a9d52d0fdcc5ee8addf0a10"},
		"chunker": {hex.EncodeToString(k.Chunker()[:]), "b6d08fc8af1366c3ee2ee89d8cb16ecead693c7e8e01cb5cf1f42252e79f70c2"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %s, want %s", name, pair[0], pair[1])
		}
	}
	if k.Repo() != testRepo || k.Epoch() != 7 {
		t.Errorf("repository %s, epoch %d", k.Repo(), k.Epoch())
	}
}

func TestRoundTrip(t *testing.T) {
	keys := testKeys()
	sizes := []int{0, 1, 15, 16, 17, 255, 256, 65535, 65536, 1 << 20}
	for _, sizeMin := range []int{0, 1, 4096, 64 << 10, 3 << 20} {
		for n := range 4 {
			p := &parts{directory: sequence(9, sizes[n])}
			for _, size := range sizes[:n*3] {
				p.segments = append(p.segments, sequence(byte(size), size))
			}
			var first []byte
			if n > 0 {
				first = p.segments[0]
			}
			object := p.seal(keys.NewSealer(seal.Pack, nil, first), sizeMin)
			if len(object) < sizeMin || seal.Padme(len(object)) != len(object) {
				t.Errorf("at least %d bytes: it has %d", sizeMin, len(object))
			}
			got, err := p.open(keys, seal.Pack, object)
			if err != nil {
				t.Fatalf("%d segments, at least %d bytes: %v", len(p.segments), sizeMin, err)
			}
			if !got.equal(p) {
				t.Errorf("%d segments, at least %d bytes: other bytes", len(p.segments), sizeMin)
			}
		}
	}
}

// TestBufferIsReused seals into a given buffer: nothing moves, and nothing of what was in it before is left.
func TestBufferIsReused(t *testing.T) {
	buf := bytes.Repeat([]byte("old secret"), 2000)
	s := testKeys().NewSealer(seal.Pack, buf, []byte("a"))
	_, first := s.Append([]byte("a"))
	before := bytes.Clone(first)
	s.Append(sequence(0, 5000))
	object := s.Finish([]byte("d"), 4096)
	if &object[0] != &buf[0] || !bytes.Equal(first, before) || bytes.Contains(object, []byte("old secret")) {
		t.Error("the buffer was not used as it should be")
	}
}

// TestSaltsDiffer: neither equal randomness nor equal bytes alone give the same key again.
func TestSaltsDiffer(t *testing.T) {
	keys, other := testKeys(), seal.NewKeys(testRepo, 7, [32]byte(sequence(2, 32)))
	random := [32]byte(sequence(0, 32))
	salts := map[[seal.SaltSize]byte]string{}
	for what, s := range map[string]*seal.Sealer{
		"base":             keys.NewSealerFrom(seal.Pack, nil, []byte("a"), random),
		"other bytes":      keys.NewSealerFrom(seal.Pack, nil, []byte("b"), random),
		"other randomness": keys.NewSealerFrom(seal.Pack, nil, []byte("a"), [32]byte(sequence(1, 32))),
		"other master":     other.NewSealerFrom(seal.Pack, nil, []byte("a"), random),
		"random":           keys.NewSealer(seal.Pack, nil, []byte("a")),
		"random again":     keys.NewSealer(seal.Pack, nil, []byte("a")),
	} {
		if was, ok := salts[s.Salt()]; ok {
			t.Errorf("%s has the salt of %s", what, was)
		}
		salts[s.Salt()] = what
	}
}

// TestEveryFlippedBit is refused wherever it is, by the part that holds it.
func TestEveryFlippedBit(t *testing.T) {
	keys, p, object := testKeys(), goldenParts(), goldenObject()
	for at := range object {
		for bit := range 8 {
			object[at] ^= 1 << bit
			_, err := p.open(keys, seal.Index, object)
			if !errors.Is(err, seal.ErrCorrupt) && !(at == 4 && errors.Is(err, seal.ErrVersion)) {
				t.Errorf("byte %d, bit %d: got %v", at, bit, err)
			}
			if at < seal.HeaderSize {
				if _, err := keys.NewOpener(seal.Index, object); err == nil {
					t.Errorf("byte %d, bit %d of the header: not found when it is read", at, bit)
				}
			}
			object[at] ^= 1 << bit
		}
	}
	for n := range len(object) {
		if _, err := p.open(keys, seal.Index, object[:n]); err == nil {
			t.Errorf("cut to %d bytes: opened", n)
		}
	}
	if _, err := p.open(keys, seal.Index, append(object, 0)); err == nil {
		t.Error("with a byte more: opened")
	}
}

// TestBinding has the right bytes in the wrong place. All must be refused.
func TestBinding(t *testing.T) {
	keys, p := testKeys(), goldenParts()
	object := goldenObject()
	first := object[seal.HeaderSize:][:len(p.segments[0])+seal.TagSize]
	o, err := keys.NewOpener(seal.Index, object)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(nil, 0, first); err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint32{1, 2, 65534, 65535, 65536, math.MaxUint32 - 2, math.MaxUint32 - 1, math.MaxUint32} {
		if _, err := o.Open(nil, number, first); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("as segment %d: got %v", number, err)
		}
	}
	if _, err := o.Directory(first); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("as directory: got %v", err)
	}
	off, stored, err := o.Footer(object[len(object)-seal.FooterSize:], int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	directory := object[off : off+stored]
	for _, number := range []uint32{0, 1, math.MaxUint32 - 1} { // the last is the directory's own
		if _, err := o.Open(nil, number, directory); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("directory as segment %d: got %v", number, err)
		}
	}
	h, err := seal.ParseHeader(object)
	if err != nil || h.Kind != seal.Index || h.Epoch != 7 {
		t.Fatalf("%+v, %v", h, err)
	}
	others := map[string]*seal.Keys{
		"repository": seal.NewKeys(seal.RepoID{1}, 7, testMaster),
		"master":     seal.NewKeys(testRepo, 7, [32]byte{1}),
		"epoch":      seal.NewKeys(testRepo, 8, testMaster),
	}
	for what, k := range others {
		if _, err := p.open(k, seal.Index, object); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("another %s: got %v", what, err)
		}
		// An index that was tampered with may give the salt of one object for another.
		if o, err := k.OpenerOf(seal.Index, 7, &h.Salt); err == nil {
			if _, err := o.Open(nil, 0, first); !errors.Is(err, seal.ErrCorrupt) {
				t.Errorf("another %s, by salt: got %v", what, err)
			}
		} else if what != "epoch" {
			t.Errorf("another %s: %v", what, err)
		}
	}
	// The epoch is authenticated, not only compared: keys of another epoch with the same master open nothing.
	changed := bytes.Clone(object)
	changed[8] = 8
	if _, err := p.open(others["epoch"], seal.Index, changed); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("epoch changed in the header: got %v", err)
	}
	for kind := seal.Pack; kind <= seal.Parity; kind++ {
		o, err := keys.OpenerOf(kind, 7, &h.Salt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Open(nil, 0, first); (err == nil) != (kind == seal.Index) {
			t.Errorf("as %v: got %v", kind, err)
		}
		changed := bytes.Clone(object)
		changed[5] = byte(kind)
		if _, err := p.open(keys, kind, changed); (err == nil) != (kind == seal.Index) {
			t.Errorf("as %v, with the header changed: got %v", kind, err)
		}
	}
	salt := h.Salt
	salt[31] ^= 1
	if o, err = keys.OpenerOf(seal.Index, 7, &salt); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(nil, 0, first); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("with another salt: got %v", err)
	}
}

// TestCommitment swaps the header of an object for one that commits to another key: found before anything is opened.
func TestCommitment(t *testing.T) {
	keys := testKeys()
	a, b := goldenObject(), keys.NewSealer(seal.Index, nil, nil).Finish(nil, 0)
	mixed := append(bytes.Clone(a[:48]), b[48:seal.HeaderSize]...) // a's salt, b's commitment
	if _, err := keys.NewOpener(seal.Index, mixed); !errors.Is(err, seal.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if _, err := keys.NewOpener(seal.Index, append(bytes.Clone(b[:seal.HeaderSize]), a[seal.HeaderSize:]...)); err != nil {
		t.Errorf("a whole header of another object commits to that one's key: %v", err)
	}
}

// TestHostileFooter has footers that are sealed well and lie.
func TestHostileFooter(t *testing.T) {
	object := goldenObject()
	o, err := testKeys().NewOpener(seal.Index, object)
	if err != nil {
		t.Fatal(err)
	}
	footer := object[len(object)-seal.FooterSize:]
	off, stored, err := o.Footer(footer, int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	least := off + stored + seal.TagSize + seal.FooterSize
	for size, good := range map[int64]bool{0: false, -1: false, math.MinInt64: false, seal.FooterSize: false, least - 1: false, least: true, math.MaxInt64: true} {
		if _, _, err := o.Footer(footer, size); (err == nil) != good {
			t.Errorf("in an object of %d bytes: got %v", size, err)
		}
	}
	for _, n := range []int{0, 15, 16, 63} {
		if _, _, err := o.Footer(footer[:n], 1000); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
}

func TestTooManySegments(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("65,536 segments were taken")
		}
	}()
	s := testKeys().NewSealer(seal.Pack, make([]byte, 0, 2<<20), nil)
	for range 65536 {
		s.Append(nil)
	}
}

func TestPadme(t *testing.T) {
	lengths := map[int]bool{}
	last := 0
	check := func(n int) {
		p := seal.Padme(n)
		if p < n || p < last || seal.Padme(p) != p {
			t.Errorf("Padme(%d) = %d after %d, and Padme of that %d", n, p, last, seal.Padme(p))
		}
		if float64(p-n) > 0.12*float64(n) || n >= 4<<20 && float64(p-n) > 0.032*float64(n) {
			t.Errorf("Padme(%d) = %d adds %.1f %%", n, p, 100*float64(p-n)/float64(n))
		}
		if n > 1 { // no more significant bits than it takes to write the exponent
			if e := bits.Len(uint(p)) - 1; bits.Len(uint(p)>>bits.TrailingZeros(uint(p))) > bits.Len(uint(e))+1 {
				t.Errorf("Padme(%d) = %d tells too much", n, p)
			}
		}
		last = p
		lengths[p] = true
	}
	for n := range 1 << 16 {
		check(n)
	}
	for n := 1 << 16; n <= seal.ObjectSizeMax; n += n/5000 + 1 {
		check(n)
	}
	if len(lengths) > 700 {
		t.Errorf("%d different lengths up to 1 GiB", len(lengths))
	}
	for n, want := range map[int]int{0: 0, 1: 1, 2: 2, 9: 10, 100: 104, 1000: 1024, 65536: 65536, 65537: 67584, 1 << 30: 1 << 30} {
		if got := seal.Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	keys := testKeys()
	seen := map[blob.ID]string{}
	for kind := blob.Data; kind <= blob.Scan; kind++ {
		for _, text := range []string{"", "a", "b"} {
			what := kind.String() + " " + text
			id := keys.ID(kind, []byte(text))
			if was, ok := seen[id]; ok {
				t.Errorf("%q has the ID of %q", what, was)
			}
			seen[id] = what
			if keys.ID(kind, []byte(text)) != id {
				t.Errorf("%q has two IDs", what)
			}
			if sha256.Sum256([]byte(text)) == id || seal.NewKeys(testRepo, 7, [32]byte{}).ID(kind, []byte(text)) == id {
				t.Errorf("%q: the ID does not depend on the key", what)
			}
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	object := goldenObject()
	f.Add(object[:seal.HeaderSize])
	f.Add(object[:seal.HeaderSize-1])
	f.Add([]byte("tarn\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := seal.ParseHeader(b)
		if err != nil {
			if !errors.Is(err, seal.ErrCorrupt) && !errors.Is(err, seal.ErrVersion) {
				t.Errorf("got %v", err)
			}
			return
		}
		again := append([]byte("tarn\x01"), byte(h.Kind), 0, 0, byte(h.Epoch), byte(h.Epoch>>8), byte(h.Epoch>>16), byte(h.Epoch>>24), 0, 0, 0, 0)
		again = append(append(again, h.Salt[:]...), h.Commitment[:]...)
		if !bytes.Equal(again, b[:seal.HeaderSize]) {
			t.Errorf("%x means %x", b, again)
		}
	})
}

// FuzzOpener looks for an object that opens and is not the one that was sealed.
func FuzzOpener(f *testing.F) {
	object := goldenObject()
	f.Add(object)
	f.Add(object[:seal.HeaderSize+seal.FooterSize])
	f.Add([]byte{})
	keys, p := testKeys(), goldenParts()
	o, err := keys.NewOpener(seal.Index, object)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := p.open(keys, seal.Index, b); err == nil && (!bytes.Equal(b, object) || !got.equal(p)) {
			t.Errorf("%x opens", b)
		}
		for number := range uint32(2) {
			if plain, err := o.Open(nil, number, b); err == nil && !bytes.Equal(plain, p.segments[number]) {
				t.Errorf("%x opens as segment %d", b, number)
			}
		}
	})
}

func Example() {
	keys := seal.NewKeys(seal.RepoID{1, 2, 3}, 0, seal.NewMaster())
	segment := []byte("the quick brown fox")
	s := keys.NewSealer(seal.Pack, nil, segment)
	number, sealed := s.Append(segment)
	begin := s.Len() - len(sealed)
	object := s.Finish([]byte("what the segments hold"), 4096)

	o, err := keys.NewOpener(seal.Pack, object)
	if err != nil {
		fmt.Println(err)
		return
	}
	plain, err := o.Open(nil, number, object[begin:][:len(segment)+seal.TagSize])
	fmt.Printf("%d bytes: %s, %v\n", len(object), plain, err)
	_, err = o.Open(nil, number+1, object[begin:][:len(segment)+seal.TagSize])
	fmt.Println(err)
	// Output:
	// 4096 bytes: the quick brown fox, <nil>
	// damaged: authentication failed
}
