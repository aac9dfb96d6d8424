package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

// Get asks for a range of an object.
func (s *Server) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := s.get(ctx, name, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return r, nil
}

func (s *Server) get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	u, err := s.address(name)
	if err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("read from %d: %w", off, fs.ErrInvalid)
	}
	header := http.Header{}
	text, whole := web.Range(off, n)
	if !whole {
		header.Set("Range", text)
	}
	if n != 0 {
		res, err := s.do(ctx, http.MethodGet, u, header, nil)
		if err == nil {
			return web.Body(res, name, off, n)
		}
		if !isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
			return nil, err
		}
	}
	// Nothing is asked for, or begins behind the end: its length says whether that is right.
	size, err := s.sizeOf(ctx, u)
	if err != nil {
		return nil, err
	}
	left, err := storage.Range(size, off, n)
	if err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, fmt.Errorf("the server has %d bytes, and none from %d on", size, off)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}
