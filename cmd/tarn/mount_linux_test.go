package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tarn-backup/tarn/testing/servers"
)

// served is "tarn mount" at work.
type served struct {
	cmd  *exec.Cmd
	dir  string
	told bytes.Buffer // on standard error; complete when it has ended
}

// mount begins to serve the client's repository, and returns when that is ready.
func (c *client) mount(args ...string) *served {
	c.t.Helper()
	if os.Geteuid() != 0 {
		c.t.Skip("mounting without fusermount3 needs root: sudo go test ./cmd/tarn")
	}
	s := &served{dir: filepath.Join(c.t.TempDir(), "mnt")}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	s.cmd = c.command(append(args, "mount", s.dir)...)
	s.cmd.Stderr = &s.told
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { // if the test failed before it ended
		_ = s.cmd.Process.Kill()
		_ = syscall.Unmount(s.dir, syscall.MNT_DETACH)
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "mounted on ") {
		c.t.Fatalf("mount: %q, %v", line, err)
	}
	return s
}

// end ends it by a signal, and wants nothing to be left.
func (s *served) end(t *testing.T, by os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(by); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the mount ended by %v: %v\n%s", by, err, s.told.String())
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), " "+s.dir+" ") {
		t.Errorf("%s is still mounted, %v", s.dir, err)
	}
}

// large is the large file of a round in a mount; its metadata is asked for here.
func (c *client) large(s *served, round int) string {
	c.t.Helper()
	at := fmt.Sprintf("%s/snapshots/latest%s/round-%03d/large", s.dir, c.source, round)
	if _, err := os.Stat(at); err != nil {
		c.t.Fatal(err)
	}
	return at
}

// sameLarge compares that file with the source.
func (c *client) sameLarge(at string, round int) {
	c.t.Helper()
	want, err := os.ReadFile(fmt.Sprintf("%s/round-%03d/large", c.source, round))
	if err != nil {
		c.t.Fatal(err)
	}
	if got, err := os.ReadFile(at); err != nil || !bytes.Equal(got, want) {
		c.t.Errorf("%s: %d bytes, %v, want %d", at, len(got), err, len(want))
	}
}

// TestMountOfLostServer reads from a mount whose server dies: while it comes back a reader waits; if it stays away for longer than it is tried again the
// reader gets an error, and the next one its file; a server that says nothing can be interrupted, and so can the mount.
func TestMountOfLostServer(t *testing.T) {
	server := servers.StartS3(t)
	proxy := servers.StartBad(t, server.Addr, servers.Faults{})
	c := newClient(t, fmt.Sprintf("s3:http://%s/%s/repo", proxy.Addr, server.Bucket), s3Env(server)...)
	c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	rng, _ := seeded(t)
	for round := range 4 {
		grow(t, rng, c.source, round)
	}
	c.must("backup", c.source)
	s := c.mount()
	at := c.large(s, 0)
	server.Kill()
	asked := make(chan struct{}, 1)
	tell := func(int) {
		select {
		case asked <- struct{}{}:
		default:
		}
	}
	proxy.At(tell)
	back := make(chan struct{})
	go func() {
		defer close(back)
		<-asked
		server.Restart(t)
	}()
	c.sameLarge(at, 0)
	<-back
	proxy.At(nil)

	at = c.large(s, 1)
	if err := syscall.Kill(server.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	proxy.At(tell)
	reader := exec.Command("cat", at)
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	_ = reader.Process.Signal(syscall.SIGTERM) // SIGINT is ignored by what a shell without a terminal runs in the background
	var exit *exec.ExitError
	if err := reader.Wait(); !errors.As(err, &exit) {
		t.Errorf("a reader of a server that says nothing, interrupted: %v", err)
	}
	s.end(t, syscall.SIGTERM)
	if err := syscall.Kill(server.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	proxy.At(nil)
	s = c.mount("--retry-for", "1s")
	lost, other := c.large(s, 2), c.large(s, 3)
	server.Kill()
	if _, err := os.ReadFile(lost); !errors.Is(err, syscall.EIO) {
		t.Errorf("a server that stays away: %v, want EIO", err)
	}
	server.Restart(t)
	c.sameLarge(other, 3)
	s.end(t, os.Interrupt)
	if !strings.Contains(s.told.String(), "round-002/large: ") {
		t.Errorf("what could not be read was not told of: %s", s.told.String())
	}
}

// TestMountKilled leaves a mount without its program, which "tarn umount" removes.
func TestMountKilled(t *testing.T) {
	c := newClient(t, filepath.Join(t.TempDir(), "repo"))
	c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	s := c.mount()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if out, err := c.run("mount", s.dir); err == nil || !strings.Contains(out, "a mount is there whose program is gone\nhint: \"tarn umount ") {
		t.Errorf("a mount on what was left: %v\n%s", err, out)
	}
	c.must("umount", s.dir)
	if names, err := os.ReadDir(s.dir); len(names) > 0 || err != nil {
		t.Errorf("%s has %v, %v", s.dir, names, err)
	}
}

// TestHundredReaders ends a mount by SIGTERM while a hundred programs read from it.
func TestHundredReaders(t *testing.T) {
	c := newClient(t, filepath.Join(t.TempDir(), "repo"))
	c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	rng, _ := seeded(t)
	grow(t, rng, c.source, 0)
	c.must("backup", c.source)
	s := c.mount()
	const readers = 100
	ended := make(chan error, readers)
	for range readers {
		// Each says that it has begun, and reads, past the page cache, until it can't.
		cmd := exec.Command("sh", "-c", `exec <"$1"; echo; while dd bs=64k iflag=direct status=none of=/dev/null && exec <"$1"; do :; done`, "sh",
			fmt.Sprintf("%s/snapshots/latest%s/round-000/large", s.dir, c.source))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- cmd.Wait() }()
	}
	s.end(t, syscall.SIGTERM)
	for range readers {
		<-ended
	}
	told := s.told.String()
	if !strings.Contains(told, "is in use by ") || !strings.Contains(told, " more, who will get errors") || !strings.HasSuffix(told, "unmounted\n") ||
		strings.Count(told, "\n") != 2 {
		t.Errorf("it said:\n%s", told)
	}
}
