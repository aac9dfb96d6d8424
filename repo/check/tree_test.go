package check_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// raw stores a tree blob of any content.
func (b *backup) raw(data []byte) snapshot.Element {
	b.t.Helper()
	id, err := b.lane.Save(context.Background(), blob.Tree, data)
	b.must(err)
	return snapshot.Element{ID: id, Length: uint64(len(data))}
}

func folder(name string, depth uint8, e snapshot.Element) *snapshot.Node {
	return &snapshot.Node{Name: name, Type: snapshot.Dir, Content: snapshot.Content{Depth: depth, Elements: []snapshot.Element{e}}}
}

// list stores a content list.
func (b *backup) list(elements ...snapshot.Element) snapshot.Element {
	b.t.Helper()
	var data []byte
	var sum uint64
	for _, e := range elements {
		data = snapshot.AppendElement(data, e)
		sum += e.Length
	}
	e := b.raw(data)
	e.Length = sum
	return e
}

func nodes(names ...string) (data []byte) {
	for _, name := range names {
		data = snapshot.AppendNode(data, &snapshot.Node{Name: name, Type: snapshot.FIFO})
	}
	return data
}

// TestBadTrees has trees that only a broken or hostile writer makes: each is whole as far as hashes go.
func TestBadTrees(t *testing.T) {
	tests := map[string]struct {
		make func(b *backup) *snapshot.Node
		want string // of the first path and the problem; nothing is wrong if it is empty
	}{
		"good": {func(b *backup) *snapshot.Node {
			return folder("x", 1, b.list(b.raw(nodes("a", "b")), b.raw(nodes("c"))))
		}, ""},
		"missing data": {func(b *backup) *snapshot.Node {
			n := b.file("x", "some words")
			n.Content.Elements[0].ID[3]++
			return n
		}, "x: data blob"},
		"missing attribute": {func(b *backup) *snapshot.Node {
			return &snapshot.Node{Name: "x", Type: snapshot.Symlink, Xattrs: []snapshot.Xattr{{Name: "user.x", Ref: blob.ID{1}}}}
		}, "x: data blob"},
		"data as a tree": {func(b *backup) *snapshot.Node {
			return folder("x", 0, b.file("y", string(nodes("a"))).Content.Elements[0])
		}, "x: tree blob"},
		"wrong length of data": {func(b *backup) *snapshot.Node {
			n := b.file("x", "some words")
			n.Size++
			n.Content.Elements[0].Length++
			return n
		}, "has 10 bytes, want 11"},
		"wrong length of a tree": {func(b *backup) *snapshot.Node {
			e := b.raw(nodes("a"))
			e.Length--
			return folder("x", 0, e)
		}, "bytes, want"},
		"wrong sum": {func(b *backup) *snapshot.Node {
			e := b.list(b.raw(nodes("a", "b")))
			e.Length--
			return folder("x", 1, e)
		}, "its length is wrong"},
		"list of nodes": {func(b *backup) *snapshot.Node {
			return folder("x", 1, b.raw(nodes("a")))
		}, "x: "},
		"nodes of a list": {func(b *backup) *snapshot.Node {
			return folder("x", 0, b.raw(snapshot.AppendElement(nil, b.raw(nodes("a")))))
		}, "x: "},
		"zeros as a folder": {func(b *backup) *snapshot.Node {
			return folder("x", 0, snapshot.Element{Length: 10})
		}, "x: zeros"},
		"order in a part": {func(b *backup) *snapshot.Node {
			return folder("x", 0, b.raw(nodes("b", "a")))
		}, `x: folder entry "a" comes after "b"`},
		"order of parts": {func(b *backup) *snapshot.Node {
			return folder("x", 1, b.list(b.raw(nodes("a", "c")), b.raw(nodes("b"))))
		}, `x: folder entry "b" comes after "c"`},
		"order of parts that are known": {func(b *backup) *snapshot.Node {
			first, second := b.raw(nodes("a", "c")), b.raw(nodes("b"))
			good := folder("good", 1, b.list(second, b.raw(nodes("d"))))
			return b.dir("x", folder("alone", 0, first), folder("bad", 1, b.list(first, second)), good)
		}, `x/bad: folder entry "b" comes after "c"`},
		"nameless": {func(b *backup) *snapshot.Node { return folder("x", 0, b.raw(nodes(""))) }, `entry "" comes after`},
		"parent":   {func(b *backup) *snapshot.Node { return folder("x", 0, b.raw(nodes(".."))) }, "no file can have this name"},
		"slash":    {func(b *backup) *snapshot.Node { return folder("x", 0, b.raw(nodes("a/b"))) }, "no file can have this name"},
		"zero":     {func(b *backup) *snapshot.Node { return folder("x", 0, b.raw(nodes("a\x00b"))) }, "no file can have this name"},
		"too deep": {func(b *backup) *snapshot.Node {
			n := b.dir("d")
			for range 16400 {
				n = b.dir("d", n)
			}
			n.Name = "x"
			return n
		}, "nested more than"},
		"a file of lists": {func(b *backup) *snapshot.Node {
			data := b.file("y", "some words").Content.Elements[0]
			return &snapshot.Node{Name: "x", Type: snapshot.File, Size: 30,
				Content: snapshot.Content{Depth: 2, Elements: []snapshot.Element{b.list(b.list(data, data), b.list(data))}}}
		}, ""},
		"a file of lists that miss data": {func(b *backup) *snapshot.Node {
			data := b.file("y", "some words").Content.Elements[0]
			bad := data
			bad.ID[0]++
			return &snapshot.Node{Name: "x", Type: snapshot.File, Size: 30,
				Content: snapshot.Content{Depth: 2, Elements: []snapshot.Element{b.list(b.list(data, data), b.list(bad))}}}
		}, "x: data blob"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := begin(t, create(t, memory.New()))
			b.commit(b.dir("", b.file("good", "good"), test.make(b)), 1)
			found, _ := run(t, b.repo, check.Options{ReadData: true})
			if test.want == "" {
				if len(found) > 0 {
					t.Error(found)
				}
				return
			}
			if len(found) == 0 {
				t.Fatal("nothing was found")
			}
			last := found[len(found)-1]
			if len(last.Paths) != 1 || !strings.HasPrefix(last.Object, "snapshots/") || len(found) > 1 && name != "data as a tree" {
				t.Fatalf("got %v", found)
			}
			if got := last.Paths[0] + ": " + last.Problem; !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestManyPaths has one folder under 2^40 paths: it is looked at once, and if it is damaged not all paths are gone through.
func TestManyPaths(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		b := begin(t, create(t, memory.New()))
		file := b.file("file", "words")
		if damaged {
			file.Content.Elements[0].ID[0]++
		}
		n := b.dir("", file)
		for range 40 {
			a, z := *n, *n
			a.Name, z.Name = "a", "z"
			n = b.dir("", &a, &z)
		}
		b.commit(n, 1)
		found, sum := run(t, b.repo, check.Options{})
		if !damaged && (len(found) > 0 || sum.Trees != 41) {
			t.Errorf("whole: %v %+v", found, sum)
		}
		if damaged && (len(found) != 1 || len(found[0].Paths) != 10 || found[0].More < 900 || found[0].More > 1000) {
			t.Errorf("damaged: %v", found)
		}
	}
}

func TestMissingScanRecord(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	for i := range 2 {
		b := begin(t, r)
		lost := snapshot.Lists{Saver: lossy{r}, Cutter: every(400), Max: 400}
		b.scan = lost.NewScanBuilder()
		b.commit(b.dir("", b.file("a", "a")), i)
	}
	found, _ := run(t, open(t, s), check.Options{ReadData: true})
	if len(found) != 1 || found[0].Severity != check.Warning || !strings.Contains(found[0].Problem, "scan record") {
		t.Errorf("got %v, want one warning: of the newer snapshot", found)
	}
}

// lossy stores nothing.
type lossy struct{ r check.Repository }

func (l lossy) Save(_ context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	return l.r.SealKeys().ID(kind, plain), nil
}

// TestIndexDisagrees replaces the index by one that says something else of a pack than the pack itself does.
func TestIndexDisagrees(t *testing.T) {
	tests := map[string]func(p *index.Pack){
		"session": func(p *index.Pack) { p.Session[3]++ },
		"salt":    func(p *index.Pack) { p.Salt[3]++ },
		"size":    func(p *index.Pack) { p.Size++ },
		"kind":    func(p *index.Pack) { p.Blobs[0].Kind = blob.Scan },
		"blob":    func(p *index.Pack) { p.Blobs[0].Prefix[3]++ },
		"nothing": func(p *index.Pack) {},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			s := memory.New()
			r := create(t, s)
			b := begin(t, r)
			b.commit(b.dir("", b.file("a", "a")), 1)
			v, err := r.TakeView(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range names(objects(t, s), "index/") {
				if err := s.Remove(t.Context(), object); err != nil {
					t.Fatal(err)
				}
			}
			var object string
			for n, size := range v.Packs {
				p, err := r.ReadPackDirectory(t.Context(), n, size)
				if err != nil {
					t.Fatal(err)
				}
				spoil(p)
				hashed(t, s, "index/", indexObject(r.SealKeys(), p))
				object = "data/" + n.String()[:2] + "/" + n.String()
			}
			found, _ := run(t, open(t, s), check.Options{})
			if bad := name != "nothing"; finds(found, object) != bad || !bad && len(found) > 0 {
				t.Errorf("got %v", found)
			}
			if name == "kind" && !strings.Contains(fmt.Sprint(found), "1 of its blobs are of another kind") {
				t.Errorf("got %v", found)
			}
		})
	}
}

// indexObject makes an index object as package repo does.
func indexObject(keys *seal.Keys, p *index.Pack) []byte {
	body := index.AppendDirectory(nil, p)
	plain := append(binary.AppendUvarint(nil, uint64(len(body))), pack.NewCompressor(pack.Off).Compress(body)...)
	s := keys.NewSealer(seal.Index, nil, plain)
	s.Append(plain)
	return s.Finish(index.AppendList(nil, []index.Listed{p.Listed()}), 0)
}

// TestWrongBlobInAPack has a pack that is sealed well and whose directory names a blob that is not in it, as a broken writer
// would make it.
func TestWrongBlobInAPack(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	plain := []byte("some words, other words")
	wrong := r.ID(blob.Data, []byte("neither"))
	w := pack.NewWriter(r.SealKeys(), blob.Session{1}, make([]byte, 0, 1<<20))
	w.Append(pack.NewCompressor(pack.Off).Compress(plain), []index.Entry{
		{Prefix: index.PrefixOf(r.ID(blob.Data, plain[:10])), Kind: blob.Data, Length: 10}, {Prefix: index.PrefixOf(wrong), Kind: blob.Data, Length: uint32(len(plain) - 10)}})
	data, _ := w.Finish()
	object := hashed(t, s, "data/", data)
	name := object[len("data/"):]
	if err := s.Remove(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	object = "data/" + name[:2] + "/" + name
	if err := s.Put(t.Context(), object, data); err != nil {
		t.Fatal(err)
	}
	for _, needed := range []bool{false, true} {
		if needed {
			b := begin(t, r)
			b.commit(b.dir("", &snapshot.Node{Name: "x", Type: snapshot.File, Size: 13,
				Content: snapshot.Content{Elements: []snapshot.Element{{ID: wrong, Length: 13}}}}), 1)
		}
		found, _ := run(t, open(t, s), check.Options{ReadData: true})
		text := fmt.Sprint(found)
		if !finds(found, object) || !strings.Contains(text, "the bytes are others") || !strings.Contains(text, "1 of its 2 blobs can't be read") {
			t.Errorf("got %v", found)
		}
		if strings.Contains(text, "error: snapshots/") != needed {
			t.Errorf("needed %v: %v", needed, found)
		}
	}
}

// TestWrongName has objects that are whole and are stored under another one's name.
func TestWrongName(t *testing.T) {
	s, _ := small(t, 1)
	all := objects(t, s)
	wrong := strings.Repeat("0123456789abcdef", 4)
	for _, folder := range []string{"data/", "index/", "snapshots/", "keys/", "trash/", "wait/"} {
		l := newLayered(s)
		name := folder + wrong
		if folder == "data/" {
			name = "data/01/" + wrong
		}
		l.set(name, all[names(all, folder)[0]])
		if found, _ := run(t, open(t, l), check.Options{ReadData: true}); !finds(found, name) {
			t.Errorf("%s: %v", name, found)
		}
	}
}
