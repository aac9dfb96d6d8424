package servers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTime is how long a server may take to answer, on a machine with much else to do.
const startTime = 2 * time.Minute

// TB is what servers need of a test, or of a program that is none.
type TB interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Logf(format string, args ...any)
	Failed() bool
	Cleanup(func())
	TempDir() string
}

// Process is a server that runs.
type Process struct {
	Addr string // host:port
	argv []string
	env  []string

	mu  sync.Mutex // guards what follows
	cmd *exec.Cmd
	log bytes.Buffer
}

// Program returns the path of a program, or skips the test, or fails it where it should be there.
func Program(t TB, name, install string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if runtime.GOOS == "linux" && os.Geteuid() == 0 {
		t.Fatalf("%s is not installed: run %s", name, install)
	}
	t.Skipf("%s is not installed: run %s", name, install)
	return ""
}

// Tool builds a program of the module testing/tools, and returns its path.
func Tool(t TB, name string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "-C", filepath.Join(filepath.Dir(here), "..", "tools"), "tool", "-n", name)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = exit.Stderr
		}
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// start starts a server that listens on addr, and ends it with the test.
func start(t TB, addr string, env []string, argv ...string) *Process {
	t.Helper()
	p := &Process{Addr: addr, argv: argv, env: env}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(argv[0]), p.Log())
		}
	})
	p.Restart(t)
	return p
}

// Log is what the server printed.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Restart starts the server again, or for the first time, and waits until it answers.
func (p *Process) Restart(t TB) {
	t.Helper()
	p.Kill()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = p, p
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	for end := time.Now().Add(startTime); ; {
		c, err := net.Dial("tcp", p.Addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v\n%s", p.argv[0], err, p.Log())
		}
		time.Sleep(10 * time.Millisecond) // nothing tells when a program listens
	}
}

// Kill ends the server as a power cut would, as far as its clients see. It may be called again.
func (p *Process) Kill() {
	p.mu.Lock()
	cmd := p.cmd
	p.cmd = nil
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
}

// S3 is a server with one bucket.
type S3 struct {
	*Process
	Bucket, AccessKey, SecretKey string
	Folder                       string // where the buckets are
}

// StartS3 starts versitygw over a folder. Buckets that are made later can have versions and object lock.
func StartS3(t TB) *S3 {
	t.Helper()
	s := &S3{Bucket: "bucket", AccessKey: "tarnaccesskey", SecretKey: "tarnsecretkey", Folder: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.Folder, s.Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	addr := Port(t)
	s.Process = start(t, addr, []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
		Tool(t, "versitygw"), "--port", addr, "--quiet", "posix", "--versioning-dir", t.TempDir(), s.Folder)
	return s
}

// REST is a rest-server.
type REST struct {
	*Process
	Folder string
}

// StartREST starts restic's rest-server with more arguments, such as --append-only.
func StartREST(t TB, args ...string) *REST {
	t.Helper()
	addr, folder := Port(t), t.TempDir()
	argv := append([]string{Tool(t, "rest-server"), "--listen", addr, "--path", folder, "--log", "/dev/null"}, args...)
	if !strings.Contains(strings.Join(args, " "), "--htpasswd-file") {
		argv = append(argv, "--no-auth")
	}
	return &REST{start(t, addr, nil, argv...), folder}
}

// SSHD is an sshd that lets the user in who runs the test.
type SSHD struct {
	*Process
	Port   string
	Folder string   // with the keys
	Args   []string // for ssh: how to get in
}

// StartSSHD starts OpenSSH's sshd.
func StartSSHD(t TB) *SSHD {
	t.Helper()
	program := Program(t, "sshd", "apt-get install openssh-server")
	Program(t, "ssh", "apt-get install openssh-client")
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it locks itself up
			t.Fatal(err)
		}
	}
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", in(key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	addr := Port(t)
	_, port, _ := net.SplitHostPort(addr)
	hostKey := read(t, in("host.pub"))
	write(t, in("authorized_keys"), read(t, in("user.pub")))
	write(t, in("known_hosts"), fmt.Sprintf("[127.0.0.1]:%s %s", port, hostKey))
	write(t, in("sshd_config"), strings.Join([]string{"ListenAddress " + addr, "HostKey " + in("host"), "AuthorizedKeysFile " + in("authorized_keys"),
		"StrictModes no", "PidFile none", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "MaxStartups 100", "Subsystem sftp internal-sftp",
		"LogLevel ERROR", ""}, "\n"))
	write(t, in("ssh_config"), "")
	s := &SSHD{Port: port, Folder: folder}
	s.Args = []string{"-F", in("ssh_config"), "-i", in("user"), "-oIdentitiesOnly=yes", "-oUserKnownHostsFile=" + in("known_hosts"),
		"-oGlobalKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=yes"}
	s.Process = start(t, addr, nil, program, "-D", "-e", "-f", in("sshd_config"))
	return s
}

func read(t TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// PID is the process that runs, or 0.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
