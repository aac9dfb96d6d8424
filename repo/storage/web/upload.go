package web

import (
	"context"
	"io"
	"sync"
	"time"
)

// graceTime is how long an answer is waited for once the server may have all of an object.
const graceTime = 20 * time.Second

// Upload calls send with a body of data and the context to send it in. That ends when ctx ends and the server can't have all of the body; else
// some time later. So an Upload that failed with the error of ctx has no effect, or had it before it returned, if the server answers at all.
func Upload(ctx context.Context, data []byte, send func(ctx context.Context, body io.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan struct{})
	b := &body{rest: data}
	stop := context.AfterFunc(ctx, func() {
		if b.abort(ctx.Err()) {
			cancel()
			return
		}
		grace := time.NewTimer(graceTime)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-done:
		}
	})
	err := send(sending, b)
	close(done)
	stop()
	b.end()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Settle calls send with a context that outlives ctx by some time, for requests without a body: what was sent can't be called back, and
// must not take effect behind the caller's back.
func Settle(ctx context.Context, send func(ctx context.Context) error) error {
	return Upload(ctx, nil, func(ctx context.Context, _ io.Reader) error { return send(ctx) })
}

// body is the body of a request, until it is aborted.
type body struct {
	mu   sync.Mutex // guards what follows
	rest []byte
	err  error
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// end lets go of the data: a transport may still read after it gave an answer, and the caller has other use for the buffer.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest, b.err = nil, io.ErrClosedPipe
}

// abort lets all later reads fail with err. It reports false if there is nothing left to read.
func (b *body) abort(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rest) == 0 {
		return false
	}
	b.err = err
	return true
}
