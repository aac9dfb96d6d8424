package sftp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pkg/sftp"

	"github.com/tarn-backup/tarn/repo/storage"
)

// readAhead is how much of an object is asked for at once at most, in bytes.
const readAhead = 1 << 20

// Get opens the object; the reader has it as it was then, whatever happens to the name.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	err := refused(ctx, storage.CheckName(name))
	var r *reader
	if err == nil {
		err = s.do(ctx, func(c *conn) error {
			r, err = s.open(ctx, c, name, off, n)
			return err
		})
	}
	if err != nil {
		return nil, s.failed("get", name, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{bufio.NewReaderSize(r, int(min(max(r.left, 16), readAhead))), r}, nil
}

func (s *Store) open(ctx context.Context, c *conn, name string, off, n int64) (*reader, error) {
	f, err := c.OpenFile(s.at(name), os.O_RDONLY)
	if err != nil {
		if isFailure(err) { // a file where the name has a folder
			return nil, fmt.Errorf("%w: %w", storage.ErrNotExist, err)
		}
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir(): // "data" could be an object's name, but it is none
		err = fmt.Errorf("it is a folder: %w", storage.ErrNotExist)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("it is no file: %w", fs.ErrInvalid)
	default:
		n, err = storage.Range(info.Size(), off, n)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &reader{ctx: ctx, store: s, conn: c, name: name, f: f, off: off, left: n}, nil
}

// reader reads a range of a file.
type reader struct {
	ctx   context.Context
	store *Store
	conn  *conn // that the file was opened on
	name  string
	f     *sftp.File
	off   int64
	left  int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), r.left, readAhead*8)]
	n := 0
	err := r.conn.run(r.ctx, func(*conn) (err error) {
		n, err = r.f.ReadAt(p, r.off)
		return err
	})
	r.off += int64(n)
	r.left -= int64(n)
	if err == io.EOF || err == nil && n < len(p) {
		err = nil
		if n < len(p) { // the file is shorter than it was when it was opened
			err = fmt.Errorf("%d bytes are missing at %d: %w", r.left, r.off, io.ErrUnexpectedEOF)
		}
	}
	return n, r.store.failed("read", r.name, err)
}

func (r *reader) Close() error {
	if err := r.f.Close(); err != nil && !isLost(err) {
		return r.store.failed("close", r.name, err)
	}
	return nil
}
