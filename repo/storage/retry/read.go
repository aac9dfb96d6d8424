package retry

import (
	"context"
	"errors"
	"io"
	"time"
)

// reader reads a range of an object, and opens it again behind what it has when it is cut off.
type reader struct {
	*attempt
	ctx  context.Context
	name string
	off  int64 // of the next byte
	left int64 // negative: up to the end

	r      io.ReadCloser // nil after a failure
	cancel context.CancelFunc
	err    error // that ended it
}

// open opens what is left of the range.
func (r *reader) open() error {
	for {
		err := r.tryOpen()
		if err == nil {
			return nil
		}
		// The object is shorter than the range; nothing that passes.
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err := r.again(r.ctx, err); err != nil {
			return err
		}
	}
}

func (r *reader) tryOpen() error {
	// The deadline is for the answer alone: how long the caller takes to read is his affair, and connections that hang are the adapter's.
	ctx, cancel := context.WithCancelCause(r.ctx)
	timer := time.AfterFunc(r.options.Try, func() { cancel(errSlow) })
	got, err := r.store.Get(ctx, r.name, r.off, r.left)
	if !timer.Stop() && err == nil {
		got.Close()
		err = errSlow
	}
	if err != nil {
		if r.ctx.Err() == nil && context.Cause(ctx) == errSlow {
			err = errSlow
		}
		cancel(nil)
		return err
	}
	r.seen.answered.Store(true)
	r.r, r.cancel = got, func() { cancel(nil) }
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for {
		if r.r == nil {
			if err := r.open(); err != nil {
				r.err = err
				return 0, err
			}
		}
		n, err := r.r.Read(p)
		r.off += int64(n)
		if r.left > 0 {
			r.left -= int64(n)
		}
		if n > 0 {
			r.restart()
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		r.drop()
		if err := r.again(r.ctx, err); err != nil {
			r.err = err
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (r *reader) drop() {
	if r.r != nil {
		r.r.Close()
		r.cancel()
		r.r = nil
	}
}

func (r *reader) Close() error {
	if r.r == nil {
		return nil
	}
	err := r.r.Close()
	r.cancel()
	r.r = nil
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return err
}
