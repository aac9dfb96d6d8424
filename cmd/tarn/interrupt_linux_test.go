package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// hung is the root of a file system that does not answer until it goes on.
type hung struct {
	fs.Inode
	asked, goesOn chan struct{}
	once          sync.Once
}

func (h *hung) Lookup(context.Context, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	h.once.Do(func() { close(h.asked) })
	<-h.goesOn
	return nil, syscall.EIO
}

// TestInterruptedWhileItOpens has a repository on a file system that hangs: the program says after the first SIGINT what it waits for, and ends at the second.
func TestInterruptedWhileItOpens(t *testing.T) {
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		t.Skip("mounting without fusermount3 needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no FUSE here: modprobe fuse")
	}
	root, dir := &hung{asked: make(chan struct{}), goesOn: make(chan struct{})}, t.TempDir()
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: os.Geteuid() == 0}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Unmount()
	goOn := sync.OnceFunc(func() { close(root.goesOn) })
	defer goOn()
	repository := filepath.Join(dir, "repo")
	cmd := newClient(t, repository).command("snapshots")
	told, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	<-root.asked
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(told).ReadString('\n')
	if want := "interrupted: waiting for " + repository + " to open; interrupt again to stop at once\n"; line != want {
		t.Errorf("said %q, %v, want %q", line, err, want)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	goOn() // before, the kernel lets no thread end that waits for the server
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", cmd.ProcessState, exitInterrupted)
	}
}
