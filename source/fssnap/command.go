package fssnap

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// How long a program of the volume manager or file system may take.
const (
	queryTimeout  = 30 * time.Second
	changeTimeout = 2 * time.Minute
)

// Query runs a program that changes nothing and returns what it printed. It is killed when ctx ends, and after half a minute.
func Query(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := command(ctx, name, args)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, complain(cmd, err, errs.String())
	}
	return out.Bytes(), nil
}

// Change runs a program that changes something. When ctx ends, and after two minutes, it is asked to end (SIGTERM) and waited for,
// however long that takes, but never killed: an lvcreate that is killed while the origin is suspended leaves a file system
// on which every program hangs. For the same reason it is in a process group of its own, where no Ctrl-C reaches it,
// and speaks into a file and not into a pipe, which would break if this process was killed.
func Change(ctx context.Context, name string, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	said, err := os.CreateTemp("", "tarn-command-")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer said.Close()
	os.Remove(said.Name())
	cmd := command(ctx, name, args)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Cancel = func() error { return askToEnd(cmd.Process) }
	setApart(cmd)
	if err := cmd.Run(); err != nil {
		text := make([]byte, 4096)
		n, _ := said.ReadAt(text, 0)
		return complain(cmd, err, string(text[:n]))
	}
	return nil
}

func command(ctx context.Context, name string, args []string) *exec.Cmd {
	path, err := LookPath(name)
	if err != nil {
		path = name // the start will say what is wrong
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
	return cmd
}

func complain(cmd *exec.Cmd, err error, said string) error {
	said = strings.Join(strings.Fields(said), " ")
	return fmt.Errorf("%s %s: %w: %.500s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, said)
}

// LookPath finds a program of the administrator's, also where a plain user's or a service's PATH lacks the folders of such.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}
