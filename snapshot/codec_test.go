package snapshot_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/tlv"
)

var equal = cmpopts.EquateEmpty()

// goldenNodes are one of each kind, and their encodings. Changing one is a change of the format.
func goldenNodes() map[string]snapshot.Node {
	return map[string]snapshot.Node{
		"06010166030101": {Name: "f", Type: snapshot.File},
		"b901010766696c6520ff0a0301010501020601010702ed1f0902e8070b05feffffff0f0c026d650e0275730f0601ff93ebdc03100680808080400013038580401510010000000000000000000000000000021a01101d0906757365722e6100761d0806757365722e62001d2806757365722e63016b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b21250ad4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab3581808001": {
			Name: "file \xff\n", Type: snapshot.File, State: snapshot.Torn, Sparse: true, Mode: 0o7755, UID: 1000, GID: 1<<32 - 2, User: "me", Group: "us",
			ModTime: snapshot.Time{Sec: -1, Nsec: 999_999_999}, AccessTime: snapshot.Time{Sec: 1 << 33}, Size: 5 + 1<<20, Link: snapshot.LinkKey{1, 15: 2},
			Flags: 0x10, Xattrs: []snapshot.Xattr{{Name: "user.a", Value: "v"}, {Name: "user.b"}, {Name: "user.c", Ref: id(1)}},
			Content: snapshot.Content{Elements: []snapshot.Element{{ID: id(2), Length: 5}, {Length: 1 << 20}}},
		},
		"320101640301020702c0031f01012123c09a0c4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce": {Name: "d", Type: snapshot.Dir, Mode: 0o700,
			Content: snapshot.Content{Depth: 1, Elements: []snapshot.Element{{ID: id(3), Length: 100_000}}}},
		"1b0101730301030702ff030f0680c49fd50c0117072e2e2f746f2ffe": {Name: "s", Type: snapshot.Symlink, Mode: 0o777, Target: "../to/\xfe", ModTime: snapshot.Time{Sec: 1_700_000_000, Nsec: 1}},
		"100101630301060901051905c080808040":                       {Name: "c", Type: snapshot.CharDevice, Device: 4<<32 | 64, UID: 5},
	}
}

func TestGoldenNodes(t *testing.T) {
	for want, n := range goldenNodes() {
		b := snapshot.AppendNode(nil, &n)
		if got := hex.EncodeToString(b); got != want {
			t.Errorf("%s: got %s, want %s", n.Name, got, want)
		}
		var got snapshot.Node
		rest, err := snapshot.CutNode(string(b)+"rest", &got)
		if err != nil || rest != "rest" {
			t.Errorf("%q: rest %q, %v", n.Name, rest, err)
		}
		if diff := cmp.Diff(n, got, equal); diff != "" {
			t.Error(diff)
		}
	}
}

// TestNodeLengths has nodes around the lengths at which the prefix gets longer.
func TestNodeLengths(t *testing.T) {
	for _, size := range []int{0, 1, 100, 110, 113, 114, 115, 116, 117, 118, 119, 120, 125, 130, 4000, 16360, 16370, 16371, 16372, 16373, 16374, 16375, 16380, 16390, 500_000} {
		n := snapshot.Node{Name: "n", Type: snapshot.Symlink, Target: strings.Repeat("t", size)}
		b := snapshot.AppendNode([]byte("before"), &n)
		if string(b[:6]) != "before" {
			t.Errorf("%d bytes: what stood before is %q", size, b[:6])
		}
		var got snapshot.Node
		rest, err := snapshot.CutNode(string(b[6:]), &got)
		if err != nil || rest != "" || got.Target != n.Target {
			t.Errorf("%d bytes: %v, rest %q", size, err, rest)
		}
	}
}

// TestNodeEdges has values at their limits, which must survive.
func TestNodeEdges(t *testing.T) {
	var xattrs []snapshot.Xattr
	for i := range 4096 {
		xattrs = append(xattrs, snapshot.Xattr{Name: "user." + string(rune('\u4e00'+i)), Value: "v"})
	}
	var elements []snapshot.Element
	for i := range snapshot.InlineMax {
		elements = append(elements, snapshot.Element{ID: id(i), Length: 1 << 40})
	}
	for name, n := range map[string]snapshot.Node{
		"longest name":     {Name: strings.Repeat("n", snapshot.NameSizeMax), Type: snapshot.FIFO},
		"no name":          {Type: snapshot.Dir},
		"earliest time":    {Type: snapshot.FIFO, ModTime: snapshot.Time{Sec: math.MinInt64}},
		"latest time":      {Type: snapshot.FIFO, AccessTime: snapshot.Time{Sec: math.MaxInt64, Nsec: 999_999_999}},
		"most attributes":  {Type: snapshot.FIFO, Xattrs: xattrs},
		"most elements":    {Type: snapshot.File, Size: snapshot.InlineMax << 40, Content: snapshot.Content{Elements: elements}},
		"deepest":          {Type: snapshot.File, Size: 1 << 40, Content: snapshot.Content{Depth: snapshot.DepthMax, Elements: elements[:1]}},
		"only holes":       {Type: snapshot.File, Sparse: true, Size: 1 << 61, Content: snapshot.Content{Elements: []snapshot.Element{{Length: 1 << 61}}}},
		"largest device":   {Type: snapshot.BlockDevice, Device: math.MaxUint64},
		"largest flags":    {Type: snapshot.File, Flags: math.MaxUint32, UID: math.MaxUint32, GID: math.MaxUint32},
		"attribute of NUL": {Type: snapshot.Socket, Xattrs: []snapshot.Xattr{{Name: "a", Value: "\x00\x01\x00"}}},
	} {
		b := string(snapshot.AppendNode(nil, &n))
		got := snapshot.Node{Name: "old", Type: snapshot.File, Size: 5, Xattrs: []snapshot.Xattr{{Name: "old"}}, Link: snapshot.LinkKey{1}}
		rest, err := snapshot.CutNode(b, &got)
		if err != nil || rest != "" {
			t.Errorf("%s: %v, rest of %d bytes", name, err, len(rest))
		}
		if diff := cmp.Diff(n, got, equal); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// field is one field of a record.
func field(tag tlv.Tag, v string) string { return string(tlv.AppendBytes(nil, tag, v)) }

func number(tag tlv.Tag, v uint64) string { return string(tlv.AppendUint(nil, tag, v)) }

// record puts its length before a record.
func record(fields ...string) string {
	s := strings.Join(fields, "")
	b := []byte{byte(len(s)&127 | 128), byte(len(s) >> 7)}
	if len(s) < 128 {
		b = []byte{byte(len(s))}
	}
	if len(s) >= 1<<14 {
		b = []byte{byte(len(s)&127 | 128), byte(len(s)>>7&127 | 128), byte(len(s) >> 14)}
	}
	return string(b) + s
}

// TestBadNodes has nodes that no backup writes.
func TestBadNodes(t *testing.T) {
	name, file, folder, pipe := field(1, "n"), number(3, 1), number(3, 2), number(3, 4)
	element := func(length uint64) string {
		return string(snapshot.AppendElement(nil, snapshot.Element{ID: id(1), Length: length}))
	}
	hole := func(length uint64) string {
		return string(snapshot.AppendElement(nil, snapshot.Element{Length: length}))
	}
	ref := func(id blob.ID) string { return field(29, "\x01a\x01"+string(id[:])) }
	for what, test := range map[string]struct {
		record string
		good   bool
	}{
		"pipe":                     {record(name, pipe), true},
		"unknown field":            {record(name, pipe, field(100, "x")), true},
		"unknown critical field":   {record(name, pipe, field(101, "x")), false},
		"no type":                  {record(name), false},
		"newer type":               {record(name, number(3, 8)), false},
		"newer state":              {record(name, file, number(5, 4)), false},
		"name twice":               {record(name, name, pipe), false},
		"long name":                {record(field(1, strings.Repeat("n", snapshot.NameSizeMax+1)), pipe), false},
		"large mode":               {record(name, pipe, number(7, 0o10000)), false},
		"large uid":                {record(name, pipe, number(9, 1<<32)), false},
		"time without nanoseconds": {record(name, pipe, field(15, "\x02")), false},
		"time zero":                {record(name, pipe, field(15, "\x00\x00")), false},
		"time of a second":         {record(name, pipe, field(15, "\x00\x80\x94\xeb\xdc\x03")), false},
		"time and more":            {record(name, pipe, field(15, "\x02\x00\x00")), false},
		"short link":               {record(name, pipe, field(21, "123456789012345")), false},
		"zero link":                {record(name, pipe, field(21, strings.Repeat("\x00", 16))), false},
		"attribute":                {record(name, pipe, field(29, "\x01a\x00v")), true},
		"attributes":               {record(name, pipe, field(29, "\x01a\x00v"), field(29, "\x01b\x00")), true},
		"attributes out of order":  {record(name, pipe, field(29, "\x01b\x00v"), field(29, "\x01a\x00")), false},
		"attribute twice":          {record(name, pipe, field(29, "\x01a\x00v"), field(29, "\x01a\x00w")), false},
		"nameless attribute":       {record(name, pipe, field(29, "\x00\x00v")), false},
		"attribute of no form":     {record(name, pipe, field(29, "\x01a")), false},
		"attribute of form 2":      {record(name, pipe, field(29, "\x01a\x02v")), false},
		"attribute that ends":      {record(name, pipe, field(29, "\x05a\x00v")), false},
		"large attribute":          {record(name, pipe, ref(id(1))), true},
		"large attribute of zero":  {record(name, pipe, ref(blob.ID{})), false},
		"cut large attribute":      {record(name, pipe, field(29, "\x01a\x01123")), false},
		"content":                  {record(name, file, number(19, 7), field(33, element(7))), true},
		"other size":               {record(name, file, number(19, 8), field(33, element(7))), false},
		"size without content":     {record(name, file, number(19, 7)), false},
		"content without size":     {record(name, file, field(33, element(7))), false},
		"hole":                     {record(name, file, number(19, 7), field(33, hole(7))), true},
		"empty element":            {record(name, file, field(33, "\x00"+element(7)[1:])), false},
		"empty hole":               {record(name, file, field(33, "\x01")), false},
		"cut element":              {record(name, file, number(19, 7), field(33, element(7)[:20])), false},
		"element without a blob":   {record(name, file, number(19, 7), field(33, "\x0e"+strings.Repeat("\x00", 32))), false},
		"too many elements":        {record(name, file, number(19, 65), field(33, strings.Repeat(hole(1), 65))), false},
		"very many elements":       {record(name, file, number(19, 20000), field(33, strings.Repeat(hole(1), 20000))), false},
		"sizes past 2^63":          {record(name, file, field(33, strings.Repeat(hole(1<<62), 4))), false},
		"too deep":                 {record(name, file, number(19, 7), number(31, snapshot.DepthMax+1), field(33, element(7))), false},
		"folder of two elements":   {record(name, folder, field(33, element(7)+element(8))), false},
		"long length":              {"\x86\x00" + name + pipe, false},
		"no length":                {"", false},
		"cut":                      {record(name, pipe)[:5], false},
		"huge length":              {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false},
	} {
		var n snapshot.Node
		rest, err := snapshot.CutNode(test.record, &n)
		if (err == nil) != test.good || rest != "" {
			t.Errorf("%s: %v, rest %q", what, err, rest)
		}
		if test.good && what != "unknown field" && string(snapshot.AppendNode(nil, &n)) != test.record {
			t.Errorf("%s: is encoded as %x", what, snapshot.AppendNode(nil, &n))
		}
	}
	var n snapshot.Node
	if _, err := snapshot.CutNode(record(name, pipe, field(101, "x")), &n); !errors.Is(err, tlv.ErrUnknown) {
		t.Errorf("critical field: got %v, want ErrUnknown", err)
	}
}

func TestNodeDecodingKeepsToItself(t *testing.T) {
	// What was decoded before must not change when the same Node is used again.
	a := snapshot.Node{Name: "a", Type: snapshot.File, Size: 1, Xattrs: []snapshot.Xattr{{Name: "x", Value: "1"}},
		Content: snapshot.Content{Elements: []snapshot.Element{{ID: id(1), Length: 1}}}}
	b := snapshot.Node{Name: "b", Type: snapshot.File, Size: 2, Xattrs: []snapshot.Xattr{{Name: "y", Value: "2"}},
		Content: snapshot.Content{Elements: []snapshot.Element{{ID: id(2), Length: 2}}}}
	var n snapshot.Node
	rest, err := snapshot.CutNode(string(snapshot.AppendNode(snapshot.AppendNode(nil, &a), &b)), &n)
	must(t, err)
	first := n
	_, err = snapshot.CutNode(rest, &n)
	must(t, err)
	if diff := cmp.Diff(a, first, equal) + cmp.Diff(b, n, equal); diff != "" {
		t.Error(diff)
	}
}

func goldenRecord() *snapshot.Record {
	return &snapshot.Record{
		Time: time.Unix(1_700_000_000, 5).UTC(), End: time.Unix(1_700_000_100, 0).UTC(), Host: "host", User: "me", Paths: []string{"/a", "/b"},
		Tags: []string{"t"}, Excludes: []string{"*.o", "tmp"}, Program: "tarn 1", Session: blob.Session{1}, Parent: blob.Name{2}, Partial: true,
		Root:  snapshot.Node{Type: snapshot.Dir, Mode: 0o755, Content: snapshot.Content{Elements: []snapshot.Element{{ID: id(1), Length: 9}}}},
		Scan:  snapshot.Content{Depth: 1, Elements: []snapshot.Element{{ID: id(2), Length: 70_000}}},
		Stats: snapshot.Stats{Files: 1, FoldersUnchanged: 300}, Capture: snapshot.Capture{Torn: 2, Methods: [snapshot.MethodsMax]uint64{6: 9}},
		Mounts:   []snapshot.Mount{{Point: "/", FSType: "ext4", Method: "live", Reason: "no snapshots"}, {Point: "/b"}},
		Problems: []snapshot.Problem{{Kind: snapshot.ProblemTorn, Path: "/a/\xff", Reason: "it changed"}, {Kind: snapshot.Unreadable, Path: "/b/x"}},
		Original: blob.Name{3}, Settled: true,
	}
}

const goldenRecordHex = "010680c49fd50c050206c8c59fd50c000404686f737406026d6508022f6108022f620a01740c032a2e6f0c03746d700e067461726e20310f100100000000000000000000000000000010200200000000000000000000000000000000000000000000000000000000000000110101132a0301020702ed032121126b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b14281f01012123e0c508d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab3516100100000000000000000000000000ac02180b00000200000000000000091a1d02012f04046578743406046c697665080c6e6f20736e617073686f74731a0402022f621c1502010204042f612fff060a6974206368616e6765641c0902010104042f622f781e200300000000000000000000000000000000000000000000000000000000000000200101"

func TestGoldenRecord(t *testing.T) {
	want := goldenRecord()
	b := want.Encode()
	if got := hex.EncodeToString(b); got != goldenRecordHex {
		t.Errorf("got %s", got)
	}
	got, err := snapshot.DecodeRecord(b)
	must(t, err)
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Error(diff)
	}
	for n := range b {
		if r, err := snapshot.DecodeRecord(b[:n]); err == nil && cmp.Equal(r, want, equal) {
			t.Errorf("cut to %d bytes: decoded", n)
		}
	}
}

func TestSmallestRecord(t *testing.T) {
	want := &snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}}
	got, err := snapshot.DecodeRecord(want.Encode())
	must(t, err)
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Error(diff)
	}
	for what, data := range map[string]string{
		"empty":              "",
		"no root":            string(tlv.AppendBytes(nil, 4, "host")),
		"root is a file":     string((&snapshot.Record{Root: snapshot.Node{Type: snapshot.File}}).Encode()),
		"critical field":     string(want.Encode()) + field(33, "x"),
		"partial is 2":       number(17, 2) + string(want.Encode()),
		"host twice":         field(4, "h") + field(4, "h") + string(want.Encode()),
		"session of 15":      field(15, "123456789012345") + string(want.Encode()),
		"field without name": "\x00",
	} {
		if _, err := snapshot.DecodeRecord([]byte(data)); err == nil {
			t.Errorf("%s: decoded", what)
		}
	}
	if _, err := snapshot.DecodeRecord([]byte(string(want.Encode()) + field(36, "x"))); err != nil {
		t.Errorf("a field that may be ignored: %v", err)
	}
}

// TestManyProblems has more problems than a record holds: it is stored with the first ones.
func TestManyProblems(t *testing.T) {
	r := &snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}}
	for range 100_000 {
		r.Problems = append(r.Problems, snapshot.Problem{Kind: snapshot.Unreadable, Path: "/" + strings.Repeat("p", 100), Reason: "permission denied"})
	}
	b := r.Encode()
	got, err := snapshot.DecodeRecord(b)
	must(t, err)
	if n := len(got.Problems); len(b) > snapshot.RecordSizeMax || n < 10_000 || n == len(r.Problems) {
		t.Errorf("%d problems in %d bytes", n, len(b))
	}
	for i := range r.Problems { // what is no fault leaves room for what is
		r.Problems[i].Kind = []snapshot.ProblemKind{snapshot.ProblemAppend, snapshot.ProblemTornOK, snapshot.ProblemClusterOK}[i%3]
	}
	last := snapshot.Problem{Kind: snapshot.Unreadable, Path: "/last", Reason: "permission denied"}
	r.Problems = append(r.Problems, last)
	got, err = snapshot.DecodeRecord(r.Encode())
	must(t, err)
	if !slices.Contains(got.Problems, last) {
		t.Error("a file that could not be read is not in the record")
	}
}

// TestLongRecord has as many paths as there may be, and problems besides: the problems give way.
func TestLongRecord(t *testing.T) {
	r := &snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}}
	size := 0
	for ; r.CheckGiven() == nil; size++ {
		for range 1000 {
			r.Paths = append(r.Paths, "/"+strings.Repeat("p", 96)) // 99 bytes with tag and length
		}
	}
	if size *= 99_000; size < snapshot.GivenSizeMax || size > snapshot.GivenSizeMax+99_000 {
		t.Errorf("refused with %d bytes", size)
	}
	for range 60_000 {
		r.Problems = append(r.Problems, snapshot.Problem{Kind: snapshot.Unreadable, Path: "/" + strings.Repeat("p", 100), Reason: "permission denied"})
	}
	b := r.Encode()
	got, err := snapshot.DecodeRecord(b)
	must(t, err)
	if len(b) > snapshot.RecordSizeMax || len(got.Paths) != len(r.Paths) || len(got.Problems) < 10_000 || len(got.Problems) == len(r.Problems) {
		t.Errorf("%d paths and %d problems in %d bytes", len(got.Paths), len(got.Problems), len(b))
	}
}

// TestManyMounts: the record of a machine with 100,000 mounts can be read, and is none of one moment.
func TestManyMounts(t *testing.T) {
	var list []snapshot.Mount
	for i := range 100_000 {
		list = append(list, snapshot.Mount{Point: fmt.Sprintf("/%s/%d", strings.Repeat("m", 80), i), FSType: "btrfs", Method: "btrfs", Reason: "btrfs: all in one"})
	}
	r := snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}}
	r.SetMounts(list)
	b := r.Encode()
	got, err := snapshot.DecodeRecord(b)
	must(t, err)
	last := len(got.Mounts) - 1
	if len(b) > 2<<20 || last < 5000 || got.Mounts[last].Reason != fmt.Sprintf("no room for this and %d more", 100_000-last-1) {
		t.Errorf("%d mounts in %d bytes", last+1, len(b))
	}
	if r.SetMounts(list[:5000]); !slices.Equal(r.Mounts, list[:5000]) {
		t.Errorf("%d of 5000 mounts", len(r.Mounts))
	}
}

// known are the tags of nodes.
func known(tag tlv.Tag) bool {
	for _, k := range []tlv.Tag{1, 3, 5, 6, 7, 9, 11, 12, 14, 15, 16, 19, 21, 23, 25, 26, 29, 31, 33} {
		if tag == k {
			return true
		}
	}
	return false
}

// FuzzCutNode looks for a node that has two encodings.
func FuzzCutNode(f *testing.F) {
	for encoded := range goldenNodes() {
		b, err := hex.DecodeString(encoded)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, s string) {
		var n snapshot.Node
		rest, err := snapshot.CutNode(s, &n)
		if err != nil {
			return
		}
		used := s[:len(s)-len(rest)]
		fields, _, err := snapshot.CutRecord(used, snapshot.NodeSizeMax)
		must(t, err)
		r := tlv.NewReader(fields)
		for r.Next() {
			if r.Item(); !known(r.Tag()) {
				return // what a newer version wrote is not kept
			}
		}
		if got := snapshot.AppendNode(nil, &n); string(got) != used {
			t.Errorf("%x is encoded as %x", used, got)
		}
	})
}

func FuzzCutElement(f *testing.F) {
	f.Add(string(snapshot.AppendElement(nil, snapshot.Element{Length: 1})))
	f.Add(string(snapshot.AppendElement(nil, snapshot.Element{ID: id(1), Length: 1 << 60})) + "rest")
	f.Add("\x80\x00")
	f.Fuzz(func(t *testing.T, s string) {
		e, rest, err := snapshot.CutElement(s)
		if err == nil && string(snapshot.AppendElement(nil, e))+rest != s {
			t.Errorf("%x is encoded as %x", s, snapshot.AppendElement(nil, e))
		}
	})
}

// FuzzDecodeRecord looks for a record that is another one after it was encoded again.
func FuzzDecodeRecord(f *testing.F) {
	f.Add(goldenRecord().Encode())
	f.Add((&snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := snapshot.DecodeRecord(data)
		if err != nil {
			return
		}
		again, err := snapshot.DecodeRecord(r.Encode())
		if err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		if diff := cmp.Diff(r, again, equal); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOrigin(t *testing.T) {
	want := snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}, Origin: snapshot.Origin{Repo: [16]byte{4}, Name: blob.Name{5}}}
	got, err := snapshot.DecodeRecord(want.Encode())
	if err != nil || got.Origin != want.Origin {
		t.Errorf("got %+v, %v", got, err)
	}
}
