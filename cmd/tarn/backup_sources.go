package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/backup"
)

// listSizeMax bounds a file of paths, in bytes.
const listSizeMax = 1 << 30

// sources sets what is to be read: paths, or a stream.
func (a *app) sources(ctx context.Context, b *backupFlags, args []string, o *backup.Options) error {
	if b.stdin || b.stdinCommand {
		return a.stream(ctx, b, args, o)
	}
	paths := args
	for _, lists := range []struct {
		files []string
		end   byte
	}{{b.filesFrom, '\n'}, {b.filesFrom0, 0}} {
		for _, file := range lists.files {
			more, err := a.readPaths(file, lists.end)
			if err != nil {
				return err
			}
			paths = append(paths, more...)
		}
	}
	if len(paths) == 0 {
		return withHint(errors.New("nothing to back up: no paths are given"), "tarn backup ~/Photos /etc")
	}
	var all []string
	missing := 0
	for _, p := range paths {
		if p == "" {
			return errors.New("an empty path is given")
		}
		all = append(all, absolute(p))
		if _, err := os.Lstat(filepath.FromSlash(absolute(p))); err != nil {
			if missing++; missing == len(paths) {
				return fmt.Errorf("nothing to back up: %w", err)
			}
		}
	}
	o.Paths = a.merge(all)
	o.Record.Paths = o.Paths
	return nil
}

// readPaths reads a list of paths. Lines that are empty or begin with "#" are passed over; where NUL ends a path every byte counts.
func (a *app) readPaths(file string, end byte) ([]string, error) {
	in := io.Reader(a.stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the paths: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, listSizeMax+1))
	if err == nil && len(data) > listSizeMax {
		err = fmt.Errorf("more than %d bytes", listSizeMax)
	}
	if err != nil {
		return nil, fmt.Errorf("read the paths in %s: %w", file, err)
	}
	var paths []string
	for _, p := range bytes.Split(data, []byte{end}) {
		if end == '\n' {
			if p = bytes.TrimSuffix(p, []byte("\r")); bytes.HasPrefix(p, []byte("#")) {
				continue
			}
		}
		if len(p) > 0 {
			paths = append(paths, string(p))
		}
	}
	return paths, nil
}

// merge sorts paths and drops those that others bring along.
func (a *app) merge(paths []string) []string {
	slices.SortFunc(paths, func(p, q string) int { return strings.Compare(below(p), below(q)) })
	var kept []string
	for _, p := range paths {
		if n := len(kept); n > 0 && strings.HasPrefix(below(p), below(kept[n-1])) {
			a.detailf("%s is a part of %s", a.stderr.name(p), a.stderr.name(kept[n-1]))
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// below is what the paths below p begin with.
func below(p string) string { return strings.TrimSuffix(p, "/") + "/" }

func samePaths(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// fileNameMax is how many bytes a file's name may have where it is restored.
const fileNameMax = 255

// stream sets standard input, or a command's output, as the source.
func (a *app) stream(ctx context.Context, b *backupFlags, args []string, o *backup.Options) error {
	name := path.Clean("/" + filepath.ToSlash(b.stdinName))
	if name == "/" {
		return fmt.Errorf("--stdin-filename %q is no name of a file", b.stdinName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > fileNameMax {
			return fmt.Errorf("--stdin-filename: a name of %d bytes, the limit is %d", len(part), fileNameMax)
		}
	}
	o.Record.Paths = []string{name}
	if len(b.filesFrom)+len(b.filesFrom0) > 0 || b.stdin && (len(args) > 0 || b.stdinCommand) {
		return errors.New("standard input can't be saved together with paths")
	}
	if b.stdin {
		o.Stdin = &backup.Stdin{Name: name, Reader: interruptible(ctx, a.stdin)}
		return nil
	}
	if len(args) == 0 {
		return withHint(errors.New("--stdin-from-command: no command is given"), "tarn backup --stdin-from-command -- pg_dump mydb")
	}
	return nil // the command is started last, when all else is well
}

// startCommand starts the command whose output is saved. The returned function ends it, if nobody waited for it.
func (a *app) startCommand(ctx context.Context, args []string, o *backup.Options) (end func(), err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = environment()
	cmd.Stdin, cmd.Stderr = a.stdin, a.stderr.file
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the command: %w", err)
	}
	waited := false
	wait := func() error {
		waited = true
		if err := cmd.Wait(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("command %s: %w: nothing was saved", args[0], err)
		}
		return nil
	}
	o.Stdin = &backup.Stdin{Name: o.Record.Paths[0], Reader: out, Wait: wait}
	return func() {
		if !waited {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}, nil
}

// interruptible returns a reader that ends with ctx, even if the read of a pipe or a terminal does not.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	return r
}

// parseTime reads a moment in this machine's time zone, unless it says another one. JSON has no years but those of four digits, and a record no moment 0.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			if t.Unix() <= 0 || t.UTC().Year() > 9999 {
				return time.Time{}, fmt.Errorf("--time %q: want one after 1970 began and before the year 10000", s)
			}
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--time %q: want 2006-01-02 15:04:05, or RFC 3339", s)
}

// splitTags reads tags, which may stand behind each other with commas.
func splitTags(flags []string) (tags []string) {
	for _, f := range flags {
		for t := range strings.SplitSeq(f, ",") {
			if t = strings.TrimSpace(t); t != "" && !slices.Contains(tags, t) {
				tags = append(tags, t)
			}
		}
	}
	return tags
}
