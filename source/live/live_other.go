//go:build !linux

package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
)

// Capturer captures files in use. Many goroutines may use one.
type Capturer struct {
	budget *budget
}

// New returns a Capturer. The caller must Close it.
func New(o Options) (*Capturer, error) { return &Capturer{budget: newBudget(o)}, nil }

// Close does nothing on this system.
func (c *Capturer) Close() error { return nil }

// File is one capture of one file: read it to the end, then call Finish. One goroutine uses it.
type File struct {
	c     *Capturer
	file  *os.File
	name  string
	pass  Pass
	first Stat
	size  int64
	off   int64
	tries int
	pause time.Duration
}

// Open opens one file of the folder dirfd.
func (c *Capturer) Open(_ context.Context, dirfd int, name string, pass Pass) (*File, error) {
	file, err := openIn(dirfd, name)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	f := &File{c: c, file: file, name: name, pass: pass}
	if err := f.look(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *File) look() error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("stat %q: %w", f.name, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open %q: %w", f.name, ErrNotRegular)
	}
	f.first, err = statOf(f.file)
	if err != nil {
		return fmt.Errorf("stat %q: %w", f.name, err)
	}
	f.size = info.Size()
	return nil
}

// Name is the name under which the file was opened.
func (f *File) Name() string { return f.name }

// FD is the descriptor or handle of the user's file.
func (f *File) FD() int { return int(f.file.Fd()) }

// Stat is what was known of the file when reading began.
func (f *File) Stat() Stat { return f.first }

// Size is the number of bytes that Read will return in all, if the file does not shrink.
func (f *File) Size() int64 { return f.size }

// Read reads on. It never reads past the size that the file had when reading began.
func (f *File) Read(p []byte) (int, error) {
	if left := f.size - f.off; int64(len(p)) > left {
		p = p[:left]
	}
	if f.off == f.size {
		return 0, io.EOF
	}
	n, err := f.file.ReadAt(p, f.off)
	f.off += int64(n)
	if n > 0 || err == io.EOF {
		return n, eofIfNone(n)
	}
	if err != nil {
		return 0, fmt.Errorf("read %q at %d: %w", f.name, f.off, err)
	}
	return 0, nil
}

func eofIfNone(n int) error {
	if n == 0 {
		return io.EOF
	}
	return nil
}

// Finish says what the bytes that were read are worth. It is called when Read has reported the end.
func (f *File) Finish(context.Context) (Result, error) {
	last, err := statOf(f.file)
	if err != nil {
		return Result{}, fmt.Errorf("stat %q: %w", f.name, err)
	}
	r := Result{Method: snapshot.MethodUnproven, Stat: withSize(f.first, f.off)}
	if f.off == f.size && unchanged(f.first, last) {
		return r, nil
	}
	r.Reason = "changed while it was read"
	switch pause := pauseOf(f.tries); {
	case f.pass == First:
		r.Later = true
	case f.tries < triesMax && f.c.budget.spend(pause, f.size):
		f.tries++
		f.pause = pause
		r.Again, r.Pause = true, pause
	default:
		r.State = snapshot.Torn
	}
	return r, nil
}

// Restart begins anew after a result with Again.
func (f *File) Restart(ctx context.Context) error {
	if err := wait(ctx, f.pause); err != nil {
		return err
	}
	f.off = 0
	return f.look()
}

// Close closes the file.
func (f *File) Close() error {
	if err := f.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Set is a database and what belongs to it. There are none on this system.
type Set struct{}

// OpenSet returns ErrNotSQLite: on this system databases are taken as files.
func (c *Capturer) OpenSet(_ context.Context, _ int, name string, _ Pass) (*Set, error) {
	return nil, fmt.Errorf("open database %q: %w", name, ErrNotSQLite)
}

// Files are the files of the set.
func (s *Set) Files() []*File { return nil }

// Finish says what the set is worth.
func (s *Set) Finish(context.Context) (Result, error) { return Result{}, nil }

// Close does nothing.
func (s *Set) Close() error { return nil }
