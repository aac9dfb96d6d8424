package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sys/unix"
)

// TestJournalWithoutItsDatabase has files that are called like the journals of databases which nobody reads: they must not be waited for.
func TestJournalWithoutItsDatabase(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"folder-wal", "left out", "left out-journal", "large", "large-shm"} {
		text := name
		if name == "large" {
			text = strings.Repeat("x", 5000)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	leaveOut := filterFunc(func(path string, isDir bool) bool { return filepath.Base(path) == "left out" })
	_, rec := must(t, r, func(o *backup.Options) { o.Exclude, o.ExcludeLarger = leaveOut, 4000 }, dir)
	for _, name := range []string{"folder-wal", "left out-journal", "large-shm"} {
		n, err := snapshot.Lookup(context.Background(), r, rec.Root, dir+"/"+name)
		if err != nil || n.Size != uint64(len(name)) {
			t.Errorf("%s: %v, %d bytes", name, err, n.Size)
		}
	}
}

// TestListingEndsEarly cancels a backup while the lister is ahead: goroutines and descriptors must all be given back.
func TestListingEndsEarly(t *testing.T) {
	r, dir := create(t, memory.New()), manyFiles(t, 300, 20)
	before := descriptors(t)
	for n := range 5 {
		ctx, cancel := context.WithCancel(context.Background())
		w, err := r.NewWriter(context.Background(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		o := backup.Options{Paths: []string{dir}, Data: r.DataChunker(), Meta: r.MetaChunker()}
		o.Exclude = filterFunc(func(string, bool) bool {
			if seen++; seen == 1000*n+100 {
				cancel()
			}
			return false
		})
		if _, err := backup.Run(ctx, store{w}, o, new(backup.Progress)); !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", n, err)
		}
		cancel()
		if err := w.Abort(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// descriptors counts the folders that are open; files are closed by readers, pipes and the like belong to others.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range list {
		if to, err := os.Stat("/proc/self/fd/" + fd.Name()); err == nil && to.IsDir() {
			n++
		}
	}
	return n
}

// manyFiles makes folders with small files.
func manyFiles(t testing.TB, folders, files int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "source")
	for n := range folders {
		sub := filepath.Join(dir, fmt.Sprintf("%04d", n))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for m := range files {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file %d", m)), fmt.Appendf(nil, "%d in %d\n", m, n), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// BenchmarkUnchanged backs up 20,000 files in 1,000 folders of which none has changed.
func BenchmarkUnchanged(b *testing.B) {
	r, dir := create(b, memory.New()), manyFiles(b, 1000, 20)
	time.Sleep(2100 * time.Millisecond) // until a change leaves a trace
	name, rec, err := save(r, nil, dir)
	if err != nil {
		b.Fatal(err)
	}
	parent := func(o *backup.Options) { o.Parent = &backup.Parent{Name: name, Record: rec, Loader: r} }
	b.ReportAllocs()
	for b.Loop() {
		if _, again, err := save(r, parent, dir); err != nil || again.Stats.Unchanged != 20_000 {
			b.Fatal(err, again)
		}
	}
	b.ReportMetric(float64(b.N)*20_000/b.Elapsed().Seconds()/1e6, "Mfiles/s")
}

// BenchmarkFirst backs up the same files into a new repository.
func BenchmarkFirst(b *testing.B) {
	dir := manyFiles(b, 1000, 20)
	b.ReportAllocs()
	for b.Loop() {
		r := create(b, memory.New())
		if _, rec, err := save(r, nil, dir); err != nil || rec.Stats.New != 20_000 {
			b.Fatal(err, rec)
		}
	}
	b.ReportMetric(float64(b.N)*20_000/b.Elapsed().Seconds()/1e6, "Mfiles/s")
}

// TestFewDescriptors backs up more small folders than may be open at once, faster than they are read, and then their files one by one.
func TestFewDescriptors(t *testing.T) {
	r, dir := create(t, memory.New()), manyFiles(t, 1500, 1)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 256, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	})
	files, err := filepath.Glob(dir + "/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{{dir}, files} {
		_, rec := must(t, r, nil, paths...)
		if rec.Stats.Files != 1500 || len(rec.Problems) > 0 {
			t.Errorf("%d files of 1500, %d problems: %v", rec.Stats.Files, len(rec.Problems), rec.Problems[:min(3, len(rec.Problems))])
		}
	}
}
