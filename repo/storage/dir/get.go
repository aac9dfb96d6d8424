package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Get opens the object on a descriptor of its own; the reader has the object as it was then, whatever happens to the name.
func (d *Dir) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := d.get(ctx, name, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return r, nil
}

func (d *Dir) get(ctx context.Context, name string, off, n int64) (*reader, error) {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return nil, err
	}
	var f fs.File
	err := retry(func() (err error) {
		f, err = d.disk.Open(name)
		return err
	})
	if errors.Is(err, syscall.ENOTDIR) { // "config/x" could be an object's name, but "config" is no folder
		return nil, fmt.Errorf("%w: %w", storage.ErrNotExist, err)
	}
	if err != nil {
		return nil, err
	}
	n, err = objectRange(f, off, n)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &reader{ctx: ctx, name: name, f: f, off: off, left: n}, nil
}

func objectRange(f fs.File, off, n int64) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.IsDir() { // "data" could be an object's name, but it is none
		return 0, fmt.Errorf("it is a folder: %w", storage.ErrNotExist)
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("it is no file: %w", fs.ErrInvalid)
	}
	return storage.Range(info.Size(), off, n)
}

// reader reads a range with pread, so that nothing depends on the descriptor's offset.
type reader struct {
	ctx  context.Context
	name string
	f    fs.File
	off  int64
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	n, err := r.pread(p)
	r.off += int64(n)
	r.left -= int64(n)
	if err == io.EOF {
		err = nil
		if n < len(p) { // the file is shorter than it was when it was opened
			err = fmt.Errorf("%d bytes of %s are missing at %d: %w", r.left, r.name, r.off, io.ErrUnexpectedEOF)
		}
	}
	return n, err
}

func (r *reader) pread(p []byte) (int, error) {
	at, ok := r.f.(io.ReaderAt)
	if !ok {
		return 0, fmt.Errorf("read %s: %w", r.name, errors.ErrUnsupported)
	}
	for {
		n, err := at.ReadAt(p, r.off)
		if n > 0 || !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

func (r *reader) Close() error { return r.f.Close() }
