package fusefs_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/fusefs"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// tree is what a snapshot is made of: an entry, with bytes if it is a file and entries if it is a folder.
type tree struct {
	snapshot.Node
	data    []byte
	entries []tree
}

func file(name, data string) tree {
	return tree{Node: snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, ModTime: snapshot.Time{Sec: 1e9, Nsec: 5}}, data: []byte(data)}
}

func folder(name string, entries ...tree) tree {
	return tree{Node: snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755, ModTime: snapshot.Time{Sec: 2e9}}, entries: entries}
}

// with changes an entry's node.
func (t tree) with(change func(*snapshot.Node)) tree {
	change(&t.Node)
	return t
}

// fixture is a repository in memory that can be told to fail.
type fixture struct {
	*repo.Repo
	t testing.TB

	mu    sync.Mutex
	trees int // how many blobs of folders were loaded
	bad   map[blob.ID]error
	hang  chan struct{} // if not nil, loads of data wait for its end or their own
	hung  chan struct{} // gets a token for each that waits
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	r, err := repo.Init(t.Context(), memory.New(), []byte("x"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Repo: r, t: t, bad: map[blob.ID]error{}, hung: make(chan struct{}, 1000)}
}

func (f *fixture) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	f.mu.Lock()
	err, hang := f.bad[id], f.hang
	if kind == blob.Tree {
		f.trees++
	}
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if hang != nil && kind == blob.Data {
		f.hung <- struct{}{}
		select {
		case <-hang:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f.Repo.Load(ctx, kind, id)
}

// loadedTrees is how many blobs of folders were loaded so far.
func (f *fixture) loadedTrees() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trees
}

// damage lets loads of the blob with that plaintext fail.
func (f *fixture) damage(kind blob.Kind, plain []byte) blob.ID {
	id := f.ID(kind, plain)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad[id] = seal.ErrCorrupt
	return id
}

// chunkSize is where the fixture cuts files.
const chunkSize = 256 << 10

// builder saves one snapshot.
type builder struct {
	t    testing.TB
	lane *repo.Lane
	*snapshot.Lists
}

func (b *builder) node(n *tree) snapshot.Node {
	b.t.Helper()
	ctx := b.t.Context()
	switch n.Type {
	case snapshot.Dir:
		tb := b.NewTreeBuilder()
		slices.SortFunc(n.entries, func(a, b tree) int { return strings.Compare(a.Name, b.Name) })
		for i := range n.entries {
			e := b.node(&n.entries[i])
			b.must(tb.Add(ctx, &e))
		}
		c, err := tb.Finish(ctx)
		b.must(err)
		n.Content = c
	case snapshot.File:
		n.Size = uint64(len(n.data))
		cb := b.NewContentBuilder()
		for part := range slices.Chunk(n.data, chunkSize) {
			if n.Sparse && len(bytes.Trim(part, "\x00")) == 0 {
				b.must(cb.Add(ctx, snapshot.Element{Length: uint64(len(part))}))
				continue
			}
			id, err := b.lane.Save(ctx, blob.Data, part)
			b.must(err)
			b.must(cb.Add(ctx, snapshot.Element{ID: id, Length: uint64(len(part))}))
		}
		c, err := cb.Finish(ctx)
		b.must(err)
		n.Content = c
	}
	return n.Node
}

func (b *builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// save makes a snapshot of entries of the folder "/".
func (f *fixture) save(rec snapshot.Record, entries ...tree) blob.Name {
	f.t.Helper()
	ctx := f.t.Context()
	w, err := f.NewWriter(ctx, repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "h", "u", "p")})
	if err != nil {
		f.t.Fatal(err)
	}
	lane := w.Lane()
	meta := f.MetaChunker()
	b := &builder{f.t, lane, &snapshot.Lists{Saver: lane, Cutter: meta, Max: chunker.MetaParams.Max}}
	root := folder("", entries...)
	rec.Root = b.node(&root)
	rec.Session = w.Session()
	if err := lane.Flush(ctx); err != nil {
		f.t.Fatal(err)
	}
	name, err := w.Commit(ctx, rec.Encode())
	if err != nil {
		f.t.Fatal(err)
	}
	return name
}

// at is the record of a snapshot at a day of May 2026.
func at(day int) snapshot.Record {
	return snapshot.Record{Time: time.Date(2026, 5, day, 10, 20, 30, 0, time.UTC), Host: "web"}
}

// mounted is a mount for a test.
type mounted struct {
	*fusefs.Mounted
	dir string

	mu       sync.Mutex
	reported []string
}

// mount mounts f, or skips the test. Nothing of it is left when the test ends.
func (f *fixture) mount(o fusefs.Options) *mounted {
	f.t.Helper()
	if os.Geteuid() != 0 {
		f.t.Skip("mounting without fusermount3 needs root: sudo go test ./fusefs")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		f.t.Skip("no FUSE here: modprobe fuse")
	}
	m := &mounted{dir: filepath.Join(f.t.TempDir(), "mnt")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	o.Zone = time.UTC
	o.Report = func(path string, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reported = append(m.reported, path+": "+err.Error())
	}
	var err error
	if m.Mounted, err = fusefs.Mount(f.t.Context(), f, m.dir, o); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		select {
		case <-m.Done():
		default:
			if m.Unmount() != nil {
				m.Detach()
			}
		}
	})
	return m
}

func (m *mounted) path(p string) string { return filepath.Join(m.dir, p) }

// reports are what was told of.
func (m *mounted) reports() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reported)
}

// names lists a folder of the mount.
func (m *mounted) names(t testing.TB, p string) string {
	t.Helper()
	entries, err := os.ReadDir(m.path(p))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func (m *mounted) read(t testing.TB, p string) string {
	t.Helper()
	data, err := os.ReadFile(m.path(p))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
