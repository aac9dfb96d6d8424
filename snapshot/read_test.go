package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is a small snapshot: a, d/(b, e/(c), f), g, and a wide folder w with 50 entries.
func tree(t testing.TB, s *store) snapshot.Node {
	l := s.lists(256)
	var wide []snapshot.Node
	for i := range 50 {
		wide = append(wide, fifo(fmt.Sprintf("%02d", i)))
	}
	return dir(t, l, "", fifo("a"), dir(t, l, "d", fifo("b"), dir(t, l, "e", fifo("c")), fifo("f")), fifo("g"), dir(t, l, "w", wide...))
}

func walk(t testing.TB, s *store, root snapshot.Node, fn func(path string, n *snapshot.Node, err error) error) (string, error) {
	t.Helper()
	var seen []string
	err := snapshot.Walk(context.Background(), s, root, func(path string, n *snapshot.Node, err error) error {
		if strings.HasPrefix(path, "w/") {
			return nil
		}
		if err != nil {
			path = "!" + path
		}
		seen = append(seen, path)
		return fn(path, n, err)
	})
	return strings.Join(seen, " "), err
}

func TestWalk(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	stop := errors.New("stop")
	tests := map[string]struct {
		at   string
		err  error // returned there
		seen string
	}{
		"all":                  {"", nil, "a d d/b d/e d/e/c d/f g w"},
		"skip a folder":        {"d", snapshot.SkipDir, "a d g w"},
		"skip an inner folder": {"d/e", snapshot.SkipDir, "a d d/b d/e d/f g w"},
		"skip no folder":       {"d/b", snapshot.SkipDir, "a d d/b d/e d/e/c d/f g w"},
		"stop":                 {"d/e", stop, "a d d/b d/e"},
	}
	for name, test := range tests {
		seen, err := walk(t, s, root, func(path string, n *snapshot.Node, err error) error {
			if err != nil || !strings.HasSuffix("/"+path, "/"+n.Name) {
				t.Errorf("%s: %s is called %q, %v", name, path, n.Name, err)
			}
			if path == test.at {
				return test.err
			}
			return nil
		})
		if seen != test.seen || err != stop && test.err == stop || err != nil && test.err != stop {
			t.Errorf("%s: %s, %v", name, seen, err)
		}
	}
	if seen, err := walk(t, s, dir(t, s.lists(256), ""), nil); seen != "" || err != nil {
		t.Errorf("empty: %s, %v", seen, err)
	}
}

// TestWalkDamaged has folders that can't be read: the others are gone through all the same.
func TestWalkDamaged(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	lose := func(path string) {
		n, err := snapshot.Lookup(context.Background(), s, root, path)
		must(t, err)
		s.gone[n.Content.Elements[0].ID] = true
	}
	lose("d/e")
	for _, answer := range []error{nil, snapshot.SkipDir} {
		seen, err := walk(t, s, root, func(_ string, _ *snapshot.Node, err error) error {
			if err != nil && !errors.Is(err, errGone) {
				t.Errorf("got %v", err)
			}
			if err != nil {
				return answer
			}
			return nil
		})
		if want := "a d d/b d/e !d/e d/f g w"; seen != want || err != nil {
			t.Errorf("answer %v: %s, %v", answer, seen, err)
		}
	}
	stop := errors.New("stop")
	if seen, err := walk(t, s, root, func(_ string, _ *snapshot.Node, err error) error {
		if err != nil {
			return stop
		}
		return nil
	}); seen != "a d d/b d/e !d/e" || err != stop {
		t.Errorf("stop: %s, %v", seen, err)
	}
	lose("/")
	seen, err := walk(t, s, root, func(_ string, n *snapshot.Node, err error) error {
		if err == nil || n.Type != snapshot.Dir {
			t.Errorf("got %+v, %v", n, err)
		}
		return nil
	})
	if seen != "!" || err != nil {
		t.Errorf("without the root: %q, %v", seen, err)
	}
}

func TestWalkCancelled(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := snapshot.Walk(ctx, s, root, func(string, *snapshot.Node, error) error {
		n++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestLookup(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	for path, want := range map[string]string{
		"": "", "/": "", ".": "", "a": "a", "/d/e/c": "c", "d//e/": "e", "d/./f": "f", "w/49": "49",
		"x": "?", "d/x": "?", "a/b": "?", "d/e/c/d": "?", "..": "?", "d/../a": "?", "w/50": "?", "D": "?",
	} {
		n, err := snapshot.Lookup(context.Background(), s, root, path)
		if want == "?" {
			if !errors.Is(err, snapshot.ErrNotFound) {
				t.Errorf("%q: got %q, %v", path, n.Name, err)
			}
		} else if err != nil || n.Name != want {
			t.Errorf("%q: got %q, %v", path, n.Name, err)
		}
	}
	s.gone[root.Content.Elements[0].ID] = true
	if _, err := snapshot.Lookup(context.Background(), s, root, "a"); !errors.Is(err, errGone) {
		t.Errorf("without the root: %v", err)
	}
}

// TestCursorLost loses each blob of a wide folder in turn: what comes before it is read, and then there is an error.
func TestCursorLost(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	w, err := snapshot.Lookup(context.Background(), s, root, "w")
	must(t, err)
	if w.Content.Depth == 0 {
		t.Fatal("the folder is in one blob")
	}
	all := entries(t, s, w.Content)
	for id := range s.blobs {
		s.gone = map[blob.ID]bool{id: true}
		cur := snapshot.NewCursor(context.Background(), s, w.Content)
		var got []snapshot.Node
		var n snapshot.Node
		for cur.Next(&n) {
			got = append(got, n)
		}
		if cur.Next(&n) {
			t.Error("a node after the end")
		}
		whole := len(got) == len(all)
		if diff := cmp.Diff(all[:len(got)], got, equal); diff != "" || whole != (cur.Err() == nil) || !whole && !errors.Is(cur.Err(), errGone) {
			t.Errorf("%d nodes, %v: %s", len(got), cur.Err(), diff)
		}
		cur.Close()
		// The same as sequences: after an error they end, whoever goes on.
		errs, count := 0, 0
		for _, err := range snapshot.Entries(context.Background(), s, w.Content) {
			if count++; err != nil {
				errs++
			}
		}
		if !whole && (errs != 1 || count != len(got)+1) || whole && errs != 0 {
			t.Errorf("%d errors in %d", errs, count)
		}
		errs = 0
		for _, err := range snapshot.Elements(context.Background(), s, w.Content) {
			if errs > 0 {
				t.Error("an element after an error")
			}
			if err != nil {
				errs++
			}
		}
	}
}

func TestCursorClosedEarly(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	w, err := snapshot.Lookup(context.Background(), s, root, "w")
	must(t, err)
	for _, c := range []snapshot.Content{root.Content, w.Content, {}} {
		cur := snapshot.NewCursor(context.Background(), s, c)
		var n snapshot.Node
		cur.Next(&n)
		cur.Close()
		cur.Close()
	}
	for range snapshot.Entries(context.Background(), s, w.Content) {
		break
	}
}

// TestCursorReadsOnce reads each blob of a folder once, and the first nodes without the rest.
func TestCursorReadsOnce(t *testing.T) {
	s := newStore()
	root := tree(t, s)
	w, err := snapshot.Lookup(context.Background(), s, root, "w")
	must(t, err)
	s.loads = 0
	entries(t, s, w.Content)
	all := s.loads
	s.loads = 0
	for range snapshot.Entries(context.Background(), s, w.Content) {
		break
	}
	if s.loads > int(w.Content.Depth)+1 || s.loads >= all {
		t.Errorf("%d blobs for the first node, %d for all", s.loads, all)
	}
}

// TestBadFolders has trees that a hostile writer makes.
func TestBadFolders(t *testing.T) {
	s := newStore()
	save := func(data []byte) snapshot.Element {
		id, err := s.Save(context.Background(), blob.Tree, data)
		must(t, err)
		return snapshot.Element{ID: id, Length: uint64(len(data))}
	}
	nodes := func(names ...string) (b []byte) {
		for _, name := range names {
			n := fifo(name)
			b = snapshot.AppendNode(b, &n)
		}
		return b
	}
	list := func(elements ...snapshot.Element) snapshot.Element {
		var b []byte
		var sum uint64
		for _, e := range elements {
			b = snapshot.AppendElement(b, e)
			sum += e.Length
		}
		e := save(b)
		e.Length = sum
		return e
	}
	short := list(save(nodes("a")))
	short.Length++
	// Two lengths whose sum passes 2^64, so that it seems to be right.
	huge := save(snapshot.AppendElement(snapshot.AppendElement(snapshot.AppendElement(nil, snapshot.Element{ID: id(1), Length: 1<<63 - 1}),
		snapshot.Element{ID: id(1), Length: 1<<63 - 1}), snapshot.Element{ID: id(1), Length: 3}))
	huge.Length = 1
	for what, test := range map[string]struct {
		depth uint8
		e     snapshot.Element
		names string
		good  bool
	}{
		"good":            {0, save(nodes("a", "b")), "a b", true},
		"list":            {1, list(save(nodes("a", "b")), save(nodes("c"))), "a b c", true},
		"order":           {0, save(nodes("a", "c", "b")), "a c", false},
		"twice":           {0, save(nodes("a", "a")), "a", false},
		"order of parts":  {1, list(save(nodes("b")), save(nodes("a"))), "b", false},
		"rest":            {0, save(append(nodes("a"), 1)), "a", false},
		"zeros":           {0, snapshot.Element{Length: 5}, "", false},
		"zeros in a list": {1, list(save(nodes("a")), snapshot.Element{Length: 5}), "a", false},
		"zeros as a list": {1, snapshot.Element{Length: 5}, "", false},
		"wrong sum":       {1, short, "", false},
		"huge sum":        {1, huge, "", false},
		"not a list":      {1, save(nodes("a")), "", false},
		"not deep enough": {2, list(save(nodes("a"))), "", false},
		"list as nodes":   {0, list(save(nodes("a"))), "", false},
	} {
		var names []string
		var bad error
		for n, err := range snapshot.Entries(context.Background(), s, snapshot.Content{Depth: test.depth, Elements: []snapshot.Element{test.e}}) {
			if err != nil {
				bad = err
				break
			}
			names = append(names, n.Name)
		}
		if strings.Join(names, " ") != test.names || (bad == nil) != test.good {
			t.Errorf("%s: %q, %v", what, names, bad)
		}
	}
}

// TestEndlessFolders has folders deeper than any that are refused: the walk ends with an error.
func TestEndlessFolders(t *testing.T) {
	s := newStore()
	l := s.lists(1 << 20)
	n := dir(t, l, "d")
	for range 16390 {
		n = dir(t, l, "d", n)
	}
	n.Name = ""
	err := snapshot.Walk(context.Background(), s, n, func(_ string, _ *snapshot.Node, err error) error { return err })
	if err == nil || !strings.Contains(err.Error(), "nested more than") {
		t.Error("the walk came to its end")
	}
}

func TestBelow(t *testing.T) {
	s := newStore()
	c := content(t, s.lists(256), 1000)
	var got []snapshot.Element
	var gather func(c snapshot.Content)
	gather = func(c snapshot.Content) {
		if c.Depth == 0 {
			got = append(got, c.Elements...)
			return
		}
		for below, err := range snapshot.Below(context.Background(), s, c) {
			must(t, err)
			gather(below)
		}
	}
	gather(c)
	if len(got) != 1000 || !slices.Equal(got[:3], []snapshot.Element{element(0), element(1), element(2)}) || got[999] != element(999) {
		t.Errorf("%d elements", len(got))
	}
	s.gone[c.Elements[0].ID] = true
	count := 0
	for _, err := range snapshot.Below(context.Background(), s, c) {
		if count++; !errors.Is(err, errGone) || count > 1 {
			t.Errorf("element %d: %v", count, err)
		}
	}
}

func ExampleWalk() {
	ctx := context.Background()
	s := newStore()
	l := s.lists(64 << 10)
	save := func(name string, nodes ...snapshot.Node) snapshot.Node {
		b := l.NewTreeBuilder()
		for i := range nodes {
			if err := b.Add(ctx, &nodes[i]); err != nil {
				fmt.Println(err)
			}
		}
		c, err := b.Finish(ctx)
		if err != nil {
			fmt.Println(err)
		}
		return snapshot.Node{Name: name, Type: snapshot.Dir, Content: c}
	}
	root := save("", save("etc", snapshot.Node{Name: "passwd", Type: snapshot.File}), snapshot.Node{Name: "vmlinuz", Type: snapshot.Symlink})
	err := snapshot.Walk(ctx, s, root, func(path string, n *snapshot.Node, err error) error {
		fmt.Println(n.Type, path)
		return err
	})
	fmt.Println(err)
	// Output:
	// dir etc
	// file etc/passwd
	// symlink vmlinuz
	// <nil>
}

// TestElementsLost loses each list of a long content in turn: the elements come in order, and none comes after the error.
func TestElementsLost(t *testing.T) {
	s := newStore()
	c := content(t, s.lists(256), 1000)
	if c.Depth < 2 {
		t.Fatalf("depth %d", c.Depth)
	}
	for lost := range s.blobs {
		s.gone = map[blob.ID]bool{lost: true}
		i, failed := 0, false
		for e, err := range snapshot.Elements(context.Background(), s, c) {
			switch {
			case failed:
				t.Fatalf("%+v comes after the error", e)
			case err != nil:
				if failed = true; !errors.Is(err, errGone) {
					t.Errorf("got %v", err)
				}
			case e != element(i):
				t.Fatalf("element %d is %+v", i, e)
			}
			i++
		}
		if !failed {
			t.Error("no error")
		}
	}
}
