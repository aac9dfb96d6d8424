package backup_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var password = []byte("still waters")

type store struct{ *repo.Writer }

func (s store) Lane() backup.Lane { return s.Writer.Lane() }

func create(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Init(context.Background(), s, password, repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(s storage.Storage) (*repo.Repo, error) {
	return repo.Open(context.Background(), s, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
}

// save backs up paths and commits. prepare may change the options.
func save(r *repo.Repo, prepare func(*backup.Options), paths ...string) (blob.Name, *snapshot.Record, error) {
	ctx := context.Background()
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		return blob.Name{}, nil, err
	}
	o := backup.Options{Paths: paths, Data: r.DataChunker(), Meta: r.MetaChunker(), Capture: live.Options{Settle: -1},
		Record: snapshot.Record{Time: time.Now(), Host: "host", Session: w.Session(), Paths: paths}}
	if prepare != nil {
		prepare(&o)
	}
	rec, err := backup.Run(ctx, store{w}, o, new(backup.Progress))
	if err != nil {
		return blob.Name{}, nil, errors.Join(err, w.Abort(ctx))
	}
	name, err := w.Commit(ctx, rec.Encode())
	return name, rec, err
}

func must(t testing.TB, r *repo.Repo, prepare func(*backup.Options), paths ...string) (blob.Name, *snapshot.Record) {
	t.Helper()
	name, rec, err := save(r, prepare, paths...)
	if err != nil {
		t.Fatal(err)
	}
	if s := rec.Stats; s.New+s.Changed+s.Unchanged != s.Files {
		t.Errorf("%d files new, %d changed, %d unchanged, of %d", s.New, s.Changed, s.Unchanged, s.Files)
	}
	sound(t, r)
	return name, rec
}

// sound checks the whole repository.
func sound(t testing.TB, r *repo.Repo) {
	t.Helper()
	_, err := check.Run(context.Background(), r, check.Options{ReadData: true}, func(f check.Finding) { t.Errorf("check: %v", f) })
	if err != nil {
		t.Errorf("check: %v", err)
	}
}

// restored restores a path of a snapshot and compares it with want, by a program that is not tarn.
func restored(t testing.TB, r *repo.Repo, rec *snapshot.Record, path, want string) {
	t.Helper()
	ctx := context.Background()
	n, err := snapshot.Lookup(ctx, r, rec.Root, path)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "out")
	if _, err := restore.Run(ctx, r, n, target, restore.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("diff", "-r", "--no-dereference", want, target).CombinedOutput(); err != nil {
		t.Errorf("restored differs: %v\n%s", err, out)
	}
}

// tree makes a folder with files of several sizes; old enough that no rule about young files is in play.
func tree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "source")
	rng := rand.New(rand.NewPCG(7, 7))
	for _, f := range []struct {
		name string
		size int
	}{{"a", 0}, {"b", 1}, {"sub/c", 100}, {"sub/deep/d", 70_000}, {"sub/e", 3 << 20}, {"zeros", 2 << 20}, {"z/last", 300_000}} {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, f.size)
		if f.name != "zeros" {
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond) // young files are put off: this is what the tests of source/live are about
	return dir
}

func TestRoundTrip(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	name, rec := must(t, r, nil, dir)
	restored(t, r, rec, dir, dir)
	if !rec.Settled || len(rec.Problems) > 0 || rec.Stats.Files != 7 || rec.Stats.New != 7 {
		t.Errorf("settled %v, problems %v, stats %+v", rec.Settled, rec.Problems, rec.Stats)
	}
	parent := func(o *backup.Options) { o.Parent = &backup.Parent{Name: name, Record: rec, Loader: r} }
	_, again := must(t, r, parent, dir)
	if rootOf(t, r, rec, dir) != rootOf(t, r, again, dir) {
		t.Error("an unchanged folder has another tree")
	}
	restored(t, r, again, dir, dir)
}

// TestUnchanged waits until the files are no longer racy, and then sees that none is read again, and that one that changed is.
func TestUnchanged(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	time.Sleep(2100 * time.Millisecond) // the window in which a change leaves no trace
	name, rec := must(t, r, nil, dir)
	parent := func(o *backup.Options) { o.Parent = &backup.Parent{Name: name, Record: rec, Loader: r} }
	if _, again := must(t, r, parent, dir); again.Stats.Unchanged != 7 || again.Stats.Read != 0 {
		t.Errorf("unchanged: %+v", again.Stats)
	}
	// The same size and mtime, other bytes: only the ctime tells.
	path := filepath.Join(dir, "sub/c")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	_, changed := must(t, r, parent, dir)
	if changed.Stats.Unchanged != 6 || changed.Stats.Changed != 1 {
		t.Errorf("one changed: %+v", changed.Stats)
	}
	restored(t, r, changed, dir, dir)
}

func rootOf(t testing.TB, r *repo.Repo, rec *snapshot.Record, path string) snapshot.Element {
	t.Helper()
	n, err := snapshot.Lookup(context.Background(), r, rec.Root, path)
	if err != nil {
		t.Fatal(err)
	}
	return n.Content.Elements[0]
}

// filterFunc runs something in the middle of the walk, when it comes to a path.
type filterFunc func(path string, isDir bool) bool

func (f filterFunc) Match(path string, isDir bool) bool { return f(path, isDir) }

// TestTorn keeps a file open for writing and changes it while it is read: it must be marked, and the rest be saved.
func TestTorn(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	path := filepath.Join(dir, "sub/e")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var changes atomic.Int64
	name, rec := must(t, r, func(o *backup.Options) {
		o.Capture.Now = func() time.Time { // asked for after each look
			i := changes.Add(1)
			if _, err := f.WriteAt([]byte{byte(i)}, i); err != nil {
				t.Error(err)
			}
			return time.Now()
		}
	}, dir)
	n, err := snapshot.Lookup(context.Background(), r, rec.Root, path)
	if err != nil {
		t.Fatal(err)
	}
	if n.State != snapshot.Torn || rec.Capture.Torn != 1 || rec.Capture.Whole != 6 {
		t.Errorf("state %v, capture %+v", n.State, rec.Capture)
	}

	// When it can't be read any more, this version is carried, and is no better for that.
	if err := errors.Join(f.Chmod(0), os.Chmod(filepath.Join(dir, "../.."), 0o755)); err != nil {
		t.Fatal(err)
	}
	rec = saveAsNobody(t, r, func(o *backup.Options) { o.Parent = &backup.Parent{Name: name, Record: rec, Loader: r} }, dir)
	if n, err = snapshot.Lookup(t.Context(), r, rec.Root, path); err != nil {
		t.Fatal(err)
	}
	if n.State != snapshot.Torn || rec.Capture.Torn != 1 || len(rec.Problems) != 1 || rec.Problems[0].Kind != snapshot.ProblemCarry {
		t.Errorf("carried: state %v, capture %+v, problems %+v", n.State, rec.Capture, rec.Problems)
	}
}

func TestExcludes(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	for name, text := range map[string]string{"sub/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n", "z/.nobackup": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, rec := must(t, r, func(o *backup.Options) {
		o.ExcludeCaches, o.ExcludeIfPresent, o.ExcludeLarger = true, []string{".nobackup"}, 1<<20
	}, dir)
	var got []string
	err := snapshot.Walk(context.Background(), r, rec.Root, func(path string, n *snapshot.Node, err error) error {
		if err == nil && n.Type == snapshot.File {
			got = append(got, strings.TrimPrefix("/"+path, dir+"/"))
		}
		return err
	})
	if want := []string{"a", "b", "sub/CACHEDIR.TAG", "z/.nobackup"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
}
