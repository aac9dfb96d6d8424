package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

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

// database makes a database as it looks while it is written to, and its log.
func database(path string) error {
	err := os.WriteFile(path, []byte("SQLite format 3\x00"+strings.Repeat("x", 4096)), 0o644)
	return errors.Join(err, os.WriteFile(path+"-wal", []byte(strings.Repeat("committed", 100)), 0o644))
}

// TestDatabaseThatCameLater makes a database in a folder that the walk has passed, with a log that has what was committed last: they are in the
// snapshot together.
func TestDatabaseThatCameLater(t *testing.T) {
	for _, late := range []bool{false, true} {
		dir := tree(t)
		rec, has := during(t, dir, late, func() error { return database(filepath.Join(dir, "sub/x.db")) })
		if !has("sub/x.db") || !has("sub/x.db-wal") || !rec.Settled {
			t.Errorf("late %v: the database is there: %v, its log: %v; settled %v", late, has("sub/x.db"), has("sub/x.db-wal"), rec.Settled)
		}
	}
}

// TestDatabaseInPartial has a partial snapshot made when a database was read, and nothing that comes behind its log was: they are there together.
func TestDatabaseInPartial(t *testing.T) {
	r, dir := create(t, memory.New()), t.TempDir()
	err := errors.Join(database(filepath.Join(dir, "x.db")), os.WriteFile(filepath.Join(dir, "y"), make([]byte, 5<<20), 0o644)) // a batch of its own
	if err != nil {
		t.Fatal(err)
	}
	_, rec := must(t, r, func(o *backup.Options) { o.PartialEvery = 1 }, dir)
	names, err := r.SnapshotNames(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	partials := 0
	for _, name := range names {
		part := record(t, r, name)
		_, err := snapshot.Lookup(t.Context(), r, part.Root, filepath.Join(dir, "x.db"))
		_, logErr := snapshot.Lookup(t.Context(), r, part.Root, filepath.Join(dir, "x.db-wal"))
		if (err == nil) != (logErr == nil) {
			t.Errorf("partial %v: the database: %v, its log: %v", part.Partial, err, logErr)
		}
		if part.Partial && err == nil {
			partials++
		}
	}
	if partials == 0 || rec.Stats.Files != 3 || rec.Capture.Whole != 3 {
		t.Errorf("%d partial snapshots with the database; %d files, of which %d are whole, want 3", partials, rec.Stats.Files, rec.Capture.Whole)
	}
}

func record(t testing.TB, r *repo.Repo, name blob.Name) *snapshot.Record {
	t.Helper()
	data, err := r.LoadSnapshot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestTornDatabase saves a database while a transaction of it is under way, which nobody can hold still: it is torn, and so is its journal. Both
// count, or a user who says that these don't matter would have said so of another file, too.
func TestTornDatabase(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("needs sqlite3: apt-get install sqlite3")
	}
	r, dir := create(t, memory.New()), t.TempDir()
	busy(t, filepath.Join(dir, "x.db"), "create table t(x); begin exclusive; insert into t values(1);")
	_, rec := must(t, r, nil, dir)
	torn := uint64(0)
	for _, p := range rec.Problems {
		if p.Kind == snapshot.ProblemTorn {
			torn++
		}
	}
	if torn != 2 || rec.Capture.Torn != torn || rec.Stats.Files != 2 {
		t.Errorf("%d files, of which %d count as torn; problems %v", rec.Stats.Files, rec.Capture.Torn, rec.Problems)
	}
}

// busy keeps a program that has a database open, after it has run some SQL, until the test ends.
func busy(t testing.TB, path, sql string) {
	t.Helper()
	program := exec.Command("sqlite3", path)
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); program.Wait() })
	fmt.Fprintln(in, sql+" select 'ready';")
	for buf := make([]byte, 64); ; {
		n, err := out.Read(buf)
		if strings.Contains(string(buf[:n]), "ready") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
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
	busy(t, path, "pragma journal_mode=wal; create table t(x); insert into t values(1),(2),(3);")
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
