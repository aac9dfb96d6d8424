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
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// inAnHour is a clock by which every file of a test has rested.
func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// fresh makes a file of two buffers' length, and returns its folder.
func fresh(t testing.TB, dir, name string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, generation(1), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// begin opens a file and reads a part of it.
func begin(t testing.TB, c *live.Capturer, dirfd int, name string, pass live.Pass) *live.File {
	t.Helper()
	f, err := c.Open(t.Context(), dirfd, name, pass)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := io.ReadFull(f, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	return f
}

// end reads on to the end.
func end(t testing.TB, f *live.File) live.Result {
	t.Helper()
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	r, err := f.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// isLeased asks the kernel whether a file may be opened for writing without waiting. It breaks the lease.
func isLeased(t testing.TB, path string) bool {
	t.Helper()
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	} else if err != unix.EWOULDBLOCK {
		t.Fatal(err)
	}
	return err == unix.EWOULDBLOCK
}

// TestWriterDoesNotWait opens files for writing whose reader has stopped reading for good.
func TestWriterDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	path := fresh(t, dir, "file")
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	waits := make([]time.Duration, 300)
	for i := range waits {
		f := begin(t, c, dirfd, "file", live.First)
		start := time.Now()
		file, err := os.OpenFile(path, os.O_WRONLY, 0) // waits until the lease is let go
		waits[i] = time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		// The reader is this goroutine, and hangs in the call above. If the kernel had taken the lease away, after 45 s, it would still be listed as held.
		if f.Leased() {
			t.Fatalf("a writer waited for %v, and nobody let go of the lease", waits[i])
		}
		file.Close()
		if r := end(t, f); !r.Later {
			t.Fatalf("opened for writing, but the result is %+v", r)
		}
		f.Close()
	}
	slices.Sort(waits)
	t.Logf("open for writing waited %v in the middle, %v at most", waits[len(waits)/2], waits[len(waits)-1])
}

// TestManyLeases takes more leases than are given out at once, and opens all the files for writing at once.
func TestManyLeases(t *testing.T) {
	const count, most = 200, 128
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	var files []*live.File
	for i := range count {
		fresh(t, dir, fmt.Sprint(i))
		files = append(files, begin(t, c, dirfd, fmt.Sprint(i), live.First))
	}
	opened := make(chan error)
	for i := range count {
		go func() {
			file, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_WRONLY, 0)
			if err == nil {
				err = file.Close()
			}
			opened <- err
		}()
	}
	for range count {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
	leased := 0
	for _, f := range files {
		if f.Leased() {
			t.Errorf("%s was opened for writing, and nobody let go of its lease", f.Name())
		}
		if r := end(t, f); r.Later && r.Method == snapshot.MethodLease {
			leased++
		} else if r.Method == snapshot.MethodLease {
			t.Errorf("%s was opened for writing and is called %v by lease", f.Name(), r.State)
		}
		f.Close()
	}
	if leased != most {
		t.Errorf("%d leases were held and broken, want %d", leased, most)
	}
	if r := end(t, begin(t, c, dirfd, "0", live.First)); r.Method != snapshot.MethodLease {
		t.Errorf("no lease after all were let go: %+v", r)
	}
}

// TestLeaseIsHeld sees to it that the other tests have something to break.
func TestLeaseIsHeld(t *testing.T) {
	dir := t.TempDir()
	path := fresh(t, dir, "file")
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	f := begin(t, c, dirfd, "file", live.First)
	if !isLeased(t, path) {
		t.Error("no lease while it is read")
	}
	f.Close()
	f = begin(t, c, dirfd, "file", live.First)
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	if isLeased(t, path) {
		t.Error("still leased when all was read")
	}
	f = begin(t, c, dirfd, "file", live.First)
	f.Close()
	if isLeased(t, path) {
		t.Error("still leased after Close")
	}
	f = begin(t, c, dirfd, "file", live.First)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if isLeased(t, path) {
		t.Error("still leased after the Capturer's Close")
	}
	if r := end(t, f); !r.Later {
		t.Errorf("lease lost, but %+v", r)
	}
}

// TestChangesUnderLease makes changes that don't break a lease.
func TestChangesUnderLease(t *testing.T) {
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	for _, k := range []struct {
		name   string
		change func(path string) error
		whole  bool
	}{
		{"nothing", func(string) error { return nil }, true},
		{"chmod", func(path string) error { return os.Chmod(path, 0o600) }, true},
		{"rename", func(path string) error { return os.Rename(path, path+"2") }, true},
		{"remove", os.Remove, true},
		{"touch", func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) }, false},
		{"empty", func(path string) error {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_TRUNC, 0)
			return errors.Join(err, unix.Close(fd))
		}, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			path := fresh(t, dir, k.name)
			f := begin(t, c, dirfd, k.name, live.First)
			if err := k.change(path); err != nil {
				t.Fatal(err)
			}
			r := end(t, f)
			if r.Method != snapshot.MethodLease || r.Later == k.whole || r.State != snapshot.Whole {
				t.Errorf("%+v", r)
			}
			if k.name == "chmod" && r.Stat.Mode&0o777 != 0o600 {
				t.Errorf("mode %o is the one before", r.Stat.Mode)
			}
		})
	}
}

// TestBrokenInSecondPass goes on with another rung when the lease breaks and there is no later.
func TestBrokenInSecondPass(t *testing.T) {
	dir := t.TempDir()
	path := fresh(t, dir, "file")
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	f := begin(t, c, dirfd, "file", live.Second)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := end(t, f)
	if !r.Again || r.Pause <= 0 {
		t.Fatalf("broken, but %+v", r)
	}
	if err := f.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil || string(data) != string(generation(1)) {
		t.Fatalf("read %d bytes: %v", len(data), err)
	}
	if r, err := f.Finish(t.Context()); err != nil || r.State != snapshot.Whole || r.Method != snapshot.MethodStable {
		t.Errorf("%+v, %v", r, err)
	}
}

// hold is the program that is stopped: it holds a lease, and asks for another one after being told.
func hold(path string) error {
	c, err := live.New(live.Options{Now: inAnHour})
	if err != nil {
		return err
	}
	defer c.Close()
	dirfd, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for word := "ready"; ; word = "held" {
		f, err := c.Open(context.Background(), dirfd, filepath.Base(path), live.First)
		if err != nil {
			return err
		}
		fmt.Println(word)
		more := in.Scan()
		if more {
			if _, err := io.Copy(io.Discard, f); err != nil {
				return err
			}
			r, err := f.Finish(context.Background())
			if err != nil {
				return err
			}
			fmt.Println(r.Method, r.Later)
		}
		f.Close()
		if !more {
			return nil
		}
	}
}

// TestStopFromKeyboard stops a program that holds a lease. Nobody may wait for it.
func TestStopFromKeyboard(t *testing.T) {
	path := fresh(t, t.TempDir(), "file")
	p := startRole(t, "hold "+path)
	pid := p.cmd.Process.Pid
	if err := unix.Kill(pid, unix.SIGTSTP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if isLeased(t, path) {
		t.Error("a stopped program holds a lease")
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.tell("finish")
	if got := p.hear(); got != "lease true" {
		t.Errorf("the lease that was let go: %s", got)
	}
	for rounds := 0; ; rounds++ { // it may take a moment until leases are given out again
		if got := p.hear(); got != "held" {
			t.Fatalf("said %q", got)
		}
		p.tell("finish")
		if got := p.hear(); got == "lease false" {
			break
		} else if got != "stable false" || rounds > 1_000_000 {
			t.Fatalf("after being continued: %s", got)
		}
	}
	if got := p.hear(); got != "held" {
		t.Errorf("said %q", got)
	}
}

// captureOnce is a plain user's program.
func captureOnce(path string) error {
	c, err := live.New(live.Options{Now: inAnHour})
	if err != nil {
		return err
	}
	defer c.Close()
	dirfd, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	data, r, err := capture(context.Background(), c, dirfd, filepath.Base(path), live.Second)
	if err != nil {
		return err
	}
	fmt.Println(r.State, r.Method, len(data))
	return nil
}

// TestPlainUser captures the file of somebody else, and one's own.
func TestPlainUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root: run the test with sudo")
	}
	dir := mount(t, "ext4")
	if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil { // the folder of t.TempDir
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program") // the test's own may lie where others can't reach it
	data, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(program, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := os.Chown(fresh(t, dir, "own"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	fresh(t, dir, "other")
	for name, want := range map[string]string{"own": "whole lease", "other": "whole stable"} {
		cmd := exec.Command(program)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), roleEnv+"=capture "+name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %s %v, want %s", name, out, err, want)
		}
	}
}
