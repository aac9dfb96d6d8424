package backup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/backup"
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
