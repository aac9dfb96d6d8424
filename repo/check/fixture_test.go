package check_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// layered is a store in which single objects can be replaced or hidden for a while.
type layered struct {
	storage.Storage
	mu   sync.Mutex
	over map[string][]byte // nil: hidden
}

func newLayered(s storage.Storage) *layered { return &layered{Storage: s, over: map[string][]byte{}} }

func (l *layered) set(name string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over[name] = data
}

func (l *layered) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.over)
}

func (l *layered) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	l.mu.Lock()
	data, ok := l.over[name]
	l.mu.Unlock()
	if !ok {
		return l.Storage.Get(ctx, name, off, n)
	}
	if data == nil {
		return nil, fmt.Errorf("get %s: %w", name, storage.ErrNotExist)
	}
	n, err := storage.Range(int64(len(data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return io.NopCloser(bytes.NewReader(data[off : off+n])), nil
}

func (l *layered) List(ctx context.Context, prefix string, fn func(string, int64) error) error {
	l.mu.Lock()
	over := maps.Clone(l.over)
	l.mu.Unlock()
	err := l.Storage.List(ctx, prefix, func(name string, size int64) error {
		data, ok := over[name]
		delete(over, name)
		switch {
		case !ok:
			return fn(name, size)
		case data != nil:
			return fn(name, int64(len(data)))
		}
		return nil
	})
	for name, data := range over {
		if err == nil && data != nil && strings.HasPrefix(name, prefix) {
			err = fn(name, int64(len(data)))
		}
	}
	return err
}

var password = []byte("correct horse")

// open opens the repository in s.
func open(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), s, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func create(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Init(context.Background(), s, password, repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// every cuts after so many bytes.
type every int

func (e every) Cut(p []byte) int { return min(int(e), len(p)) }

// backup saves trees for tests.
type backup struct {
	t     testing.TB
	repo  *repo.Repo
	w     *repo.Writer
	lane  *repo.Lane
	lists snapshot.Lists
	scan  *snapshot.ScanBuilder
}

func begin(t testing.TB, r *repo.Repo) *backup {
	t.Helper()
	w, err := r.NewWriter(context.Background(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	b := &backup{t: t, repo: r, w: w, lane: w.Lane()}
	b.lists = snapshot.Lists{Saver: b.lane, Cutter: every(400), Max: 400}
	b.scan = b.lists.NewScanBuilder()
	return b
}

func (b *backup) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// file is a file of the given chunks; an empty chunk stands for a megabyte of zeros.
func (b *backup) file(name string, chunks ...string) *snapshot.Node {
	n := &snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, ModTime: snapshot.Time{Sec: 1}}
	c := b.lists.NewContentBuilder()
	for _, chunk := range chunks {
		e := snapshot.Element{Length: 1 << 20}
		if chunk != "" {
			id, err := b.lane.Save(context.Background(), blob.Data, []byte(chunk))
			b.must(err)
			e = snapshot.Element{ID: id, Length: uint64(len(chunk))}
		}
		n.Size += e.Length
		b.must(c.Add(context.Background(), e))
	}
	var err error
	n.Content, err = c.Finish(context.Background())
	b.must(err)
	return n
}

func (b *backup) dir(name string, entries ...*snapshot.Node) *snapshot.Node {
	t := b.lists.NewTreeBuilder()
	for _, n := range entries {
		b.must(t.Add(context.Background(), n))
	}
	c, err := t.Finish(context.Background())
	b.must(err)
	return &snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755, Content: c}
}

// commit stores a snapshot of root.
func (b *backup) commit(root *snapshot.Node, minute int, change ...func(*snapshot.Record)) blob.Name {
	b.t.Helper()
	ctx := context.Background()
	b.must(b.scan.Enter(ctx, &snapshot.Seen{Name: "docs", Inode: 5}))
	b.must(b.scan.Entry(ctx, &snapshot.Seen{Name: "a", Inode: uint64(minute)}))
	b.must(b.scan.Leave(ctx))
	scan, err := b.scan.Finish(ctx)
	b.must(err)
	rec := snapshot.Record{Time: time.Unix(1e9+60*int64(minute), 0), Host: "host", Paths: []string{"/"}, Session: b.w.Session(), Root: *root, Scan: scan}
	for _, c := range change {
		c(&rec)
	}
	name, err := b.w.Commit(ctx, rec.Encode())
	b.must(err)
	return name
}

// sealed makes an object that is no pack, as package repo does.
func sealed(keys *seal.Keys, kind seal.Kind, body []byte) []byte {
	plain := append(binary.AppendUvarint(nil, uint64(len(body))), pack.NewCompressor(pack.Off).Compress(body)...)
	s := keys.NewSealer(kind, nil, plain)
	s.Append(plain)
	return s.Finish(nil, 0)
}

// hashed stores an object under its hash.
func hashed(t testing.TB, s storage.Storage, folder string, data []byte) string {
	t.Helper()
	name := folder + blob.Name(sha256.Sum256(data)).String()
	if err := s.Put(context.Background(), name, data); err != nil {
		t.Fatal(err)
	}
	return name
}

// small is a repository of so many snapshots that has an object of each kind: nested and wide folders, content lists, zeros, long
// attributes, scan records.
func small(t testing.TB, snapshots int) (*memory.Store, []blob.Name) {
	s := memory.New()
	return s, fill(t, create(t, s), s, snapshots)
}

// guarded is the same without padding, so that there are few bytes to damage, and with parity of all packs.
func guarded(t testing.TB, snapshots int) *memory.Store {
	s := memory.New()
	r, err := create(t, s).Short()
	if err != nil {
		t.Fatal(err)
	}
	ratio := parity.Ratio{Width: 3, Shards: 1}
	if err := r.SetParityPolicy(context.Background(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
		t.Fatal(err)
	}
	fill(t, r, s, snapshots)
	if len(names(objects(t, s), "parity/")) == 0 {
		t.Fatal("there is no parity")
	}
	return s
}

func fill(t testing.TB, r *repo.Repo, s *memory.Store, snapshots int) (names []blob.Name) {
	for i := range snapshots {
		b := begin(t, r)
		var long, zeros []string
		for j := range 200 {
			long = append(long, fmt.Sprintf("chunk %d of a long file", j))
			zeros = append(zeros, fmt.Sprintf("chunk %d", j%50), "")
		}
		var wide []*snapshot.Node
		for j := range 100 {
			wide = append(wide, b.file(fmt.Sprintf("entry %03d", j), fmt.Sprintf("content %d", j%7)))
		}
		ref, err := b.lane.Save(context.Background(), blob.Data, []byte(strings.Repeat("long attribute ", 200)))
		b.must(err)
		report := b.file("report", "first words", fmt.Sprintf("version %d", i))
		report.Xattrs = []snapshot.Xattr{{Name: "user.long", Ref: ref}, {Name: "user.short", Value: "x"}}
		torn := b.file("torn", "half of this")
		torn.State = snapshot.Torn
		root := b.dir("", b.file("a", "a"), b.dir("docs", report, torn), b.dir("empty"), b.file("long", long...),
			&snapshot.Node{Name: "to", Type: snapshot.Symlink, Target: "docs/report"}, b.dir("wide", wide...), b.file("zeros", zeros...))
		names = append(names, b.commit(root, i, func(rec *snapshot.Record) {
			rec.Capture.Torn = uint64(1 - i%2)
			rec.Problems = []snapshot.Problem{{Kind: snapshot.ProblemCluster, Path: "/db"}}
		}))
	}
	keys := r.SealKeys()
	hashed(t, s, "trash/", sealed(keys, seal.Trash, bytes.Repeat([]byte{7}, 64)))
	if err := r.PutWait(context.Background(), &repo.Wait{Trash: blob.Name{7}, Time: time.Unix(1, 0), Sessions: []blob.Session{{8}}}); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"evictions/000102030405060708090a0b0c0d0e0f": "evicted\n"} {
		if err := s.Put(context.Background(), name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.NewWriter(context.Background(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")}); err != nil {
		t.Fatal(err)
	}
	return names
}

// objects returns all that is in a store.
func objects(t testing.TB, s storage.Storage) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := s.List(context.Background(), "", func(name string, size int64) error {
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

// names returns the names in a folder of a store in order.
func names(all map[string][]byte, folder string) []string {
	var list []string
	for name := range all {
		if strings.HasPrefix(name, folder) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// run checks a repository and returns what was found.
func run(t testing.TB, r check.Repository, o check.Options) ([]check.Finding, check.Summary) {
	t.Helper()
	var found []check.Finding
	sum, err := check.Run(context.Background(), r, o, func(f check.Finding) { found = append(found, f) })
	if err != nil {
		t.Fatal(err)
	}
	errors := 0
	for _, f := range found {
		if f.Severity == check.Error {
			errors++
		}
	}
	if sum.Errors != errors || sum.Warnings != len(found)-errors {
		t.Errorf("summary counts %d errors and %d warnings, reported were %v", sum.Errors, sum.Warnings, found)
	}
	return found, sum
}

// restored reads all snapshots of a repository as a restore does: each entry's metadata and content by snapshot and path. What can't be
// read is left out.
func restored(ctx context.Context, r *repo.Repo) map[string]string {
	out := map[string]string{}
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
		out[name.Short()] = string(data)
		snapshot.Walk(ctx, r, rec.Root, func(path string, n *snapshot.Node, err error) error {
			if err == nil {
				if text, ok := content(ctx, r, n); ok {
					out[name.Short()+"/"+path] = string(snapshot.AppendNode(nil, n)) + text
				}
			}
			return nil
		})
	}
	return out
}

func content(ctx context.Context, r *repo.Repo, n *snapshot.Node) (string, bool) {
	h := sha256.New()
	for _, x := range n.Xattrs {
		if !x.Ref.IsZero() {
			data, err := r.Load(ctx, blob.Data, x.Ref)
			if err != nil {
				return "", false
			}
			h.Write(data)
		}
	}
	if n.Type == snapshot.File {
		for e, err := range snapshot.Elements(ctx, r, n.Content) {
			if err != nil {
				return "", false
			}
			if e.IsZeros() {
				fmt.Fprintf(h, "zeros %d", e.Length)
				continue
			}
			data, err := r.Load(ctx, blob.Data, e.ID)
			if err != nil {
				return "", false
			}
			h.Write(data)
		}
	}
	return string(h.Sum(nil)), true
}

func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
