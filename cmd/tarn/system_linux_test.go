package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// builtTarn is a tarn that is built for the test, and a repository.
type builtTarn struct {
	t    *testing.T
	path string
	env  []string
	as   *syscall.SysProcAttr
}

// newProgram builds tarn and makes a repository. TARN_TEST_PROGRAM names one that is built already, for machines without Go.
func newProgram(t *testing.T) *builtTarn {
	t.Helper()
	dir := t.TempDir()
	p := &builtTarn{t: t, path: os.Getenv("TARN_TEST_PROGRAM")}
	if p.path == "" {
		p.path = filepath.Join(dir, "tarn")
		if out, err := exec.Command("go", "build", "-o", p.path, ".").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	p.env = append(os.Environ(), "TARN_PASSWORD=secret", "TARN_REPOSITORY="+filepath.Join(dir, "repo"), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	p.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	return p
}

func (p *builtTarn) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), p.path, args...)
	cmd.Env, cmd.SysProcAttr = p.env, p.as
	if p.as != nil {
		cmd.Dir = "/" // he may not enter this one
	}
	return cmd
}

// age waits until nothing below a folder was changed within the time that counts as just now. Nothing can make a ctime older.
func age(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			st := info.Sys().(*syscall.Stat_t)
			time.Sleep(time.Until(time.Unix(st.Ctim.Unix()).Add(2200 * time.Millisecond)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// must runs tarn and returns what it said.
func (p *builtTarn) must(args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tarn %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// btrfsDisk mounts a new Btrfs on a loop device, at a place that other users may enter.
func btrfsDisk(t *testing.T, size int64, options ...string) string {
	t.Helper()
	if !fssnap.Root() {
		t.Skip("needs root to mount a loop device: sudo -E go test ./cmd/tarn")
	}
	fssnaptest.Program(t, "mkfs.btrfs", "btrfs-progs")
	dir, err := os.MkdirTemp("", "tarn-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	image, point := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, size), os.Mkdir(point, 0o755)); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Run(t, "mkfs.btrfs", "-q", image)
	if out, err := exec.Command("mount", "-o", strings.Join(append(options, "loop"), ","), image, point).CombinedOutput(); err != nil {
		t.Skipf("this kernel mounts no Btrfs on a loop device: %s", out)
	}
	t.Cleanup(func() { fssnaptest.Unmount(t, point) })
	return point
}
