package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/zeebo/blake3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blobs is a repository in a map, whose IDs depend on its key.
type blobs struct {
	key    string
	mu     sync.Mutex // guards what follows
	data   map[blob.ID][]byte
	loads  int
	breaks int
}

func newBlobs(key string) *blobs { return &blobs{key: key, data: map[blob.ID][]byte{}} }

func (b *blobs) Save(_ context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	id := blob.ID(blake3.Sum256(fmt.Appendf(nil, "%s %s %s", b.key, kind, plain)))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data[id] = bytes.Clone(plain)
	return id, nil
}

func (b *blobs) Load(_ context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads++
	data, ok := b.data[id]
	if !ok {
		return nil, fmt.Errorf("%s %s is not there", kind, id.Short())
	}
	return data, nil
}

func (b *blobs) BreakAlways(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breaks++
	return nil
}

func (b *blobs) has(id blob.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data[id] != nil
}

// every cuts after so many bytes.
type every int

func (e every) Cut(p []byte) int { return min(int(e), len(p)) }

func (b *blobs) lists(cut int) snapshot.Lists {
	return snapshot.Lists{Saver: b, Cutter: every(cut), Max: cut}
}

func (b *blobs) file(t testing.TB, name string, uid uint32, chunks ...string) snapshot.Node {
	t.Helper()
	ctx := context.Background()
	n := snapshot.Node{Name: name, Type: snapshot.File, UID: uid}
	lists := b.lists(300)
	c := lists.NewContentBuilder()
	for _, chunk := range chunks {
		e := snapshot.Element{Length: 1 << 20} // an empty chunk stands for zeros
		if chunk != "" {
			id, err := b.Save(ctx, blob.Data, []byte(chunk))
			if err != nil {
				t.Fatal(err)
			}
			e = snapshot.Element{ID: id, Length: uint64(len(chunk))}
		}
		n.Size += e.Length
		if err := c.Add(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if n.Content, err = c.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func (b *blobs) dir(t testing.TB, name string, nodes ...snapshot.Node) snapshot.Node {
	t.Helper()
	lists := b.lists(300)
	tree := lists.NewTreeBuilder()
	for i := range nodes {
		if err := tree.Add(context.Background(), &nodes[i]); err != nil {
			t.Fatal(err)
		}
	}
	n := snapshot.Node{Name: name, Type: snapshot.Dir}
	var err error
	if n.Content, err = tree.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	return n
}

// listing is all that is below a root: path, metadata, and content.
func listing(t testing.TB, b *blobs, root snapshot.Node) string {
	t.Helper()
	var out strings.Builder
	ctx := context.Background()
	err := snapshot.Walk(ctx, b, root, func(path string, n *snapshot.Node, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s %v %d %d", path, n.Type, n.UID, n.Size)
		for _, x := range n.Xattrs {
			if data, err := b.Load(ctx, blob.Data, x.Ref); err == nil {
				fmt.Fprintf(&out, " %s=%s", x.Name, data)
			}
		}
		if n.Type == snapshot.File {
			for e, err := range snapshot.Elements(ctx, b, n.Content) {
				if err != nil {
					return err
				}
				if e.IsZeros() {
					fmt.Fprintf(&out, " zeros %d", e.Length)
					continue
				}
				data, err := b.Load(ctx, blob.Data, e.ID)
				if err != nil {
					return err
				}
				fmt.Fprintf(&out, " %s", data)
			}
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// sample has all that trees can have: long lists, wide folders, zeros, attributes, several owners.
func sample(t testing.TB, b *blobs) snapshot.Node {
	var long []string
	for i := range 300 {
		long = append(long, fmt.Sprintf("chunk %d", i))
		if i%50 == 0 {
			long = append(long, "")
		}
	}
	var wide []snapshot.Node
	for i := range 700 {
		wide = append(wide, b.file(t, fmt.Sprintf("%04d", i), uint32(i/350), fmt.Sprintf("content %d", i%9)))
	}
	x := b.file(t, "x", 0, "words")
	id, err := b.Save(context.Background(), blob.Data, []byte("a long value"))
	if err != nil {
		t.Fatal(err)
	}
	x.Xattrs = []snapshot.Xattr{{Name: "user.long", Ref: id}}
	return b.dir(t, "", b.dir(t, "empty"), b.file(t, "long", 5, long...), snapshot.Node{Name: "to", Type: snapshot.Symlink, Target: "x"},
		b.dir(t, "wide", wide...), x)
}

func TestCopy(t *testing.T) {
	from, to := newBlobs("one"), newBlobs("two")
	root := sample(t, from)
	want := listing(t, from, root)
	for _, workers := range []int{1, 4} {
		c := rewrite.Copier{From: from}
		lanes := make([]rewrite.Lane, workers)
		for i := range lanes {
			lanes[i] = to
		}
		c.Begin(to.lists(500), lanes, to.has)
		copied := root
		if err := c.Root(t.Context(), &copied); err != nil {
			t.Fatal(err)
		}
		if got := listing(t, to, copied); got != want {
			t.Errorf("%d workers: got\n%s", workers, got)
		}
		if to.breaks == 0 {
			t.Error("files of several owners share a segment")
		}
		// The second time nothing but trees and lists is read.
		before := from.loads
		again := root
		if err := c.Root(t.Context(), &again); err != nil {
			t.Fatal(err)
		}
		if n := from.loads - before; n > 400 || again.Content.Elements[0] != copied.Content.Elements[0] {
			t.Errorf("%d workers: %d loads for what is known", workers, n)
		}
	}
	for id := range from.data {
		if to.has(id) {
			t.Fatal("a blob has the same ID in both")
		}
	}
}

func TestCopyScan(t *testing.T) {
	from, to := newBlobs("one"), newBlobs("two")
	lists := from.lists(60)
	b := lists.NewScanBuilder()
	ctx := t.Context()
	if err := b.Mount(ctx, "a file system"); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if err := b.Entry(ctx, &snapshot.Seen{Name: fmt.Sprintf("%04d", i), Inode: uint64(i), ChangeTime: snapshot.Time{Sec: int64(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	scan, err := b.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := rewrite.Copier{From: from}
	c.Begin(to.lists(100), []rewrite.Lane{to}, to.has)
	copied, err := c.Scan(ctx, scan)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b *blobs, c snapshot.Content) (text string) {
		r := snapshot.NewScanReader(ctx, b, c)
		defer r.Close()
		for path, seen := range r.All() {
			text += fmt.Sprintf("%s %+v\n", path, seen)
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got, want := read(to, copied), read(from, scan); got != want || scan.Depth == 0 {
		t.Errorf("got %s", got)
	}
}

// TestCopyOfWhatIsDamaged says which path it is.
func TestCopyOfWhatIsDamaged(t *testing.T) {
	from, to := newBlobs("one"), newBlobs("two")
	root := sample(t, from)
	x, err := snapshot.Lookup(t.Context(), from, root, "wide/0005")
	if err != nil {
		t.Fatal(err)
	}
	delete(from.data, x.Content.Elements[0].ID)
	for _, workers := range []int{1, 4} {
		c := rewrite.Copier{From: from}
		c.Begin(to.lists(500), slices.Repeat([]rewrite.Lane{to}, workers), to.has)
		copied := root
		if err := c.Root(t.Context(), &copied); err == nil || !strings.Contains(err.Error(), `"wide/0`) {
			t.Errorf("%d workers: got %v", workers, err)
		}
	}
}

func TestEdit(t *testing.T) {
	b := newBlobs("one")
	root := sample(t, b)
	before := maps.Clone(b.data)
	tree := rewrite.Tree{From: b, Lists: b.lists(300), Edit: func(_ context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
		return rewrite.Keep, nil
	}}
	same := root
	if err := tree.Folder(t.Context(), "", &same); err != nil {
		t.Fatal(err)
	}
	if same.Content.Elements[0] != root.Content.Elements[0] || len(b.data) != len(before) {
		t.Error("a folder that stays as it is has other blobs")
	}
	tree.Edit = func(_ context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
		if path == "wide" || path == "x" {
			return rewrite.Drop, nil
		}
		return rewrite.Keep, nil
	}
	if err := tree.Folder(t.Context(), "", &same); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, b, same); strings.Contains(got, "wide") || strings.Contains(got, "\nx ") || !strings.Contains(got, "to symlink") {
		t.Errorf("got %s", got)
	}
	bad := errors.New("no")
	tree.Edit = func(_ context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
		if path == "wide/0300" {
			return rewrite.Drop, bad
		}
		return rewrite.Keep, nil
	}
	for _, workers := range []int{1, 8} {
		tree.Workers = workers
		again := root
		if err := tree.Folder(t.Context(), "", &again); !errors.Is(err, bad) {
			t.Errorf("%d workers: got %v", workers, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Folder(ctx, "", &root); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestLost loses one part of a wide folder: the others are there, and what Lost gives stands in its place.
func TestLost(t *testing.T) {
	b := newBlobs("one")
	root := sample(t, b)
	wide, err := snapshot.Lookup(t.Context(), b, root, "wide")
	if err != nil || wide.Content.Depth == 0 {
		t.Fatal(wide, err)
	}
	var parts []snapshot.Element
	for e, err := range snapshot.Elements(t.Context(), b, wide.Content) {
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, e)
	}
	delete(b.data, parts[3].ID)
	keep := func(context.Context, int, string, *snapshot.Node) (rewrite.Action, error) { return rewrite.Keep, nil }
	tree := rewrite.Tree{From: b, Lists: b.lists(300), Edit: keep}
	again := root
	if err := tree.Folder(t.Context(), "", &again); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("got %v", err)
	}
	tree.Lost = func(_ context.Context, path string, _ *snapshot.Node, names []string, err error) ([]snapshot.Node, error) {
		if path != "wide" || len(names) < 600 || len(names) > 699 {
			t.Errorf("%s: %d names, %v", path, len(names), err)
		}
		return []snapshot.Node{b.file(t, "0000", 9, "taken"), b.file(t, "0000a", 9, "new"), b.file(t, "zz", 9, "last")}, nil
	}
	again = root
	if err := tree.Folder(t.Context(), "", &again); err != nil {
		t.Fatal(err)
	}
	got := listing(t, b, again)
	if !strings.Contains(got, "wide/0000a file 9 3 new\n") || !strings.Contains(got, "wide/zz file 9 4 last\n") || strings.Contains(got, "taken") {
		t.Errorf("got %s", got[:500])
	}
}

func Example() {
	ctx := context.Background()
	b := newBlobs("key")
	t := new(testing.T)
	root := b.dir(t, "", b.file(t, "keep", 0, "words"), b.file(t, "secret", 0, "hunter2"))
	tree := rewrite.Tree{From: b, Lists: b.lists(300), Edit: func(_ context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
		if path == "secret" {
			return rewrite.Drop, nil
		}
		return rewrite.Keep, nil
	}}
	err := tree.Folder(ctx, "", &root)
	fmt.Print(listing(t, b, root), err)
	// Output:
	// keep file 0 5 words
	// <nil>
}
