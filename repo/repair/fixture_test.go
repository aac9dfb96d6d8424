package repair_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var password = []byte("still waters")

func create(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Init(context.Background(), s, password, repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), s, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func session() repo.Session { return repo.NewSession(repo.PurposeRepair, "host", "user", "test") }

// files are the contents of a snapshot by path; a path's folders come with it. A content is cut at each "|". What ends in .torn is marked so.
type files map[string]string

// save stores a snapshot. Each file has segments of its own, so that one can be damaged alone.
func save(t testing.TB, r *repo.Repo, o repo.WriterOptions, minute int, f files) blob.Name {
	t.Helper()
	ctx := context.Background()
	o.Session = repo.NewSession(repo.PurposeBackup, "host", "user", "test")
	w, err := r.NewWriter(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{t: t, lane: w.Lane(), files: f}
	b.lists = snapshot.Lists{Saver: b.lane, Cutter: r.MetaChunker(), Max: r.MetaChunker().Params().Max}
	root := b.dir("")
	scan := b.lists.NewScanBuilder()
	b.must(scan.Entry(ctx, &snapshot.Seen{Name: "a", Inode: uint64(minute)}))
	rec := snapshot.Record{Time: time.Unix(1e9+60*int64(minute), 0), Host: "host", Paths: []string{"/"}, Session: w.Session(), Root: *root}
	rec.Scan, err = scan.Finish(ctx)
	b.must(err)
	rec.Stats, rec.Capture = b.rec.Stats, b.rec.Capture
	name, err := w.Commit(ctx, rec.Encode())
	b.must(err)
	return name
}

type builder struct {
	t     testing.TB
	lane  *repo.Lane
	lists snapshot.Lists
	files files
	rec   snapshot.Record // counts them
}

func (b *builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *builder) dir(prefix string) *snapshot.Node {
	ctx := context.Background()
	nodes := map[string]*snapshot.Node{}
	for _, path := range slices.Sorted(maps.Keys(b.files)) {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		name, _, below := strings.Cut(rest, "/")
		switch {
		case nodes[name] != nil:
		case below:
			nodes[name] = b.dir(prefix + name + "/")
			nodes[name].Name = name
		default:
			nodes[name] = b.file(name, b.files[path])
		}
	}
	tree := b.lists.NewTreeBuilder()
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		b.must(tree.Add(ctx, nodes[name]))
		b.rec.Count(nodes[name])
	}
	b.must(b.lane.Flush(ctx))
	n := &snapshot.Node{Type: snapshot.Dir, Mode: 0o755}
	var err error
	n.Content, err = tree.Finish(ctx)
	b.must(err)
	b.must(b.lane.Flush(ctx))
	return n
}

func (b *builder) file(name, content string) *snapshot.Node {
	ctx := context.Background()
	n := &snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, ModTime: snapshot.Time{Sec: 1}}
	c := b.lists.NewContentBuilder()
	for _, chunk := range strings.Split(content, "|") {
		if chunk == "" {
			continue
		}
		id, err := b.lane.Save(ctx, blob.Data, []byte(chunk))
		b.must(err)
		b.must(b.lane.BreakAlways(ctx))
		b.must(c.Add(ctx, snapshot.Element{ID: id, Length: uint64(len(chunk))}))
		n.Size += uint64(len(chunk))
	}
	if strings.HasSuffix(name, ".torn") {
		n.State = snapshot.Torn
	}
	var err error
	n.Content, err = c.Finish(ctx)
	b.must(err)
	return n
}

// recount counts what a snapshot has.
func recount(t testing.TB, l snapshot.Loader, rec *snapshot.Record) {
	t.Helper()
	rec.ClearCount()
	err := snapshot.Walk(context.Background(), l, rec.Root, func(path string, n *snapshot.Node, err error) error {
		if err == nil && path != "" {
			rec.Count(n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// contents reads all that can be read of all snapshots: "snapshot/path" and the bytes.
func contents(r *repo.Repo) map[string]string {
	ctx, out := context.Background(), map[string]string{}
	list, err := r.SnapshotNames(ctx)
	if err != nil {
		return out
	}
	for _, name := range list {
		data, err := r.LoadSnapshot(ctx, name)
		if err != nil {
			continue
		}
		rec, err := snapshot.DecodeRecord(data)
		if err != nil {
			continue
		}
		snapshot.Walk(ctx, r, rec.Root, func(path string, n *snapshot.Node, err error) error {
			if err != nil || n.Type != snapshot.File {
				return nil
			}
			if text, err := read(ctx, r, n); err == nil {
				out[name.Short()+"/"+path] = text
			}
			return nil
		})
	}
	return out
}

func read(ctx context.Context, r snapshot.Loader, n *snapshot.Node) (string, error) {
	var text strings.Builder
	for e, err := range snapshot.Elements(ctx, r, n.Content) {
		if err != nil {
			return "", err
		}
		if e.IsZeros() {
			text.WriteString(strings.Repeat("\x00", int(e.Length)))
			continue
		}
		data, err := r.Load(ctx, blob.Data, e.ID)
		if err != nil {
			return "", err
		}
		text.Write(data)
	}
	return text.String(), nil
}

// of returns what contents has of one snapshot, by path.
func of(all map[string]string, name blob.Name) files {
	f := files{}
	for key, text := range all {
		if path, ok := strings.CutPrefix(key, name.Short()+"/"); ok {
			f[path] = text
		}
	}
	return f
}

func (f files) plain() files {
	out := files{}
	for path, text := range f {
		out[path] = strings.ReplaceAll(text, "|", "")
	}
	return out
}

// notLess fails if something can be read no more, or reads differently, that could be read before.
func notLess(t testing.TB, what string, before, after map[string]string) {
	t.Helper()
	for key, text := range before {
		if got, ok := after[key]; !ok || got != text {
			t.Errorf("%s: %s can't be read any more, or reads differently", what, key)
		}
	}
}

// findings checks all of a repository.
func findings(t testing.TB, r *repo.Repo) (list []string) {
	t.Helper()
	r, err := r.Fresh()
	if err != nil {
		t.Fatal(err)
	}
	_, err = check.Run(context.Background(), r, check.Options{ReadData: true, Workers: 1}, func(f check.Finding) { list = append(list, f.String()) })
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func objects(t testing.TB, s storage.Storage, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := s.List(context.Background(), folder, func(name string, size int64) error {
		all[name] = nil
		return nil
	})
	for name := range all {
		if err == nil {
			all[name], err = storage.ReadAll(context.Background(), s, name, 1<<30)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func put(t testing.TB, s storage.Storage, name string, data []byte) {
	t.Helper()
	if err := s.Put(context.Background(), name, data); err != nil {
		t.Fatal(err)
	}
}

// hurt flips a bit in the segment that has a blob, and returns the pack.
func hurt(t testing.TB, s storage.Storage, r *repo.Repo, id blob.ID) blob.Name {
	t.Helper()
	x, err := r.Index(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	e, ok := x.Lookup(id)
	if !ok {
		t.Fatal("no such blob")
	}
	info, _ := x.Pack(e.Pack)
	g, _ := info.Segment(e.Segment)
	name := repo.PackObject(e.Pack)
	data, err := storage.ReadAll(context.Background(), s, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	data[g.Offset+5] ^= 1
	put(t, s, name, data)
	return e.Pack
}

// three is a repository of three snapshots, and what they hold.
func three(t testing.TB) (*memory.Store, []blob.Name, []files) {
	t.Helper()
	s := memory.New()
	r := create(t, s)
	all := []files{
		{"a": "alpha", "docs/report": "first|second|third", "docs/old": "old", "sub/deep/x": "xx", "z": "zed"},
		{"a": "alpha", "docs/report": "first|second|fourth", "docs/old": "old", "sub/deep/x": "xx", "z": "zed"},
		{"a": "alpha", "docs/report": "other", "sub/deep/x": "xx", "sub/deep/y": "yy", "z": "changed"},
	}
	var names []blob.Name
	for i, f := range all {
		names = append(names, save(t, r, repo.WriterOptions{}, i, f))
	}
	return s, names, all
}

func digest(f files) string {
	var b bytes.Buffer
	for _, path := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "%s=%q ", path, f[path])
	}
	if b.Len() > 300 {
		return fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))
	}
	return b.String()
}

// mendAll does all repairs, one after the other.
func mendAll(ctx context.Context, r *repo.Repo, o repair.PacksOptions) error {
	i, err := repair.PlanIndex(ctx, r)
	if err == nil {
		err = i.Run(ctx)
	}
	if err != nil {
		return err
	}
	p, err := repair.PlanPacks(ctx, r, o)
	if err == nil && !p.Empty() {
		err = p.Run(ctx, session())
	}
	if err != nil {
		return err
	}
	s, err := repair.PlanSnapshots(ctx, r, nil)
	if err != nil {
		return err
	}
	return s.Run(ctx, session, repair.KeepOld, func(repair.Replaced) {})
}
