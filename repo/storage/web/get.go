package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Range returns the header of a request for n bytes from off, or everything from there if n is negative; whole says that none is needed.
func Range(off, n int64) (text string, whole bool) {
	switch {
	case n >= 0 && off > 1<<63-1-n:
		return fmt.Sprintf("bytes=%d-", off), false // no object is so long: the server will say so
	case n >= 0:
		return fmt.Sprintf("bytes=%d-%d", off, off+n-1), false
	case off > 0:
		return fmt.Sprintf("bytes=%d-", off), false
	}
	return "", true
}

// Body returns the reader of the answer to a request for a range. It checks that the answer is as long as the range, and the
// reader that the body is as long as the answer.
func Body(res *http.Response, name string, off, n int64) (io.ReadCloser, error) {
	return Answer(res.Body, name, res.ContentLength, res.StatusCode == http.StatusPartialContent, off, n)
}

// Answer is Body, given what it needs to know of the answer.
func Answer(body io.ReadCloser, name string, length int64, partial bool, off, n int64) (io.ReadCloser, error) {
	if err := checkLength(length, partial, off, n); err != nil {
		body.Close()
		return nil, err
	}
	return &exact{body, name, length}, nil
}

func checkLength(length int64, partial bool, off, n int64) error {
	switch {
	case length < 0:
		return storage.Permanent(errors.New("the server does not say how long its answer is"))
	case partial && (n < 0 || length == n), !partial && off == 0 && (n < 0 || length == n):
		return nil
	case n >= 0 && length < n && (partial || off == 0):
		return fmt.Errorf("%d bytes from %d, where only %d are: %w", n, off, length, io.ErrUnexpectedEOF)
	}
	return storage.Permanent(fmt.Errorf("the server knows no ranges: %d bytes came for %d", length, n))
}

// exact is a reader of a body that fails if it ends early.
type exact struct {
	io.ReadCloser
	name string
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.ReadCloser.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF {
		err = nil
		if e.left > 0 {
			err = fmt.Errorf("%d bytes of %s are missing: %w", e.left, e.name, io.ErrUnexpectedEOF)
		}
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("read %s: %w: the connection was cut", e.name, io.ErrUnexpectedEOF)
	} else if err != nil {
		err = fmt.Errorf("read %s: %w", e.name, Explain(err))
	}
	return n, err
}
