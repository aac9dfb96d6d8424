package index_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

// goldenPack has two segments with a blob of each kind.
func goldenPack() *index.Pack {
	p := &index.Pack{
		Session:  blob.Session{0: 0xa0, 15: 0xaf},
		Segments: []index.Segment{{Offset: 80, Stored: 0x1234, Plain: 0x20304}, {Offset: 0x1284, Stored: 0x56, Plain: 0x800000}},
		Blobs: []index.Entry{
			{Prefix: index.Prefix{0: 1, 15: 0xf1}, Kind: blob.Data, Segment: 0, Offset: 0, Length: 0x10203},
			{Prefix: index.Prefix{0: 2, 15: 0xf2}, Kind: blob.Scan, Segment: 0, Offset: 0x10203, Length: 0x10101},
			{Prefix: index.Prefix{0: 3, 15: 0xf3}, Kind: blob.Tree, Segment: 1, Offset: 0, Length: 0x800000},
		},
	}
	return p
}

// The goldens are the format: a change here makes repositories unreadable.
const goldenDirectory = "a00000000000000000000000000000af" + // session
	"02000000" + // segments
	"34120000" + "02000000" + // stored, blobs
	"56000000" + "01000000" +
	"010000000000000000000000000000f1" + // ids, the first halves
	"020000000000000000000000000000f2" +
	"030000000000000000000000000000f3" +
	"8d9010" + "878810" + "82808010" // lengths << 2 | kinds

const goldenList = "01000000" + // packs
	"11000000000000000000000000000000000000000000000000000000000000ff" + // name
	"07000000" + // epoch
	"22000000000000000000000000000000000000000000000000000000000000ee" + // salt
	"00000040" + // size
	"5e000000" // bytes of directory

func goldenListed() index.Listed {
	return index.Listed{Name: blob.Name{0: 0x11, 31: 0xff}, Epoch: 7, Salt: [32]byte{0: 0x22, 31: 0xee}, Size: 1 << 30, Directory: 94}
}

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestDirectoryGolden(t *testing.T) {
	if got := hex.EncodeToString(index.AppendDirectory(nil, goldenPack())); got != goldenDirectory {
		t.Errorf("encoded\n%s, want\n%s", got, goldenDirectory)
	}
	var got index.Pack
	if err := index.DecodeDirectory(unhex(goldenDirectory), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(goldenPack(), &got); d != "" {
		t.Errorf("decoded (-want +got)\n%s", d)
	}
}

func TestListGolden(t *testing.T) {
	want := []index.Listed{goldenListed()}
	if got := hex.EncodeToString(index.AppendList(nil, want)); got != goldenList {
		t.Errorf("encoded\n%s, want\n%s", got, goldenList)
	}
	got, err := index.DecodeList(unhex(goldenList))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded (-want +got)\n%s", d)
	}
}

func TestDirectoryRoundTrip(t *testing.T) {
	for _, n := range []struct{ segments, blobs int }{{0, 0}, {1, 1}, {1, 1000}, {2, 3}, {1000, 2}, {65535, 1}} {
		p := newPack(newRand(2), n.segments, n.blobs)
		b := index.AppendDirectory([]byte("before"), p)
		if len(b) != len("before")+index.DirectorySize(p) {
			t.Errorf("%v: %d bytes, DirectorySize says otherwise", n, len(b))
		}
		if most := index.DirectorySizeMost(n.segments, len(p.Blobs)); index.DirectorySize(p) > most {
			t.Errorf("%v: DirectorySize says more than %d", n, most)
		}
		got := index.Pack{Name: p.Name, Epoch: p.Epoch, Salt: p.Salt, Size: p.Size}
		if err := index.DecodeDirectory(string(b[len("before"):]), &got); err != nil {
			t.Errorf("%v: %v", n, err)
		} else if got.Session != p.Session || !slices.Equal(got.Segments, p.Segments) || !slices.Equal(got.Blobs, p.Blobs) {
			t.Errorf("%v: another pack was decoded", n)
		}
	}
}

// TestObjectRoundTrip writes and reads an index object as the repository does: a list, and the directories apart.
func TestObjectRoundTrip(t *testing.T) {
	r := newRand(3)
	var packs []*index.Pack
	var list []index.Listed
	var bodies []byte
	for i := range 5 {
		p := newPack(r, i, 1+i)
		packs, list, bodies = append(packs, p), append(list, p.Listed()), index.AppendDirectory(bodies, p)
	}
	s := string(index.AppendList(nil, list))
	read, err := index.DecodeList(s)
	if err != nil {
		t.Fatal(err)
	}
	rest := string(bodies)
	for i := range read {
		got, err := read[i].Pack(rest[:read[i].Directory])
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(packs[i], got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("pack %d (-want +got)\n%s", i, d)
		}
		rest = rest[read[i].Directory:]
	}
	if _, err := read[1].Pack(string(bodies)); err == nil {
		t.Error("no error for a directory of another length than listed")
	}
}

func TestDecodeDirectoryRefuses(t *testing.T) {
	good := unhex(goldenDirectory)
	at := func(i int, b string) string { return good[:i] + b + good[i+len(b):] }
	tests := map[string]string{
		"nothing":                   "",
		"cut":                       good[:len(good)-1],
		"trailing byte":             good + "\x00",
		"trailing length":           good + "\x05",
		"length in a longer form":   good[:len(good)-1] + "\x90\x00",
		"length of 5 bytes":         good[:len(good)-1] + "\x80\x01",
		"length that does not end":  good[:len(good)-1] + "\x90",
		"blob without an id":        good[:36] + good[52:],
		"more segments than bytes":  at(16, "\xff\xff\xff\xff"),
		"too many segments":         at(16, "\x00\x00\x01\x00"),
		"fewer segments":            at(16, "\x01"),
		"more blobs than bytes":     at(24, "\xff\xff\xff\xff"),
		"blobs that overflow":       at(24, "\x02\x00\x00\xf0"),
		"segment without blobs":     at(24, "\x03\x00\x00\x00\x56\x00\x00\x00\x00"),
		"segment past 1 GiB":        at(20, "\xff\xff\xff\x3f"),
		"too much plaintext":        good[:len(good)-4] + "\x86\x80\x80\x10",
		"unknown kind":              at(36+48, "\x8c"),
		"longer than any directory": good + strings.Repeat("\x00", index.DirectorySizeMax),
	}
	for name, s := range tests {
		var p index.Pack
		if err := index.DecodeDirectory(s, &p); err == nil {
			t.Errorf("%s: decoded %d segments, %d blobs", name, len(p.Segments), len(p.Blobs))
		}
	}
	p := index.Pack{Size: 0x1283 + 0x56}
	if err := index.DecodeDirectory(good, &p); err == nil {
		t.Error("segments past the end of the pack: no error")
	}
}

func TestDecodeListRefuses(t *testing.T) {
	good := unhex(goldenList)
	at := func(i int, b string) string { return good[:i] + b + good[i+len(b):] }
	full := goldenListed()
	full.Directory = index.DirectorySizeMax
	tests := map[string]string{
		"nothing":                   "",
		"cut":                       good[:len(good)-1],
		"trailing byte":             good + "\x00",
		"more packs than bytes":     at(0, "\xff\xff\xff\xff"),
		"count that overflows":      at(0, "\x01\x00\x00\x40"),
		"pack of no bytes":          at(4+68, "\x00\x00\x00\x00"),
		"pack above 1 GiB":          at(4+68, "\x01\x00\x00\x40"),
		"directory too short":       at(4+72, "\x13"),
		"directory too long":        at(4+72, "\x01\x00\x80\x00"),
		"directories above 16 MiB":  string(index.AppendList(nil, []index.Listed{full, full})),
		"longer than any such list": good + strings.Repeat("\x00", index.ObjectSizeMax),
	}
	for name, s := range tests {
		if list, err := index.DecodeList(s); err == nil {
			t.Errorf("%s: decoded %d packs", name, len(list))
		}
	}
}

// TestDirectoryFrozen pins the encoding of a larger pack by its hash.
func TestDirectoryFrozen(t *testing.T) {
	const want = "bca9b23a33a07242629c4db47d33450a0e02816ef269a1a4fa03354f5edcce96"
	got := sha256.Sum256(index.AppendDirectory(nil, newPack(newRand(4), 100, 10)))
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("hash %x, want %s", got, want)
	}
}

func FuzzDecodeDirectory(f *testing.F) {
	f.Add(unhex(goldenDirectory))
	f.Add(string(index.AppendDirectory(nil, newPack(newRand(5), 0, 0))))
	f.Add(string(index.AppendDirectory(nil, newPack(newRand(5), 3, 4))))
	f.Fuzz(func(t *testing.T, s string) {
		var p index.Pack
		if index.DecodeDirectory(s, &p) != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Errorf("decoded a pack that is not in order: %v", err)
		}
		if got := string(index.AppendDirectory(nil, &p)); got != s {
			t.Errorf("encoded again:\n%x, want\n%x", got, s)
		}
	})
}

func FuzzDecodeList(f *testing.F) {
	f.Add(unhex(goldenList))
	f.Add(string(index.AppendList(nil, nil)))
	f.Add(string(index.AppendList(nil, []index.Listed{goldenListed(), newPack(newRand(6), 1, 1).Listed()})))
	f.Fuzz(func(t *testing.T, s string) {
		list, err := index.DecodeList(s)
		if err != nil {
			return
		}
		if got := string(index.AppendList(nil, list)); got != s {
			t.Errorf("encoded again:\n%x, want\n%x", got, s)
		}
	})
}
