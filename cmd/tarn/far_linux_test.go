package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/testing/servers"
)

// client runs tarn as a program, with one repository.
type client struct {
	t      *testing.T
	bin    string
	source string
	env    []string
	args   []string // before each command
}

func newClient(t *testing.T, repository string, env ...string) *client {
	t.Helper()
	dir := t.TempDir()
	c := &client{t: t, source: filepath.Join(dir, "source")}
	var err error
	if c.bin, err = exec.LookPath("tarn"); err != nil { // this very binary, see TestMain
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "TARN_PASSWORD=far", "TARN_REPOSITORY="+repository, "TARN_CACHE_DIR="+filepath.Join(dir, "cache"), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	c.env = append(c.env, env...)
	return c
}

func (c *client) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.bin, append(append([]string{}, c.args...), args...)...)
	cmd.Env = c.env
	return cmd
}

func (c *client) run(args ...string) (string, error) {
	out, err := c.command(args...).CombinedOutput()
	return string(out), err
}

func (c *client) must(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("tarn %v: %v\n%s", args, err, out)
	}
	return out
}

// restores proves that the newest snapshot has the source.
func (c *client) restores() {
	c.t.Helper()
	target := filepath.Join(c.t.TempDir(), "target")
	c.must("restore", "latest:"+c.source, "--target", target)
	if out, err := exec.Command("diff", "-r", c.source, target).CombinedOutput(); err != nil {
		c.t.Fatalf("the restored folder differs: %v\n%s", err, out)
	}
}

// seeded returns a source of chance, and logs its seed.
func seeded(t *testing.T) (*rand.Rand, uint64) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1)), seed
}

func s3Env(s *servers.S3) []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey}
}

// TestBadServer has requests fail in each of the ways in which they do. All backups must succeed, with at most three times the requests of
// a good day on the average, and leave a repository that checks clean and restores.
func TestBadServer(t *testing.T) {
	rng, seed := seeded(t)
	server := servers.StartS3(t)
	proxy := servers.StartBad(t, server.Addr, servers.Faults{})
	for _, f := range []struct {
		name string
		servers.Faults
	}{
		{"503 for 10 %", servers.Faults{Unavailable: 0.1}},
		{"503 for 50 %", servers.Faults{Unavailable: 0.5}},
		{"cut connections", servers.Faults{Cut: 0.25, RowMax: 3}},
		{"lost answers", servers.Faults{Lost: 0.25, RowMax: 3}},
		{"all of it", servers.Faults{Unavailable: 0.1, Cut: 0.1, Lost: 0.1, RowMax: 3}},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := newClient(t, fmt.Sprintf("s3:http://%s/%s/%s", proxy.Addr, server.Bucket, strings.NewReplacer(" ", "-", "%", "p").Replace(f.name)), s3Env(server)...)
			proxy.Set(servers.Faults{})
			c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
			var good, all, bad, spoilt int
			// The first without faults, to compare with; more than four only if chance wants it so.
			for round := 0; round < 4 || round < 12 && (spoilt == 0 || all > 3*bad*good); round++ {
				grow(t, rng, c.source, round)
				f.Seed = seed + uint64(round)
				if round == 0 {
					proxy.Set(servers.Faults{})
				} else {
					proxy.Set(f.Faults)
				}
				out := c.must("backup", c.source)
				_, n, wrong := proxy.Requests()
				if round == 0 {
					good = n
				} else {
					all, bad, spoilt = all+n, bad+1, spoilt+wrong
				}
				if !strings.Contains(out, "every file whole") {
					t.Errorf("round %d: %s", round, out)
				}
			}
			t.Logf("%d requests on a good day, %d on a bad one; %d of %d spoilt", good, all/bad, spoilt, all)
			if all > 3*bad*good {
				t.Errorf("%d requests for %d backups, where %d would do without faults", all, bad, bad*good)
			}
			if spoilt == 0 {
				t.Error("nothing went wrong: the test proved nothing")
			}
			proxy.Set(servers.Faults{})
			c.must("check", "--read-data")
			proxy.Set(f.Faults)
			c.restores()
		})
	}
}

// TestServerRestarted kills the server in the middle of backups, and starts it again a moment later.
func TestServerRestarted(t *testing.T) {
	rng, _ := seeded(t)
	server := servers.StartS3(t)
	proxy := servers.StartBad(t, server.Addr, servers.Faults{})
	c := newClient(t, fmt.Sprintf("s3:http://%s/%s/repo", proxy.Addr, server.Bucket), s3Env(server)...)
	c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	for round := range 4 {
		grow(t, rng, c.source, round)
		at, down := 2+rng.IntN(11), make(chan struct{}) // a server that has never answered is given up after seconds, and this one may need more
		proxy.Set(servers.Faults{})
		proxy.At(func(n int) {
			if n == at {
				server.Kill()
				close(down)
			}
		})
		restarted := make(chan struct{})
		go func() {
			defer close(restarted)
			<-down
			server.Restart(t)
		}()
		out, err := c.run("backup", c.source)
		select {
		case <-down:
		default:
			close(down) // the backup made fewer requests
		}
		<-restarted
		if err != nil {
			t.Fatalf("killed at request %d: %v\n%s", at, err, out)
		}
		proxy.At(nil)
		c.must("check", "--read-data")
	}
	c.restores()
}

// children returns the processes that a process started, and those that they did.
func children(pid int) (all []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // one that is gone has none
	for _, field := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(field); err == nil {
			all = append(append(all, n), children(n)...)
		}
	}
	return all
}

// TestKilledConnections kills sshd's side of the connection at seeded moments of backups, each of which must succeed. TARN_SOAK=1 makes it 100.
func TestKilledConnections(t *testing.T) {
	const large = 3 << 20 // bytes of a file, which are enough to be hit on their way
	moments := 8
	if os.Getenv("TARN_SOAK") != "" {
		moments = 100
	}
	rng, _ := seeded(t)
	server := servers.StartSSHD(t)
	c := newClient(t, fmt.Sprintf("sftp://127.0.0.1:%s/%s", server.Port, filepath.Join(t.TempDir(), "repo")))
	c.args = []string{"-o", "sftp.args=" + strings.Join(server.Args, " ")}
	c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	growBy(t, rng, c.source, 0, large)
	begin := time.Now()
	c.must("backup", c.source)
	whole := time.Since(begin)
	killed, refused := 0, 0
	for i := 0; i < moments || killed == 0; {
		if refused+i > 10*moments {
			t.Fatalf("%d processes killed in %d backups, %d of which gave up", killed, refused+i, refused)
		}
		growBy(t, rng, c.source, i+1, large)
		if i > 8 {
			if err := os.RemoveAll(filepath.Join(c.source, fmt.Sprintf("round-%03d", i-8))); err != nil {
				t.Fatal(err)
			}
		}
		hit, ended := 0, make(chan struct{})
		timer := time.AfterFunc(time.Duration(rng.Int64N(int64(whole))), func() {
			defer close(ended)
			for _, pid := range children(server.PID()) {
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					hit++
				}
			}
		})
		begin := time.Now()
		out, err := c.run("backup", c.source)
		if !timer.Stop() {
			<-ended
		}
		// Before the store has been opened there is nothing to go on with: an error will do, and another moment is tried.
		if err != nil && !strings.Contains(out, "ssh to 127.0.0.1: ") {
			t.Fatalf("backup %d: %v\n%s", i, err, out)
		}
		if err != nil {
			refused++
			t.Logf("backup %d: %s", i, out)
			continue
		}
		if killed += hit; hit == 0 {
			whole = time.Since(begin) // the machine may be faster or slower now
		}
		if i++; i%4 == 0 {
			c.must("check", "--read-data")
		}
	}
	t.Logf("%d processes killed in %d backups, and %d gave up", killed, moments, refused)
	c.must("backup", c.source)
	c.must("check", "--read-data")
	c.restores()
}

// TestFullRemoteDisk fills the disks of servers: a clear error, a repository that checks clean, and a backup that goes on when there is room.
func TestFullRemoteDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small tmpfs")
	}
	disk := func(t *testing.T) (path string, grow func()) {
		path = t.TempDir()
		mount := func(options string) {
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", path).CombinedOutput(); err != nil {
				t.Fatalf("mount: %v\n%s", err, out)
			}
		}
		mount("size=24m")
		t.Cleanup(func() { exec.Command("umount", "-l", path).Run() })
		return path, func() { mount("remount,size=200m") }
	}
	fill := func(t *testing.T, c *client, grow func()) {
		rng, _ := seeded(t)
		c.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
		big := make([]byte, 48<<20)
		for i := range big {
			big[i] = byte(rng.Uint32())
		}
		if err := os.MkdirAll(c.source, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.source, "small"), big[:1000], 0o644); err != nil {
			t.Fatal(err)
		}
		c.must("backup", c.source)
		if err := os.WriteFile(filepath.Join(c.source, "big"), big, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := c.run("--retry-for", "3s", "backup", c.source)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(out, "is full") {
			t.Fatalf("got %v\n%s", err, out)
		}
		t.Log(strings.TrimSpace(out))
		c.must("check", "--read-data")
		grow()
		c.must("backup", c.source)
		c.must("check", "--read-data")
		c.restores()
	}
	t.Run("sftp", func(t *testing.T) {
		path, grow := disk(t)
		server := servers.StartSSHD(t)
		c := newClient(t, fmt.Sprintf("sftp://127.0.0.1:%s/%s", server.Port, filepath.Join(path, "repo")))
		c.args = []string{"-o", "sftp.args=" + strings.Join(server.Args, " ")}
		fill(t, c, grow)
	})
	t.Run("rest", func(t *testing.T) {
		path, grow := disk(t)
		server := servers.StartREST(t, "--path", path)
		fill(t, newClient(t, "rest:http://"+server.Addr+"/repo"), grow)
	})
}

// TestNoSecrets looks for passwords in what tarn prints, and in the list of processes.
func TestNoSecrets(t *testing.T) {
	server := servers.StartS3(t)
	proxy := servers.StartBad(t, server.Addr, servers.Faults{Unavailable: 1})
	c := newClient(t, fmt.Sprintf("s3:http://%s/%s/repo", proxy.Addr, server.Bucket), s3Env(server)...)
	c.args = []string{"--retry-for", "1s"} // the server is never well
	var out bytes.Buffer
	for _, args := range [][]string{{"init"}, {"snapshots", "--verbose"}, {"check", "--json"}} {
		cmd := c.command(args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err == nil {
			t.Errorf("tarn %v succeeded", args)
		}
	}
	for _, secret := range []string{server.SecretKey, "far\n", "Authorization"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in what it prints:\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "503") {
		t.Errorf("it does not say what went wrong:\n%s", out.String())
	}
}

// TestTwoMachinesAndAPruner has two machines back up to a bucket while a third forgets and prunes, each a process with a cache of its own, over a
// server that fails now and then. After each round the repository must check clean. TARN_SOAK=1 makes it 200 rounds.
func TestTwoMachinesAndAPruner(t *testing.T) {
	const large = 1 << 20 // bytes of a file: what counts is how often they meet
	rounds := 4
	if os.Getenv("TARN_SOAK") != "" {
		rounds = 200
	}
	rng, seed := seeded(t)
	server := servers.StartS3(t)
	proxy := servers.StartBad(t, server.Addr, servers.Faults{Seed: seed, Unavailable: 0.03, Lost: 0.03})
	repository := fmt.Sprintf("s3:http://%s/%s/repo", proxy.Addr, server.Bucket)
	machine := func() *client { return newClient(t, repository, s3Env(server)...) }
	a, b, pruner := machine(), machine(), machine()
	pruner.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
	shared := rand.New(rand.NewPCG(seed, 2)) // both have files that the other has, so that they refer to each other's packs
	twin := rand.New(rand.NewPCG(seed, 2))
	for round := range rounds {
		growBy(t, shared, a.source, round%5, large)
		growBy(t, twin, b.source, round%5, large)
		growBy(t, rng, filepath.Join(a.source, "own"), round%3, large)
		done := make(chan error, 3)
		start := func(c *client, args ...string) {
			go func() {
				out, err := c.run(args...)
				if err != nil {
					err = fmt.Errorf("tarn %v: %w\n%s", args, err, out)
				}
				done <- err
			}()
		}
		start(a, "backup", "--host", "a", a.source)
		start(b, "backup", "--host", "b", b.source)
		start(pruner, "forget", "--keep-last", "2", "--max-delete", "all", "--prune", "--max-unused", "0")
		var failed error
		for range 3 {
			failed = errors.Join(failed, <-done)
		}
		if failed != nil {
			t.Fatalf("round %d: %v", round, failed)
		}
		if round%10 == 9 || round == rounds-1 || round < 3 {
			pruner.must("check", "--read-data")
		}
	}
	pruner.must("prune", "--max-unused", "0")
	pruner.must("check", "--read-data")
	for _, c := range []struct {
		*client
		host string
	}{{a, "a"}, {b, "b"}} {
		target := filepath.Join(t.TempDir(), "target")
		c.must("restore", "--host", c.host, "latest:"+c.source, "--target", target)
		if out, err := exec.Command("diff", "-r", c.source, target).CombinedOutput(); err != nil {
			t.Errorf("the restored folder of %s differs: %v\n%s", c.host, err, out)
		}
	}
	_, all, spoilt := proxy.Requests()
	t.Logf("%d rounds, %d requests, %d of them spoilt", rounds, all, spoilt)
}
