package backup_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
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

// TestJournalThatCameLater makes a journal beside a database that the walk has passed. It must not be in the snapshot: it is of a transaction
// that the database there knows nothing of. A file that is only called so must be there.
func TestJournalThatCameLater(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	for name, head := range map[string]string{"sub/x.db": "SQLite format 3\x00", "sub/text": "a text"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(head+strings.Repeat("x", 4096)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	once := false
	_, rec := must(t, r, func(o *backup.Options) {
		o.Exclude = filterFunc(func(path string, isDir bool) bool {
			if path == filepath.Join(dir, "z") && !once {
				once = true
				for _, name := range []string{"x.db-journal", "x.db-wal", "x.db-shm", "text-journal"} {
					if err := os.WriteFile(filepath.Join(dir, "sub", name), []byte("later"), 0o644); err != nil {
						t.Error(err)
					}
				}
			}
			return false
		})
	}, dir)
	for name, want := range map[string]bool{"x.db": true, "x.db-journal": false, "x.db-wal": false, "x.db-shm": false, "text": true, "text-journal": true} {
		if _, err := snapshot.Lookup(t.Context(), r, rec.Root, filepath.Join(dir, "sub", name)); (err == nil) != want {
			t.Errorf("%s is in the snapshot: %v, want %v", name, err == nil, want)
		}
	}
}

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

// TestOrder proves the order of what is put: session, packs, index, snapshot, and the session's end last.
func TestOrder(t *testing.T) {
	s := faulty.Wrap(memory.New(), faulty.Options{})
	r, dir := create(t, s), tree(t)
	before := s.Count(faulty.Any)
	if _, _, err := save(r, nil, dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range faulty.Shape(s.Ops()[before:]) {
		if !strings.HasPrefix(op, "get ") {
			got = append(got, op)
		}
	}
	want := []string{"put sessions/…", "list trash/…", "list data/…", "list index/…", "list settings/…", "put data/…", "put index/…", "put snapshots/…",
		"list sessions/…", "list evictions/…", "remove sessions/…"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("operations\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestEveryOperationFails lets the nth operation of a backup fail, for each n, in all ways: there is never success with something
// missing, and the next backup succeeds.
func TestEveryOperationFails(t *testing.T) {
	dir := tree(t)
	total := 0
	for _, effect := range []faulty.Effect{faulty.Nothing, faulty.Torn, faulty.Done} {
		for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
			for n := 1; ; n++ {
				m := memory.New()
				create(t, m)
				s := faulty.Wrap(m, faulty.Options{Faults: []faulty.Fault{{Nth: n, Effect: effect, Err: errno}}})
				rec, err := attempt(s, dir)
				if s.Count(faulty.Any) < n {
					break
				}
				total++
				r, openErr := open(m)
				if openErr != nil {
					t.Fatalf("operation %d, %v: open afterwards: %v", n, errno, openErr)
				}
				if err == nil {
					restored(t, r, rec, dir, dir)
				}
				again, next, err := save(r, nil, dir)
				if err != nil {
					t.Fatalf("operation %d, %v: the next backup: %v", n, errno, err)
				}
				walkAll(t, r, again, next)
			}
		}
	}
	t.Logf("%d operations failed", total)
}

func attempt(s storage.Storage, dir string) (*snapshot.Record, error) {
	r, err := open(s)
	if err != nil {
		return nil, err
	}
	_, rec, err := save(r, nil, dir)
	return rec, err
}

// walkAll loads every blob of a snapshot.
func walkAll(t testing.TB, r *repo.Repo, name blob.Name, rec *snapshot.Record) {
	t.Helper()
	ctx := context.Background()
	err := snapshot.Walk(ctx, r, rec.Root, func(path string, n *snapshot.Node, err error) error {
		if err != nil || n.Type != snapshot.File {
			return err
		}
		for e, err := range snapshot.Elements(ctx, r, n.Content) {
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if !e.IsZeros() {
				if _, err := r.Load(ctx, blob.Data, e.ID); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("snapshot %s: %v", name.Short(), err)
	}
}

// TestPowerCuts cuts at every stage of every operation of two backups, and keeps nothing, all, or seeded parts of what was not
// durable. Every snapshot that is there then is complete, and one whose Commit returned is there.
func TestPowerCuts(t *testing.T) {
	dir := tree(t)
	seeds := 4
	if os.Getenv("TARN_SOAK") != "" {
		seeds = 64
	}
	cuts, states := 0, 0
	committed := map[blob.Name]bool{}
	var s *crash.Store
	active := false
	look := func(step crash.Step) {
		if !active {
			return
		}
		cuts++
		for i := range seeds + 2 {
			mode := crash.KeepSome
			if i < 2 {
				mode = []crash.Keep{crash.KeepNothing, crash.KeepEverything}[i]
			}
			states++
			afterCut(t, s.CrashClone(rand.New(rand.NewPCG(uint64(cuts), uint64(i))), mode), committed)
		}
	}
	s = crash.New(crash.Options{Step: look})
	r := create(t, s)
	active = true
	for range 2 {
		name, _, err := save(r, nil, dir)
		if err != nil {
			t.Fatal(err)
		}
		committed[name] = true
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte(name.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts, %d disk states", cuts, states)
	if cuts < 20 {
		t.Errorf("only %d cuts", cuts)
	}
}

func afterCut(t *testing.T, s storage.Storage, committed map[blob.Name]bool) {
	t.Helper()
	ctx := context.Background()
	r, err := open(s)
	if err != nil {
		t.Fatalf("open after a cut: %v", err)
	}
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[blob.Name]bool{}
	for _, name := range names {
		found[name] = true
		body, err := r.LoadSnapshot(ctx, name)
		if err != nil {
			t.Fatalf("after a cut: %v", err)
		}
		rec, err := snapshot.DecodeRecord(body)
		if err != nil {
			t.Fatal(err)
		}
		walkAll(t, r, name, rec)
	}
	for name := range committed {
		if !found[name] {
			t.Errorf("snapshot %s was committed and is gone after a cut", name.Short())
		}
	}
}

// TestEvicted evicts the session just before the commit: there must be no success.
func TestEvicted(t *testing.T) {
	m := memory.New()
	s := faulty.Wrap(m, faulty.Options{Before: func(ctx context.Context, op faulty.Op) error {
		if op.Method != faulty.Put || !strings.HasPrefix(op.Name, "snapshots/") {
			return nil
		}
		return m.List(ctx, "sessions/", func(name string, size int64) error {
			id := strings.TrimPrefix(name, "sessions/")
			return errors.Join(m.Put(ctx, "evictions/"+id, []byte("evicted")), m.Remove(ctx, name))
		})
	}})
	r := create(t, s)
	if _, _, err := save(r, nil, tree(t)); !errors.Is(err, repo.ErrEvicted) {
		t.Errorf("error %v, want ErrEvicted", err)
	}
}

// TestInterrupted loses a backup after some packs: the next one does not store again what these hold.
func TestInterrupted(t *testing.T) {
	m, dir := memory.New(), tree(t)
	time.Sleep(2100 * time.Millisecond) // what the scan record has of a file is another when it is no longer young
	create(t, m)
	s := faulty.Wrap(m, faulty.Options{Faults: []faulty.Fault{{Method: faulty.Put, Prefix: "index/", Times: faulty.Forever, Err: syscall.EIO}}})
	if _, err := attempt(s, dir); !errors.Is(err, syscall.EIO) {
		t.Fatalf("error %v, want EIO", err)
	}
	r, err := open(m)
	if err != nil {
		t.Fatal(err)
	}
	_, rec := must(t, r, nil, dir)
	if rec.Stats.Added != 0 {
		t.Errorf("%d bytes were stored again", rec.Stats.Added)
	}
	restored(t, r, rec, dir, dir)
}

// TestSQLiteTogether saves a database in WAL mode that is open: what is restored must be a database with all that was committed.
func TestSQLiteTogether(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("needs sqlite3: apt-get install sqlite3")
	}
	r, dir := create(t, memory.New()), filepath.Join(t.TempDir(), "db")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.db")
	writer := exec.Command("sqlite3", path)
	in, err := writer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); writer.Wait() }()
	fmt.Fprintln(in, "pragma journal_mode=wal; create table t(x); insert into t values(1),(2),(3); select 'ready';")
	for buf := make([]byte, 64); ; {
		n, err := out.Read(buf)
		if strings.Contains(string(buf[:n]), "ready") {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, rec := must(t, r, func(o *backup.Options) { o.Capture.Settle = 0 }, dir)
	n, err := snapshot.Lookup(context.Background(), r, rec.Root, dir)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "out")
	if _, err := restore.Run(context.Background(), r, n, target, restore.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(target, "x.db-shm")); err == nil {
		t.Error("the shared memory file was saved")
	}
	got, err := exec.Command("sqlite3", filepath.Join(target, "x.db"), "pragma integrity_check; select sum(x) from t").CombinedOutput()
	if err != nil || string(got) != "ok\n6\n" {
		t.Errorf("the restored database says %q, %v; problems %v", got, err, rec.Problems)
	}
}
