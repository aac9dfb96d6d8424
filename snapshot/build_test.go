package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// TestFolders has folders of all lengths, in chunks of different sizes, so that there are lists of several levels.
func TestFolders(t *testing.T) {
	for _, test := range []struct{ entries, max, depth int }{
		{0, 256, 0}, {1, 256, 0}, {2, 256, 0}, {10, 256, 1}, {100, 256, 2}, {3000, 256, 5}, {10_000, 4096, 2}, {100_000, 64 << 10, 1}, {1, 64, 0}, {1000, 1 << 20, 0},
	} {
		t.Run(fmt.Sprintf("%d in %d", test.entries, test.max), func(t *testing.T) {
			s := newStore()
			b := s.lists(test.max).NewTreeBuilder()
			for i := range test.entries {
				n := snapshot.Node{Name: fmt.Sprintf("entry %07d", i), Type: snapshot.File, Mode: 0o644, ModTime: snapshot.Time{Sec: int64(i)}}
				must(t, b.Add(context.Background(), &n))
			}
			c, err := b.Finish(context.Background())
			must(t, err)
			if len(c.Elements) != min(test.entries, 1) || int(c.Depth) < test.depth {
				t.Errorf("%d elements, depth %d", len(c.Elements), c.Depth)
			}
			i := 0
			for n, err := range snapshot.Entries(context.Background(), s, c) {
				must(t, err)
				if n.Name != fmt.Sprintf("entry %07d", i) || n.ModTime.Sec != int64(i) {
					t.Fatalf("entry %d is %q", i, n.Name)
				}
				i++
			}
			if i != test.entries {
				t.Errorf("%d entries, want %d", i, test.entries)
			}
			for _, data := range s.blobs {
				if len(data) > test.max+200 {
					t.Errorf("a blob of %d bytes", len(data))
				}
			}
		})
	}
}

// element is the ith element of a test's content: now and then a hole.
func element(i int) snapshot.Element {
	if i%100 == 42 {
		return snapshot.Element{Length: 1 << 20}
	}
	e := snapshot.Element{Length: uint64(1 + i%1000)}
	e.ID[0], e.ID[1], e.ID[2], e.ID[31] = byte(i), byte(i>>8), byte(i>>16), 1
	return e
}

func content(t testing.TB, l *snapshot.Lists, count int) snapshot.Content {
	t.Helper()
	b := l.NewContentBuilder()
	for i := range count {
		must(t, b.Add(context.Background(), element(i)))
	}
	c, err := b.Finish(context.Background())
	must(t, err)
	return c
}

func TestContents(t *testing.T) {
	for _, test := range []struct{ elements, max, depth int }{
		{0, 256, 0}, {1, 256, 0}, {63, 256, 0}, {64, 256, 0}, {65, 256, 1}, {1000, 256, 2}, {50_000, 512, 3}, {1_000_000, 64 << 10, 1},
	} {
		t.Run(fmt.Sprintf("%d in %d", test.elements, test.max), func(t *testing.T) {
			s := newStore()
			c := content(t, s.lists(test.max), test.elements)
			if len(c.Elements) > snapshot.InlineMax || int(c.Depth) < test.depth || test.depth == 0 && c.Depth > 0 {
				t.Errorf("%d elements, depth %d", len(c.Elements), c.Depth)
			}
			var size uint64
			for _, e := range c.Elements {
				size += e.Length
			}
			i := 0
			for e, err := range snapshot.Elements(context.Background(), s, c) {
				must(t, err)
				if e != element(i) {
					t.Fatalf("element %d: %+v", i, e)
				}
				size -= e.Length
				i++
			}
			if i != test.elements || size != 0 {
				t.Errorf("%d elements, want %d; the lengths differ by %d", i, test.elements, size)
			}
			n := snapshot.Node{Name: "n", Type: snapshot.File, Content: c}
			for i := range test.elements {
				n.Size += element(i).Length
			}
			var got snapshot.Node
			if _, err := snapshot.CutNode(string(snapshot.AppendNode(nil, &n)), &got); err != nil {
				t.Error(err)
			}
			for _, err := range snapshot.Elements(context.Background(), s, c) {
				must(t, err)
				break // it must be possible to stop
			}
		})
	}
}

// TestSharedLists changes one element of a long content and one entry of a long folder: nearly all blobs stay the same.
func TestSharedLists(t *testing.T) {
	s := newStore()
	l := s.lists(1024)
	content(t, l, 20_000)
	before := s.saved
	b := l.NewContentBuilder()
	for i := range 20_000 {
		e := element(i)
		if i == 9_999 {
			e.ID[31] = 2
		}
		must(t, b.Add(context.Background(), e))
	}
	_, err := b.Finish(context.Background())
	must(t, err)
	if n := s.saved - before; n < 2 || n > before/10 {
		t.Errorf("content: %d of %d blobs are new", n, before)
	}
	s = newStore()
	for i, name := range []string{"a name", "another name"} {
		before = s.saved
		tree := s.lists(1024).NewTreeBuilder()
		for j := range 5000 {
			n := fifo(fmt.Sprintf("%06d", j))
			if j == 2000 {
				n.User = name
			}
			must(t, tree.Add(context.Background(), &n))
		}
		_, err := tree.Finish(context.Background())
		must(t, err)
		if n := s.saved - before; i == 1 && (n < 2 || n > before/10) {
			t.Errorf("folder: %d of %d blobs are new", n, before)
		}
	}
}

// TestZeros: holes that touch are one, wherever in a content they are, so that equal contents have equal lists.
func TestZeros(t *testing.T) {
	for _, before := range []int{0, 10, 63, 64, 65, 500} {
		build := func(holes ...uint64) (snapshot.Content, *store) {
			s := newStore()
			b := s.lists(256).NewContentBuilder()
			for i := range before {
				must(t, b.Add(context.Background(), snapshot.Element{ID: id(i), Length: 1}))
			}
			for _, n := range holes {
				must(t, b.Add(context.Background(), snapshot.Element{Length: n}))
			}
			must(t, b.Add(context.Background(), snapshot.Element{ID: id(before), Length: 1}))
			for _, n := range holes {
				must(t, b.Add(context.Background(), snapshot.Element{Length: n}))
			}
			c, err := b.Finish(context.Background())
			must(t, err)
			return c, s
		}
		one, _ := build(300)
		three, s := build(100, 150, 50)
		if diff := cmp.Diff(one, three); diff != "" {
			t.Errorf("after %d elements: %s", before, diff)
		}
		var list []snapshot.Element
		for e, err := range snapshot.Elements(context.Background(), s, three) {
			must(t, err)
			list = append(list, e)
		}
		if len(list) != before+3 || list[before].Length != 300 || list[before+2].Length != 300 || !list[before+2].IsZeros() {
			t.Errorf("after %d elements: %+v", before, list[before:])
		}
	}
	b := newStore().lists(256).NewContentBuilder()
	for _, n := range []uint64{0, 1 << 63, math.MaxUint64} {
		if err := b.Add(context.Background(), snapshot.Element{Length: n}); err == nil {
			t.Errorf("a hole of %d bytes was taken", n)
		}
		if err := b.Add(context.Background(), snapshot.Element{ID: id(1), Length: n}); err == nil {
			t.Errorf("an element of %d bytes was taken", n)
		}
	}
}

func TestTreeBuilderRefuses(t *testing.T) {
	s := newStore()
	b := s.lists(256).NewTreeBuilder()
	var want []string
	for i, test := range []struct {
		node snapshot.Node
		good bool
	}{
		{fifo("b"), true},
		{fifo("b"), false},
		{fifo("a"), false},
		{snapshot.Node{Name: "c", Type: snapshot.Symlink, Target: strings.Repeat("t", snapshot.NodeSizeMax)}, false},
		{fifo("c"), true}, // what was refused left nothing behind
		{fifo("c\x00"), true},
		{snapshot.Node{Name: "d", Type: snapshot.Symlink, Target: strings.Repeat("t", snapshot.NodeSizeMax-100)}, true},
		{fifo(strings.Repeat("n", snapshot.NameSizeMax+1)), false},
		{snapshot.Node{Name: "n", Type: snapshot.FIFO, Xattrs: []snapshot.Xattr{{Name: "user.a"}, {Name: "user.a"}}}, false},
		{snapshot.Node{Name: "n", Type: snapshot.FIFO, Xattrs: []snapshot.Xattr{{}}}, false},
		{snapshot.Node{Name: "n", Type: snapshot.File, Size: 1}, false},
		{snapshot.Node{Name: "n"}, false},
		{fifo("\xff"), true},
	} {
		if err := b.Add(context.Background(), &test.node); (err == nil) != test.good {
			t.Errorf("%d: %v", i, err)
		}
		if test.good {
			want = append(want, test.node.Name)
		}
	}
	if err := b.AddEncoded(context.Background(), "a", "x"); err == nil {
		t.Error("an encoded node out of order was taken")
	}
	c, err := b.Finish(context.Background())
	must(t, err)
	var got []string
	for _, n := range entries(t, s, c) {
		got = append(got, n.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAddEncoded copies a folder by its records: the same tree comes out.
func TestAddEncoded(t *testing.T) {
	s := newStore()
	l := s.lists(256)
	var nodes []snapshot.Node
	for i := range 200 {
		nodes = append(nodes, fifo(fmt.Sprintf("%03d", i)))
	}
	want := dir(t, l, "d", nodes...)
	b := l.NewTreeBuilder()
	cur := snapshot.NewCursor(context.Background(), s, want.Content)
	defer cur.Close()
	var n snapshot.Node
	for cur.Next(&n) {
		must(t, b.AddEncoded(context.Background(), n.Name, cur.Encoded()))
	}
	must(t, cur.Err())
	got, err := b.Finish(context.Background())
	must(t, err)
	if diff := cmp.Diff(want.Content, got); diff != "" {
		t.Error(diff)
	}
}

// TestCloneAndReset: a copy can be finished while the original goes on, and a builder can be used again.
func TestCloneAndReset(t *testing.T) {
	s := newStore()
	l := s.lists(256)
	b := l.NewTreeBuilder()
	for round := range 2 {
		var all []snapshot.Node
		for i := range 300 {
			n := fifo(fmt.Sprintf("%d %03d", round, i))
			must(t, b.Add(context.Background(), &n))
			all = append(all, n)
			if i%50 == 0 {
				got, err := b.Clone().Finish(context.Background())
				must(t, err)
				if diff := cmp.Diff(dir(t, l, "", all...).Content, got); diff != "" {
					t.Fatalf("round %d, a copy after %d entries: %s", round, i+1, diff)
				}
			}
		}
		got, err := b.Finish(context.Background())
		must(t, err)
		if diff := cmp.Diff(dir(t, l, "", all...).Content, got); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		b.Reset()
	}
	scan := l.NewScanBuilder()
	var before snapshot.Content
	for i := range 2000 {
		must(t, scan.Entry(context.Background(), &snapshot.Seen{Name: fmt.Sprintf("%04d", i)}))
		if i == 1000 {
			var err error
			before, err = scan.Clone().Finish(context.Background())
			must(t, err)
		}
	}
	after, err := scan.Finish(context.Background())
	must(t, err)
	for want, c := range map[int]snapshot.Content{1001: before, 2000: after} {
		r := snapshot.NewScanReader(context.Background(), s, c)
		n := 0
		for range r.All() {
			n++
		}
		if r.Close(); r.Err() != nil || n != want {
			t.Errorf("%d entries, want %d, %v", n, want, r.Err())
		}
	}
}

// TestTooDeep has chunks so small that each list has one element: that must end.
func TestTooDeep(t *testing.T) {
	s := newStore()
	l := &snapshot.Lists{Saver: s, Cutter: rolling{max: 1}, Max: 1}
	b := l.NewContentBuilder()
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		err = b.Add(context.Background(), element(i))
	}
	if err == nil {
		_, err = b.Finish(context.Background())
	}
	if err == nil || !strings.Contains(err.Error(), "levels") {
		t.Errorf("got %v", err)
	}
}

// failing is a saver that fails.
type failing struct{}

var errFull = errors.New("full")

func (failing) Save(context.Context, blob.Kind, []byte) (blob.ID, error) { return blob.ID{}, errFull }

func TestSaverFails(t *testing.T) {
	l := &snapshot.Lists{Saver: failing{}, Cutter: rolling{max: 64}, Max: 64}
	for _, count := range []int{1, 100} {
		tree, scan := l.NewTreeBuilder(), l.NewScanBuilder()
		var treeErr, scanErr error
		for i := range count {
			n := fifo(fmt.Sprintf("%03d", i))
			if treeErr == nil {
				treeErr = tree.Add(context.Background(), &n)
			}
			if scanErr == nil {
				scanErr = scan.Entry(context.Background(), &snapshot.Seen{Name: n.Name})
			}
		}
		if treeErr == nil {
			_, treeErr = tree.Finish(context.Background())
		}
		if scanErr == nil {
			_, scanErr = scan.Finish(context.Background())
		}
		if treeErr != errFull || scanErr != errFull {
			t.Errorf("%d entries: got %v and %v", count, treeErr, scanErr)
		}
	}
}
