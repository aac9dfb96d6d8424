//go:build linux

package fssnaptest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// Repository is the short repository id of all requests made here.
const Repository = "0badcafe"

// NewRequest asks for a snapshot of what holds dir, for a session of its own.
func NewRequest(t testing.TB, dir string) fssnap.Request {
	t.Helper()
	mounts, err := fssnap.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	m, ok := fssnap.Find(mounts, dir)
	if !ok {
		t.Fatalf("%s is in no mount", dir)
	}
	session := make([]byte, 16)
	rand.Read(session)
	return fssnap.Request{Mount: m, Dir: dir, Repository: Repository, Session: hex.EncodeToString(session)}
}

// Take takes a snapshot of what holds dir, and releases it at the end of the test if the test did not.
func Take(t testing.TB, p fssnap.Provider, dir string) fssnap.Snapshot {
	t.Helper()
	s, err := p.Take(t.Context(), NewRequest(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Leftovers lists what a provider thinks was left over by requests made here, on the file system that holds dir. Backups may run
// on other file systems meanwhile, as those of other packages' tests do.
func Leftovers(t testing.TB, p fssnap.Provider, dir string) []fssnap.Leftover {
	t.Helper()
	mounts, err := fssnap.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	device := NewRequest(t, dir).Mount.Device
	mounts = slices.DeleteFunc(mounts, func(m fssnap.Mount) bool { return m.Device != device })
	list, err := p.Leftovers(t.Context(), mounts)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(l fssnap.Leftover) bool { return l.Name.Repository != Repository })
}

// Holds tests that a snapshot of the file system around dir, an empty folder, shows what was there and not what came later, under the
// user's own names, and that nothing of it is there after it was released.
func Holds(t *testing.T, p fssnap.Provider, dir string) {
	sub := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(sub, "old\nname")
	write(t, file, "before")
	s := Take(t, p, dir)
	write(t, file, "after!")
	write(t, filepath.Join(sub, "new"), "new")

	held, ok := s.Path(file)
	if !ok {
		t.Fatalf("%s is not in the snapshot", file)
	}
	if data, err := os.ReadFile(held); err != nil || string(data) != "before" {
		t.Errorf("the snapshot holds %q, %v", data, err)
	}
	if inode(t, held) != inode(t, file) {
		t.Error("the inode number differs from the live file's")
	}
	if err := os.WriteFile(held, nil, 0o644); err == nil {
		t.Error("the snapshot can be written to")
	}
	folder, _ := s.Path(sub)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want one file", entries, err)
	}
	point := NewRequest(t, dir).Mount.Point
	for _, outside := range []string{"/", filepath.Dir(point), point + "x", point + "x/y"} {
		if got, ok := s.Path(outside); ok {
			t.Errorf("%s is outside, but found at %s", outside, got)
		}
	}
	if err := s.Valid(t.Context()); err != nil {
		t.Error(err)
	}
	if list := Leftovers(t, p, dir); len(list) != 1 || list[0].Life != fssnap.Alive || list[0].Remove(t.Context()) == nil {
		t.Errorf("a snapshot in use is to be listed and kept: %+v", list)
	}
	for range 2 {
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(held); err == nil {
		t.Error("the file in the snapshot is still there")
	}
	if list := Leftovers(t, p, dir); len(list) > 0 {
		t.Errorf("left over: %+v", list)
	}
}

// Still tests by runs snapshots that writers in dir are held still: nothing torn among what the snapshot vouches for, nothing
// that moves lost or doubled.
func Still(t *testing.T, p fssnap.Provider, w Writers, runs int) (sum Counts) {
	t.Helper()
	stop := w.Start(t)
	defer stop()
	for range runs {
		s, err := p.Take(t.Context(), NewRequest(t, w.Dir))
		if err != nil {
			t.Fatal(err)
		}
		held, ok := s.Path(w.Dir)
		if !ok {
			t.Fatalf("%s is not in the snapshot", w.Dir)
		}
		sum.Add(w.Check(t, held, s.Exact))
		if err := s.Valid(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d snapshots, seed %d: %v", runs, w.Seed, sum)
	sum.Fail(t)
	return sum
}

// holdVariable names the folder that a child process is to hold.
const holdVariable = "FSSNAPTEST_HOLD"

// Child is to be called first by the test that Kill starts again in a process of its own. It returns at once in the parent. In
// the child it takes and releases snapshots over and over, and never returns.
func Child(t *testing.T, p fssnap.Provider) {
	t.Helper()
	dir := os.Getenv(holdVariable)
	if dir == "" {
		return
	}
	for {
		fmt.Println("@taking")
		s, err := p.Take(t.Context(), NewRequest(t, dir))
		if err != nil {
			fmt.Println("@error", err)
			os.Exit(1)
		}
		fmt.Println("@held")
		if err := s.Release(t.Context()); err != nil {
			fmt.Println("@error", err)
			os.Exit(1)
		}
	}
}

// Kill runs the calling test in a child process, which takes and releases snapshots of what holds dir, and kills the child when
// wait returns, which is called when the child has said one to four times, chosen by n, that it takes or holds a snapshot.
func Kill(t *testing.T, dir string, n int, wait func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), holdVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; seen <= n%4; {
		if !lines.Scan() {
			t.Fatal("the child ended by itself")
		}
		if strings.HasPrefix(lines.Text(), "@error") {
			t.Fatal(lines.Text())
		}
		if strings.HasPrefix(lines.Text(), "@") {
			seen++
		}
	}
	wait()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, out)
	cmd.Wait()
}

// Kills is how often a test kills: TARN_TEST_KILLS, or the number given.
func Kills(t testing.TB, usually int) int {
	t.Helper()
	text, ok := os.LookupEnv("TARN_TEST_KILLS")
	if !ok {
		return usually
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Clean removes all leftovers on the file system that holds dir as the next backup does, and fails if any is doubted, or is still
// there afterwards. It returns how many there were.
func Clean(t *testing.T, p fssnap.Provider, dir string) int {
	t.Helper()
	list := Leftovers(t, p, dir)
	for _, l := range list {
		if l.Life != fssnap.Gone {
			t.Errorf("%s: its maker was killed, but is taken to be %v", l.Where, l.Life)
		}
		if err := l.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if rest := Leftovers(t, p, dir); len(rest) > 0 {
		t.Errorf("still there after the clean-up: %+v", rest)
	}
	return len(list)
}

// Quiet waits until no program runs whose name begins so: one that the killed process had started goes on by itself, and must be let to.
func Quiet(t *testing.T, prefix string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 5*time.Minute; time.Sleep(20 * time.Millisecond) { // polling: there is no event to wait for
		busy := false
		stats, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, path := range stats {
			name, _ := os.ReadFile(path)
			busy = busy || strings.HasPrefix(string(name), prefix) && !strings.Contains(string(name), ".test")
		}
		if !busy {
			return
		}
	}
	t.Fatalf("%s does not end", prefix)
}

// Program skips the test if a program is missing, and says what installs it.
func Program(t testing.TB, name, packages string) {
	t.Helper()
	if _, err := fssnap.LookPath(name); err != nil {
		t.Skipf("no %s: apt-get install %s", name, packages)
	}
}

// Run runs a program and fails the test if the program fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := fssnap.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Unmount unmounts a file system as soon as the last program has left it. Some of a server's go a moment after the server, and any backup on this
// machine, such as another package's test makes, looks for leftovers on all mounts of Btrfs.
func Unmount(t testing.TB, point string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) { // polling: there is no event to wait for
		err := unix.Unmount(point, 0)
		if err == nil {
			return
		}
		if err != unix.EBUSY || time.Since(began) > 2*time.Minute {
			users, _ := exec.Command("fuser", "-vm", point).CombinedOutput() // which may not be there
			t.Errorf("unmount %s: %v: %s", point, err, users)
			_ = unix.Unmount(point, unix.MNT_DETACH)
			return
		}
	}
}

// Names lists the entries of a folder.
func Names(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
