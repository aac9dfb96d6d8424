package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestKilledBackups kills backups at seeded moments, each with SIGKILL. After every one the repository must check clean without
// repair, and the next backup must succeed and restore. TARN_SOAK=1 makes it 200 kills.
func TestKilledBackups(t *testing.T) {
	kills := 12
	if os.Getenv("TARN_SOAK") != "" {
		kills = 200
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	bin := filepath.Join(dir, "tarn")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	grow(t, rng, source, 0)
	env := append(os.Environ(), "TARN_PASSWORD=kill", "TARN_REPOSITORY="+filepath.Join(dir, "repo"), "XDG_CACHE_HOME="+dir, "XDG_STATE_HOME="+dir)
	run := func(args ...string) (string, error) {
		cmd := exec.Command(bin, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) {
		t.Helper()
		if out, err := run(args...); err != nil {
			t.Fatalf("tarn %v: %v\n%s", args, err, out)
		}
	}
	must("init")
	begin := time.Now()
	must("backup", source)
	whole := time.Since(begin)
	killed := 0
	for i := 0; i < kills || killed == 0 && i < 10*kills; i++ {
		grow(t, rng, source, i+1)
		cmd := exec.Command(bin, "backup", source)
		cmd.Env = env
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(rng.Int64N(int64(whole))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			killed++
		} else if err != nil {
			t.Fatalf("backup %d: %v\n%s", i, err, out.String())
		} else {
			whole = time.Since(begin) // the machine may be faster or slower now
		}
		must("check", "--read-data")
	}
	must("backup", source)
	must("check", "--read-data")
	must("restore", "latest:"+source, "--target", target)
	if out, err := exec.Command("diff", "-r", source, target).CombinedOutput(); err != nil {
		t.Fatalf("the restored folder differs: %v\n%s", err, out)
	}
	t.Logf("%d of %d backups were killed before they ended by themselves", killed, kills)
	if killed == 0 {
		t.Error("no backup was killed: the test proved nothing")
	}
}

// grow adds files to a folder: small ones, and one of some MiB that can't be compressed.
func grow(t *testing.T, rng *rand.Rand, dir string, round int) { growBy(t, rng, dir, round, 12<<20) }

// growBy is grow with a large file of at most so many bytes.
func growBy(t *testing.T, rng *rand.Rand, dir string, round, large int) {
	t.Helper()
	sub := filepath.Join(dir, fmt.Sprintf("round-%03d", round))
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, size int) {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		if err := os.WriteFile(filepath.Join(sub, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		write(fmt.Sprintf("small-%d", i), rng.IntN(20000))
	}
	write("large", large/3+rng.IntN(large-large/3))
}
