package main

import (
	"bufio"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestInterruptedWhileItOpens has a repository that does not come to be open, since nobody writes to the pipe that its password is to come from: the program
// says after the first SIGINT what it waits for, and ends at the second.
func TestInterruptedWhileItOpens(t *testing.T) {
	repository, pipe := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "pipe")
	c := newClient(t, repository)
	c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := c.command("snapshots", "--password-file", pipe)
	told, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // when the program has opened it, too
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
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
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", cmd.ProcessState, exitInterrupted)
	}
}
