package inuse_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/bench/inuse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// short is a plan that takes a second or two for each run.
func short(t *testing.T, kinds []inuse.Kind) *inuse.Plan {
	t.Helper()
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("no sqlite3: apt-get install sqlite3")
	}
	return &inuse.Plan{Scratch: t.TempDir(), Runs: 1, Before: 300 * time.Millisecond, Workload: inuse.Workload{Dir: t.TempDir(), Kinds: kinds, Each: 3,
		Size: 256 << 10, RestMin: 100 * time.Millisecond, RestMax: time.Second, Still: 16 << 20, Seed: uint64(time.Now().UnixNano())}}
}

// built builds tarn.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tarn")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/tarn").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// TestTarn backs up files that are being saved. Whatever is not whole must be marked.
func TestTarn(t *testing.T) {
	tool := inuse.Tarn(built(t))
	for name, kinds := range map[string][]inuse.Kind{"closing": inuse.Closing(), "held": inuse.Held()} {
		t.Run(name, func(t *testing.T) {
			p := short(t, kinds)
			r, err := p.Run(t.Context(), tool)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("seed %d: %+v", p.Seed, r.Findings)
			if r.Wrong() > 0 || len(r.Refused) > 0 || r.Files == 0 {
				t.Errorf("%d are wrong and not marked: %q; refused %q", r.Wrong(), r.Notes, r.Refused)
			}
			if r.Idle.Saves == 0 {
				t.Error("nothing was saved before the backup")
			}
		})
	}
}

// TestMeasureLeases tries the measurement, not how fast anything is.
func TestMeasureLeases(t *testing.T) {
	tree := t.TempDir()
	for _, name := range []string{"a", "b", "sub/c"} {
		path := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond) // no synchronisation: younger files are put off, and get no lease
	rounds := 0
	err := inuse.MeasureLeases(t.Context(), tree, t.TempDir(), slowCopy{}, 2, func(c *inuse.LeaseCost) {
		rounds++
		if c.Files != 3 || c.Plain.Wall <= 0 || c.Leased.Wall <= 0 || c.Backup.Wall <= 0 {
			t.Errorf("%+v", c)
		}
	})
	if err != nil || rounds != 2 {
		t.Errorf("%d rounds, %v", rounds, err)
	}
}

// slowCopy is a tool that reads as slowly as if it had to wait for somebody, and says nothing.
type slowCopy struct{}

func (slowCopy) Name() string { return "slow copy" }

func (slowCopy) Backup(ctx context.Context, repo, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() && path == filepath.Join(dir, "m") {
			return fs.SkipDir
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		to := filepath.Join(repo, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if err := copySlowly(path, to); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func copySlowly(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	for {
		time.Sleep(20 * time.Millisecond) // no synchronisation: it is slow
		if _, err := io.CopyN(out, in, 64<<10); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (slowCopy) Restore(ctx context.Context, repo, dir, target string) (string, error) {
	return repo, nil
}

func (slowCopy) Marked(ctx context.Context, repo, dir string) (func(string) bool, error) {
	return func(string) bool { return false }, nil
}

// TestSlowCopyIsCaught proves that the workload does what it is for.
func TestSlowCopyIsCaught(t *testing.T) {
	p := short(t, inuse.Closing())
	p.Still = 0
	for range 20 {
		p.Seed++
		r, err := p.Run(t.Context(), slowCopy{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %+v", p.Seed, r.Findings)
		if r.Torn > 0 && r.Lost+r.Doubled > 0 {
			return
		}
	}
	t.Error("a slow copy was never torn, or never lost what moved")
}
