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
	return run(command(ctx, name, args))
}

// Change runs a program that changes something and returns what it printed. When ctx ends, and after two minutes, it is asked to
// end (SIGTERM) and waited for, however long that takes, but never killed: an lvcreate that is killed while the
// origin is suspended leaves a file system on which every program hangs.
func Change(ctx context.Context, name string, args ...string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	cmd := command(ctx, name, args)
	cmd.Cancel = func() error { return askToEnd(cmd.Process) }
	return run(cmd)
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

func run(cmd *exec.Cmd) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		said := strings.Join(strings.Fields(errs.String()), " ")
		return nil, fmt.Errorf("%s %s: %w: %.500s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, said)
	}
	return out.Bytes(), nil
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
