package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Usage is what some commands took. Bytes that the system does not tell are 0.
type Usage struct {
	Seconds     float64 `json:"seconds"`
	CPUSeconds  float64 `json:"cpu_seconds"`
	Memory      uint64  `json:"memory_bytes"`       // peak resident size, mapped files included
	MemoryFloor uint64  `json:"memory_floor_bytes"` // the least that Memory can be: what this program itself had taken
	Read        uint64  `json:"bytes_read"`         // by system calls
	Written     uint64  `json:"bytes_written"`
	DiskRead    uint64  `json:"disk_bytes_read"` // from a device, not the system's memory
	DiskWritten uint64  `json:"disk_bytes_written"`
}

// add adds what came next.
func (u *Usage) add(v Usage) {
	u.Seconds += v.Seconds
	u.CPUSeconds += v.CPUSeconds
	u.Memory, u.MemoryFloor = max(u.Memory, v.Memory), max(u.MemoryFloor, v.MemoryFloor)
	u.Read += v.Read
	u.Written += v.Written
	u.DiskRead += v.DiskRead
	u.DiskWritten += v.DiskWritten
}

// Command is one call of a program.
type Command struct {
	Args   []string
	Env    []string // beside this process's environment
	Dir    string
	Stdout io.Writer // nil: nowhere
}

// stopDelay is how long a program has to end itself after it was interrupted.
const stopDelay = 20 * time.Second

// command makes the process, which an end of ctx interrupts.
func (c *Command) command(ctx context.Context, stderr io.Writer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(os.Environ(), c.Env...), c.Dir, c.Stdout, stderr
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = stopDelay
	return cmd
}

// Measure runs a command to its end.
func Measure(ctx context.Context, c Command) (Usage, error) {
	var said tail
	cmd := c.command(ctx, &said)
	u := Usage{MemoryFloor: ownPeak()}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return u, fmt.Errorf("start %s: %w", c.Args[0], err)
	}
	ended := awaitEnd(cmd.Process.Pid, &u) // the process is still there to be asked
	if ended {
		u.Seconds = time.Since(begin).Seconds()
	}
	err := cmd.Wait()
	if !ended {
		u.Seconds = time.Since(begin).Seconds()
	}
	u.CPUSeconds = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	u.Memory = peakOf(cmd.ProcessState)
	if ctx.Err() != nil {
		return u, ctx.Err()
	}
	if err != nil {
		return u, fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, said.String())
	}
	return u, nil
}

// output runs a command and returns the first line that it prints.
func output(ctx context.Context, c Command) (string, error) {
	var out bytes.Buffer
	c.Stdout = &out
	if _, err := Measure(ctx, c); err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	return line, nil
}

// tail keeps the end of what is written.
type tail struct{ buf []byte }

const tailMax = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[max(0, len(p)-tailMax):]...)
	if n := len(t.buf); n > tailMax {
		t.buf = append(t.buf[:0], t.buf[n-tailMax:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.buf)) }

// ErrAbsent is wrapped when a program that is to be measured is not on this machine.
var ErrAbsent = errors.New("it is not installed")
