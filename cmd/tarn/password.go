package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/repo"
	"golang.org/x/term"
)

// passwordSize bounds what is read as a password, in bytes.
const passwordSize = 64 << 10

// commandDelay is how long a password command's children, an agent say, may keep its output open when it has ended.
const commandDelay = time.Second

// secret says where a password may come from beside the prompt.
type secret struct {
	file, command, variable string
	prefix                  string // of the flags: "new-", "from-"
}

// sources names all of them.
func (s *secret) sources() string {
	return fmt.Sprintf("--%spassword-file, --%spassword-command or %s", s.prefix, s.prefix, s.variable)
}

// password returns the password of the repository.
func (a *app) password(ctx context.Context) ([]byte, error) {
	s := secret{a.passwordFile, a.passwordCommand, a.passwordEnv, a.passwordPrefix}
	p, from, err := a.readSecret(ctx, s)
	if err != nil || from != "" {
		a.passwordFrom = from
		if err == nil && len(p) == 0 {
			err = fmt.Errorf("%w: it is empty", repo.ErrPassword)
		}
		if bytes.IndexByte(p, '\n') >= 0 {
			a.passwordFrom += "; it has more than one line, and all of them count"
		}
		return p, err
	}
	text := "password: "
	if a.passwordPrefix != "" { // there is another repository
		text = "password of " + a.stderr.text(a.shownRepository()) + ": "
	}
	return a.prompt(ctx, text, s)
}

// newPassword returns a password that is to be set; people type it twice.
func (a *app) newPassword(ctx context.Context, s secret) ([]byte, error) {
	p, from, err := a.readSecret(ctx, s)
	if err != nil {
		return nil, err
	}
	if from == "" {
		if p, err = a.prompt(ctx, "new password: ", s); err != nil {
			return nil, err
		}
		again, err := a.prompt(ctx, "again: ", s)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(p, again) {
			return nil, errors.New("the passwords differ")
		}
	}
	if len(p) == 0 {
		return nil, errors.New("the password is empty")
	}
	return p, nil
}

// readSecret reads a password from a file, a command or a variable; from is empty if none of them is given.
func (a *app) readSecret(ctx context.Context, s secret) (p []byte, from string, err error) {
	switch {
	case s.file != "" && s.command != "":
		return nil, "", errors.New("the password can come from a file or from a command, not from both")
	case s.file != "":
		p, err = untilDone(ctx, func() ([]byte, error) { return readPasswordFile(s.file) }) // it may be a named pipe
		return p, "the file " + s.file, err
	case s.command != "":
		p, err = runPasswordCommand(ctx, s.command)
		return p, fmt.Sprintf("the command that --%spassword-command names", s.prefix), err
	}
	if v, ok := os.LookupEnv(s.variable); ok {
		return []byte(v), s.variable, nil
	}
	return nil, "", nil
}

func readPasswordFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	if mode := info.Mode(); runtime.GOOS != "windows" && mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return nil, withHint(fmt.Errorf("password file %s: others may read or write it (mode %#o)", path, mode.Perm()), "chmod 600 %s", path)
	}
	return readLine(f)
}

func runPasswordCommand(ctx context.Context, command string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	if runtime.GOOS == "windows" {
		cmd = exec.CommandContext(ctx, "cmd", "/c", command)
	}
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = commandDelay
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("password command: %w", err)
	}
	return readLine(bytes.NewReader(out))
}

// readLine returns all that r has, without the end of the last line.
func readLine(r io.Reader) ([]byte, error) {
	p, err := io.ReadAll(io.LimitReader(r, passwordSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	if len(p) > passwordSize {
		return nil, fmt.Errorf("read the password: more than %d bytes", passwordSize)
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(p, []byte("\n")), []byte("\r")), nil
}

// prompt asks on the terminal, even if standard input is something else.
func (a *app) prompt(ctx context.Context, text string, s secret) ([]byte, error) {
	tty, message := a.stdin, a.stderr.file
	if !term.IsTerminal(int(tty.Fd())) {
		f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, withHint(errors.New("no password is given, and there is no terminal to ask on"),
				"use %s", s.sources())
		}
		defer f.Close()
		tty, message = f, f
	}
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return nil, fmt.Errorf("ask for the password: %w", err)
	}
	fmt.Fprint(message, text)
	defer fmt.Fprintln(message)
	p, err := untilDone(ctx, func() ([]byte, error) { return term.ReadPassword(int(tty.Fd())) })
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), term.Restore(int(tty.Fd()), state))
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the password: %w", err)
	}
	return p, nil
}

// environment is what the commands that a user names get, and a mount in the background: all but the passwords of repositories.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "TARN_PASSWORD" || name == "TARN_NEW_PASSWORD" || name == "TARN_FROM_PASSWORD"
	})
}

// untilDone returns what read does, unless the context ends before. The reads of terminals and named pipes can't be interrupted: they end
// with the program.
func untilDone(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type answer struct {
		p   []byte
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		p, err := read()
		answers <- answer{p, err}
	}()
	select {
	case got := <-answers:
		return got.p, got.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
