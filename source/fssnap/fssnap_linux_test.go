package fssnap_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/source/fssnap"
)

func TestLife(t *testing.T) {
	self, err := fssnap.Self()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := fssnap.ParseOwner(self.String()); err != nil || back != self {
		t.Errorf("%+v, %v", back, err)
	}
	if self.Life() != fssnap.Alive {
		t.Errorf("this process is %v", self.Life())
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(o *fssnap.Owner)
		want   fssnap.Life
	}{
		"another boot":      {func(o *fssnap.Owner) { o.Boot = "0" }, fssnap.Gone},
		"another namespace": {func(o *fssnap.Owner) { o.Namespace++ }, fssnap.Unknown},
		"a reused number":   {func(o *fssnap.Owner) { o.Start-- }, fssnap.Gone},
		"an ended process":  {func(o *fssnap.Owner) { o.PID = cmd.Process.Pid }, fssnap.Gone},
	} {
		o := self
		c.change(&o)
		if got := o.Life(); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	for _, bad := range []string{"", "a.b.c.d", "0.1.0.1", "0.1.01.1", "0.1.2", "0.1.2.3.4", "x y.1.2.3", strings.Repeat("0", 200) + ".1.2.3"} {
		if o, err := fssnap.ParseOwner(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, o)
		}
	}
}

// TestZombie: a process that was killed, and that nobody has waited for, has lost all that it held.
func TestZombie(t *testing.T) {
	cmd := exec.Command("cat")
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
	self, err := fssnap.Self()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Read(make([]byte, 1)) // to the end of its output: it exits
	self.PID = cmd.Process.Pid
	for self.Life() == fssnap.Alive { // between its last close and its end
	}
	if got := self.Life(); got != fssnap.Gone {
		t.Errorf("a zombie is %v", got)
	}
	cmd.Wait()
}

func TestMounts(t *testing.T) {
	mounts, err := fssnap.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := fssnap.Find(mounts, "/proc/self"); !ok || m.FSType != "proc" || m.Point != "/proc" || !m.Has("rw") {
		t.Errorf("/proc/self lies in %+v", m)
	}
}

// TestChangeIsNotKilled: a program that changes something gets the time to end in order, whatever the caller's hurry.
func TestChangeIsNotKilled(t *testing.T) {
	dir := t.TempDir()
	ready, done := filepath.Join(dir, "ready"), filepath.Join(dir, "done")
	if out, err := exec.Command("mkfifo", ready).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		os.ReadFile(ready) // until the program has set its trap
		cancel()
	}()
	script := `trap 'echo tidied > ` + done + `; exit 1' TERM; echo > ` + ready + `; while :; do sleep 0.01; done`
	if err := fssnap.Change(ctx, "sh", "-c", script); err == nil {
		t.Error("no error from a program that was interrupted")
	}
	if data, err := os.ReadFile(done); err != nil || string(data) != "tidied\n" {
		t.Errorf("it could not tidy up: %q, %v", data, err)
	}
	if err := fssnap.Change(ctx, "true"); !errors.Is(err, context.Canceled) {
		t.Errorf("begun after the end: %v", err)
	}
	if err := fssnap.Change(t.Context(), "sh", "-c", "echo the reason; exit 3"); err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("the error says %v", err)
	}
}

func TestQueryIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if out, err := exec.Command("mkfifo", ready).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	go func() {
		os.ReadFile(ready)
		cancel()
	}()
	if out, err := fssnap.Query(ctx, "sh", "-c", "trap '' TERM; echo > "+ready+"; while :; do :; done"); err == nil {
		t.Errorf("it ended by itself: %q", out)
	}
}
