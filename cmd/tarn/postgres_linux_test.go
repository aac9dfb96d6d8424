package main

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// cluster is a PostgreSQL cluster in a folder.
type cluster struct {
	t    *testing.T
	bin  string // the folder of its programs
	data string
	as   *syscall.SysProcAttr
}

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.SysProcAttr, cmd.Dir, cmd.Env = c.as, "/", append(os.Environ(), "PGHOST="+filepath.Dir(c.data), "PGUSER=postgres", "LC_ALL=C")
	return cmd
}

func (c *cluster) run(name string, args ...string) string {
	c.t.Helper()
	out, err := c.command(name, args...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(c.log())
		c.t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, log)
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) log() string { return filepath.Join(filepath.Dir(c.data), "log") }

// start starts the server and waits until it has recovered. It listens on a socket beside its folder.
func (c *cluster) start() {
	c.t.Helper()
	c.run("pg_ctl", "-D", c.data, "-w", "-t", "300", "-l", c.log(), "-o", "-c listen_addresses= -k "+filepath.Dir(c.data), "start")
	c.t.Cleanup(func() { c.command("pg_ctl", "-D", c.data, "-m", "immediate", "stop").Run() })
}

// sums are what pgbench keeps equal.
func (c *cluster) sums() string {
	c.t.Helper()
	return c.run("psql", "-d", "postgres", "-AtF", " ", "-c", `select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
		(select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history), (select count(*) from pgbench_history)`)
}

// postgres returns how to run the programs of PostgreSQL, and where they are.
func postgres(t *testing.T) (bin string, as *syscall.SysProcAttr) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
	u, err := user.Lookup("postgres")
	if len(found) == 0 || err != nil {
		t.Skip("no PostgreSQL: apt-get install postgresql")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(found[len(found)-1]), &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// TestPostgres backs up a cluster on Btrfs while pgbench works on it. Each restored cluster must start, recover, and have the same sum of all
// changes in its accounts, tellers, branches and history. TARN_SOAK=1 makes it 10 rounds.
func TestPostgres(t *testing.T) {
	rounds := 2
	if os.Getenv("TARN_SOAK") != "" {
		rounds = 10
	}
	disk := btrfsDisk(t, 4<<30)
	bin, as := postgres(t)
	tarn := newProgram(t)
	home := func(name string) *cluster {
		dir := filepath.Join(disk, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
		return &cluster{t, bin, filepath.Join(dir, "data"), as}
	}
	origin := home("origin")
	origin.run("initdb", "-N", "-D", origin.data, "-A", "trust", "-U", "postgres")
	origin.start()
	origin.run("pgbench", "-i", "-q", "-s", "1", "postgres")
	work := origin.command("pgbench", "-n", "-c", "4", "-T", "3600", "postgres")
	if err := work.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { work.Process.Kill(); work.Wait() })
	// Without a file system snapshot the files are of different moments, and the backup says so.
	said, err := tarn.command("backup", "--fs-snapshot", "off", origin.data).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitNotWhole || !strings.Contains(string(said), "database cluster was saved file by file") {
		t.Errorf("a cluster at work, without a file system snapshot: %v\n%s", err, said)
	}
	last := ""
	for n := range rounds {
		t.Log(tarn.must("backup", origin.data))
		copied := home("copy" + strconv.Itoa(n))
		tarn.must("restore", "latest:"+origin.data, "--target", copied.data)
		if err := os.Remove(filepath.Join(copied.data, "postmaster.pid")); err != nil { // of the server that still runs
			t.Fatal(err)
		}
		copied.start()
		sums := copied.sums()
		t.Logf("round %d: sums and transactions %s", n+1, sums)
		f := strings.Fields(sums)
		if len(f) != 5 || f[0] != f[1] || f[0] != f[2] || f[0] != f[3] {
			t.Errorf("round %d: the sums differ: %s", n+1, sums)
		}
		if sums == last {
			t.Errorf("round %d: nothing was done since the last one, so nothing was proven", n+1)
		}
		last = sums
		copied.run("pg_amcheck", "-d", "postgres", "--install-missing", "--heapallindexed")
		copied.run("pg_ctl", "-D", copied.data, "-m", "immediate", "stop")
		if err := os.RemoveAll(filepath.Dir(copied.data)); err != nil {
			t.Fatal(err)
		}
	}
}
