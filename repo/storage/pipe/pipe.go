package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/limit"
)

// closeTime is how long a program has to end by itself once its input has ended.
const closeTime = 2 * time.Second

// tailSize is how much of what the program prints to standard error is kept, in bytes.
const tailSize = 8 << 10

// Process is a running program. Reads and writes are those of its output and input.
type Process struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	r      io.Reader
	w      io.Writer
	errors tail
	ended  chan struct{} // closed when the program is gone
	cancel context.CancelFunc
	once   sync.Once
}

// Start starts a program. env is added to the environment of this one, without the variables whose names begin with TARN_, which have
// passwords.
func Start(argv, env []string, limits *limit.Limits) (*Process, error) {
	p := &Process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TARN_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = &p.errors
	p.cmd.WaitDelay = closeTime // for standard error, which a child of the program's may hold open
	apart(p.cmd)
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, childIn.Close(), in.Close())
	}
	p.cmd.Stdin, p.cmd.Stdout, p.in, p.out = childIn, childOut, in, out
	err = p.cmd.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, storage.Permanent(fmt.Errorf("start %s: %v", argv[0], err)) // a program that is not there is no object that is not
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.r, p.w = limits.Reader(ctx, out), limits.Writer(ctx, in)
	go func() {
		_ = p.cmd.Wait() // how it ended stands in what it printed
		close(p.ended)
	}()
	return p, nil
}

// Read reads what the program prints.
func (p *Process) Read(b []byte) (int, error) { return p.r.Read(b) }

// Write gives the program something to read.
func (p *Process) Write(b []byte) (int, error) { return p.w.Write(b) }

// Ended is closed when the program is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Kill ends the program at once.
func (p *Process) Kill() { kill(p.cmd) }

// Close ends the program, and waits until it is gone.
func (p *Process) Close() error {
	p.once.Do(func() {
		p.cancel()
		p.in.Close()
		timer := time.NewTimer(closeTime)
		defer timer.Stop()
		select {
		case <-p.ended:
		case <-timer.C:
			p.Kill()
			<-p.ended
		}
		p.out.Close()
	})
	return nil
}

// Last is the last line that the program printed to standard error, or empty.
func (p *Process) Last() string {
	lines := strings.Split(strings.TrimSpace(p.errors.String()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// Printed is the end of what the program printed to standard error.
func (p *Process) Printed() string { return p.errors.String() }

// A Process is a net.Conn, for what wants one.

// LocalAddr is the program.
func (p *Process) LocalAddr() net.Addr { return addr(p.cmd.Path) }

// RemoteAddr is the program.
func (p *Process) RemoteAddr() net.Addr { return addr(p.cmd.Path) }

// SetDeadline is for reads and writes from now on.
func (p *Process) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// SetReadDeadline is for reads from now on.
func (p *Process) SetReadDeadline(t time.Time) error { return p.out.SetReadDeadline(t) }

// SetWriteDeadline is for writes from now on.
func (p *Process) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }

type addr string

func (addr) Network() string  { return "pipe" }
func (a addr) String() string { return string(a) }

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// PID is the program's.
func (p *Process) PID() int { return p.cmd.Process.Pid }
