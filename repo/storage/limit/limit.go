package limit

import (
	"context"
	"io"
	"net"

	"golang.org/x/time/rate"
)

// burstMin is the least that may be sent at once, in bytes: less would make small system calls of everything.
const burstMin = 16 << 10

// Limits are two rates. A nil Limits limits nothing.
type Limits struct {
	up, down *rate.Limiter
}

// New returns limits in bytes a second; 0 or less is no limit.
func New(upload, download int64) *Limits {
	return &Limits{up: limiter(upload), down: limiter(download)}
}

func limiter(bytes int64) *rate.Limiter {
	if bytes <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytes), max(burstMin, int(min(bytes/20, 1<<20)))) // a twentieth of a second
}

// Reader returns r, held to the rate of what is received. Waiting ends with ctx.
func (l *Limits) Reader(ctx context.Context, r io.Reader) io.Reader {
	if l == nil || l.down == nil {
		return r
	}
	return &reader{ctx, r, l.down}
}

// Writer returns w, held to the rate of what is sent. Waiting ends with ctx.
func (l *Limits) Writer(ctx context.Context, w io.Writer) io.Writer {
	if l == nil || l.up == nil {
		return w
	}
	return &writer{ctx, w, l.up}
}

// Conn returns c, held to both rates. Closing it ends the waiting.
func (l *Limits) Conn(c net.Conn) net.Conn {
	if l == nil || l.up == nil && l.down == nil {
		return c
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &conn{c, l.Reader(ctx, c), l.Writer(ctx, c), cancel}
}

type reader struct {
	ctx   context.Context
	r     io.Reader
	limit *rate.Limiter
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), r.limit.Burst())])
	if n > 0 {
		if waitErr := r.limit.WaitN(r.ctx, n); err == nil {
			err = waitErr
		}
	}
	return n, err
}

type writer struct {
	ctx   context.Context
	w     io.Writer
	limit *rate.Limiter
}

func (w *writer) Write(p []byte) (done int, err error) {
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), w.limit.Burst())]
		if err = w.limit.WaitN(w.ctx, len(part)); err != nil {
			return done, err
		}
		var n int
		n, err = w.w.Write(part)
		done, p = done+n, p[n:]
	}
	return done, err
}

type conn struct {
	net.Conn
	r      io.Reader
	w      io.Writer
	cancel context.CancelFunc
}

func (c *conn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.w.Write(p) }

func (c *conn) Close() error {
	c.cancel()
	return c.Conn.Close()
}
