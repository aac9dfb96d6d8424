package live_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// transfers moves money between accounts. Its arguments are the database, the modes of journal and locking, and what to
// do: "work" goes on until the standard input ends; "spill" stops in the middle of a transaction that has been written to
// the database in part; "log" stops after some transactions, with a log that has not been moved into the database.
const transfers = `
import sqlite3, sys, threading, random, time
path, journal, locking, what = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None, timeout=0)
db.execute('pragma locking_mode=' + locking)
db.execute('pragma journal_mode=' + journal)
db.execute('pragma synchronous=off')
db.execute('pragma cache_size=5')
db.execute('create table account(id integer primary key, balance int, pad blob)')
db.execute('begin')
for i in range(200):
    db.execute('insert into account values(?, 1000, randomblob(1500))', (i,))
db.execute('commit')
def transfer(n):
    for _ in range(n):
        a, b, m = random.randrange(200), random.randrange(200), random.randrange(50)
        db.execute('update account set balance=balance-?, pad=randomblob(1500) where id=?', (m, a))
        db.execute('update account set balance=balance+?, pad=randomblob(1500) where id=?', (m, b))
stop = threading.Event()
if what == 'spill':
    db.execute('begin immediate')
    db.execute('update account set balance=balance+1, pad=randomblob(1500) where id < 100')
if what == 'log':
    transfer(20)
print('ready', flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
done, busy = 0, 0
while not stop.is_set():
    if what != 'work':
        stop.wait()
        continue
    try:
        db.execute('begin immediate')
        transfer(random.randrange(1, 20))
        db.execute('rollback' if random.random() < 0.1 else 'commit')
        done += 1
    except sqlite3.OperationalError:
        busy += 1
        if db.in_transaction:
            db.execute('rollback')
    if random.random() < 0.3:
        time.sleep(random.random() * 0.003)
print(done, 'transactions,', busy, 'refused', flush=True)
`

// audit opens the databases that it is told and says what it finds.
const audit = `
import sqlite3, sys
print('ready', flush=True)
for line in sys.stdin:
    try:
        db = sqlite3.connect(line.strip())
        db.execute('pragma synchronous=off')
        found = db.execute('pragma integrity_check').fetchone()[0]
        n, total = db.execute('select count(*), sum(balance) from account').fetchone()
        db.close()
        print(found, n, total, flush=True)
    except sqlite3.Error as e:
        print('error:', str(e).replace('\n', ' '), flush=True)
`

const sound = "ok 200 200000" // what audit says of a database that is whole

// python starts a program.
func python(t *testing.T, program string, args ...string) *part {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3: apt-get install python3")
	}
	cmd := exec.Command("python3", append([]string{"-c", program}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &part{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		if p.killed {
			return
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("python: %v", err)
		}
	})
	if line := p.hear(); line != "ready" {
		t.Fatalf("python said %q", line)
	}
	return p
}

// kill ends a program as a power cut does. When it returns, the program has no file open any more: the end of its output would
// not prove that.
func (p *part) kill() {
	p.t.Helper()
	p.killed = true
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil {
		p.t.Fatal("it ended by itself")
	}
}

// restored writes a set into a folder and returns the path of the database.
func restored(ctx context.Context, dir string, set *live.Set) (string, live.Result, error) {
	for _, f := range set.Files() {
		data, err := io.ReadAll(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name()), data, 0o600)
		}
		if err != nil {
			return "", live.Result{}, err
		}
	}
	r, err := set.Finish(ctx)
	if err != nil {
		return "", r, err
	}
	for _, f := range set.Files() {
		info, err := os.Stat(filepath.Join(dir, f.Name()))
		if st := f.Stat(); err != nil || info.Size() != st.Size {
			return "", r, fmt.Errorf("%s has %d bytes, want %d: %w", f.Name(), info.Size(), st.Size, err)
		}
	}
	return filepath.Join(dir, set.Files()[0].Name()), r, nil
}

// captureSet captures a database. It returns what the auditor says of it, the names of its files, and how long it took to
// open, which is how long locks were held at most.
func captureSet(t *testing.T, c *live.Capturer, dirfd int, pass live.Pass, auditor *part) (
	said string, r live.Result, names []string, span time.Duration,
) {
	t.Helper()
	start := time.Now()
	set, err := c.OpenSet(t.Context(), dirfd, "db", pass)
	span = time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	dir := t.TempDir()
	path, r, err := restored(t.Context(), dir, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set.Files() {
		names = append(names, f.Name())
	}
	auditor.tell(path)
	said = auditor.hear()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return said, r, names, span
}

// TestSQLiteAtWork captures databases during transfers. A copy without locks must be caught at the same.
func TestSQLiteAtWork(t *testing.T) {
	wrong := 0
	auditor := python(t, audit)
	for _, k := range []struct {
		disk, journal, locking string
		count                  int
		method                 snapshot.Method
	}{
		{"ext4", "wal", "normal", 100, snapshot.MethodLocked},
		{"ext4", "delete", "normal", 100, snapshot.MethodLocked},
		{"ext4", "persist", "normal", 20, snapshot.MethodLocked},
		{"ext4", "truncate", "normal", 20, snapshot.MethodLocked},
		{"xfs", "wal", "normal", 20, snapshot.MethodLocked},
		{"xfs", "delete", "normal", 20, snapshot.MethodLocked},
		{"xfs", "wal", "exclusive", 50, snapshot.MethodReflink},
		{"xfs", "delete", "exclusive", 50, snapshot.MethodReflink},
		{"btrfs", "wal", "exclusive", 20, snapshot.MethodReflink},
		{"btrfs", "persist", "exclusive", 20, snapshot.MethodReflink},
		{"overlay", "wal", "normal", 20, snapshot.MethodUnproven},
	} {
		t.Run(k.disk+" "+k.journal+" "+k.locking, func(t *testing.T) {
			if testing.Short() {
				if k.count < 50 {
					t.Skip("short")
				}
				k.count /= 10
			}
			dir := mount(t, k.disk)
			dirfd := openDir(t, dir)
			work := python(t, transfers, filepath.Join(dir, "db"), k.journal, k.locking, "work")
			c := newCapturer(t, live.Options{Settle: time.Hour, Reread: 1 << 40})
			whole, torn := 0, 0
			var spans []time.Duration
			for i := 0; whole < k.count && torn <= tornMax(k.count, k.locking); i++ {
				said, r, names, span := captureSet(t, c, dirfd, live.Second, auditor)
				spans = append(spans, span)
				switch {
				case r.State == snapshot.Whole && said != sound:
					t.Errorf("called whole, but %s: %v", said, names)
				case r.State == snapshot.Whole && r.Method != k.method &&
					(k.disk == "ext4" || r.Method != snapshot.MethodReflink): // its lock may have been refused
					t.Errorf("captured by %v, want %v", r.Method, k.method)
				case r.State == snapshot.Whole:
					whole++
				case r.Reason == "":
					t.Errorf("%+v without a reason", r)
				default:
					torn++
					t.Logf("not whole, and marked so: %s", r.Reason)
				}
				if i%3 != 0 {
					continue
				}
				if err := copyNaively(dir, filepath.Join(t.TempDir(), "db"), auditor, &wrong); err != nil {
					t.Fatal(err)
				}
			}
			for tries := 0; wrong == 0 && k.disk == "ext4" && tries < 1000; tries++ { // it takes some luck
				if err := copyNaively(dir, filepath.Join(t.TempDir(), "db"), auditor, &wrong); err != nil {
					t.Fatal(err)
				}
			}
			work.in.Close()
			slices.Sort(spans)
			t.Logf("%d of %d whole, opened in %v, %v at most; %s", whole, whole+torn,
				spans[len(spans)/2].Round(time.Microsecond), spans[len(spans)-1].Round(time.Microsecond), work.hear())
			if whole < k.count {
				t.Errorf("%d of %d were not whole", torn, whole+torn)
			}
		})
	}
	t.Logf("%d copies without locks were wrong", wrong)
	if wrong == 0 && !t.Skipped() && os.Geteuid() == 0 {
		t.Error("no copy without locks was wrong: this test proves nothing")
	}
}

// tornMax is how many captures may be marked torn until count are whole. A copy that is marked is no error, one that is called whole and isn't
// is; but who marks too much is of no use. Under SQLite's locks a reader gets his turn. A database whose lock is never free is cloned
// between two looks, and on a busy machine the writer often comes in between.
func tornMax(count int, locking string) int {
	if locking == "exclusive" {
		return count
	}
	return 2 + count/20 // a few by chance, however few are taken
}

// copyNaively copies a database as cp does.
func copyNaively(dir, to string, auditor *part, wrong *int) error {
	for _, suffix := range []string{"", "-wal", "-journal"} {
		data, err := os.ReadFile(filepath.Join(dir, "db"+suffix))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	auditor.tell(to)
	if auditor.hear() != sound {
		*wrong++
	}
	return os.RemoveAll(filepath.Dir(to))
}

// TestSQLiteLeftBehind captures databases whose program was killed, with and without somebody who has them open.
func TestSQLiteLeftBehind(t *testing.T) {
	disk := mount(t, "ext4")
	auditor := python(t, audit)
	for _, k := range []struct{ journal, what, file string }{
		{"delete", "spill", "db-journal"},
		{"persist", "spill", "db-journal"},
		{"wal", "log", "db-wal"},
		{"wal", "spill", "db-wal"},
	} {
		for _, open := range []string{"closed", "open"} {
			t.Run(k.journal+" "+k.what+" "+open, func(t *testing.T) {
				dir := filepath.Join(disk, k.journal+k.what+open)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				dirfd := openDir(t, dir)
				python(t, transfers, filepath.Join(dir, "db"), k.journal, "normal", k.what).kill()
				method := snapshot.MethodLease
				if open == "open" {
					writing(t, filepath.Join(dir, "db"))
					method = snapshot.MethodLocked
				}
				c := newCapturer(t, live.Options{})
				for _, pass := range []live.Pass{live.First, live.Second} {
					said, r, names, _ := captureSet(t, c, dirfd, pass, auditor)
					if said != sound || r.State != snapshot.Whole || r.Method != method {
						t.Errorf("%s: %+v", said, r)
					}
					if len(names) != 2 || names[1] != k.file {
						t.Errorf("files %q", names)
					}
				}
				if _, err := os.Stat(filepath.Join(dir, "db-journal")); k.file == "db-journal" && err != nil {
					t.Errorf("the capture has changed the original: %v", err)
				}
			})
		}
	}
}

// TestSQLiteBusy captures databases in the middle of a transaction that is partly written, whose lock is kept.
func TestSQLiteBusy(t *testing.T) {
	for _, disk := range []string{"ext4", "xfs"} {
		t.Run(disk, func(t *testing.T) {
			dir := mount(t, disk)
			dirfd := openDir(t, dir)
			auditor := python(t, audit)
			python(t, transfers, filepath.Join(dir, "db"), "delete", "normal", "spill")
			c := newCapturer(t, live.Options{})
			if disk == "xfs" {
				said, r, _, _ := captureSet(t, c, dirfd, live.First, auditor)
				if said != sound || r.State != snapshot.Whole || r.Method != snapshot.MethodReflink {
					t.Errorf("%s: %+v", said, r)
				}
				return
			}
			if set, err := c.OpenSet(t.Context(), dirfd, "db", live.First); !errors.Is(err, live.ErrLater) {
				t.Errorf("first pass: %v %v", set, err)
			}
			_, r, _, _ := captureSet(t, c, dirfd, live.Second, auditor)
			if r.State != snapshot.Torn || r.Reason == "" || r.Later || r.Again {
				t.Errorf("second pass: %+v", r)
			}
		})
	}
}

// TestSQLiteLeaseBroken opens a database for writing while it is read under leases.
func TestSQLiteLeaseBroken(t *testing.T) {
	dir := mount(t, "ext4")
	path := filepath.Join(dir, "db")
	python(t, transfers, path, "wal", "normal", "log").kill()
	c := newCapturer(t, live.Options{})
	set, err := c.OpenSet(t.Context(), openDir(t, dir), "db", live.First)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if !isLeased(t, path) || len(set.Files()) != 2 {
		t.Errorf("not leased, or %d files", len(set.Files()))
	}
	writing(t, path)
	if _, r, err := restored(t.Context(), t.TempDir(), set); err != nil || !r.Later {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNotSQLite(t *testing.T) {
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	for name, content := range map[string]string{
		"empty": "", "short": "SQLite format 3\x00", "other": strings.Repeat("encrypted ", 1000),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.OpenSet(t.Context(), dirfd, name, live.Second); !errors.Is(err, live.ErrNotSQLite) {
			t.Errorf("%s: %v", name, err)
		}
	}
	head := "SQLite format 3\x00" + strings.Repeat("\x01", 1000)
	if err := os.WriteFile(filepath.Join(dir, "db"), []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "db-wal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenSet(t.Context(), dirfd, "db", live.Second); !errors.Is(err, live.ErrNotSQLite) {
		t.Errorf("with a FIFO beside it: %v", err)
	}
	if _, err := c.OpenSet(t.Context(), dirfd, "missing", live.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
