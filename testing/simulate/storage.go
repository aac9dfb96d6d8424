package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/tarn-backup/tarn/repo/storage"
)

// errCrashed is what a client gets that is dead; its process would not get that far.
var errCrashed = errors.New("this client is dead")

// method is what a request asks for.
type method byte

const (
	put method = iota
	get
	remove
	listBegin
	listEnd
)

func (m method) String() string { return [...]string{"put", "get", "remove", "list", "listed"}[m] }

// changes reports whether a request leaves something behind.
func (m method) changes() bool { return m == put || m == remove }

// request is an operation that waits for its turn.
type request struct {
	method method
	name   string // or the prefix of a list
	off, n int64  // of a get
	data   []byte
}

// delicate reports whether much depends on what others do just before this operation: what came before it was looked at is still true, or not.
func (r *request) delicate() bool {
	switch r.method {
	case put:
		return strings.HasPrefix(r.name, "snapshots/") || strings.HasPrefix(r.name, "trash/") || strings.HasPrefix(r.name, "sessions/")
	case remove:
		return strings.HasPrefix(r.name, "data/")
	}
	return false
}

// object is what a list says of one.
type object struct {
	name string
	size int64
}

// verdict is how an operation ended.
type verdict struct {
	err    error
	crash  bool
	reader io.ReadCloser
	list   []object // in the order of their names
	pick   uint64   // what decides about objects that were there during a part of a list
}

// life is one run of a client's program: what it knows of the storage. It dies in a crash, and all that is begun later fails.
type life struct {
	client   *client
	dead     bool
	hindered bool // something failed that it asked for
}

// ask waits for a turn.
func (l *life) ask(r request) verdict {
	if l.dead {
		return verdict{err: errCrashed}
	}
	l.client.world.events <- event{l.client, &r}
	v := <-l.client.turn
	l.hindered = l.hindered || errors.Is(v.err, errIO)
	if v.crash {
		l.dead, l.hindered = true, true
		v.err = errCrashed
	}
	return v
}

// Put stores an object. Its caller waits, so that data is not his before this returns.
func (l *life) Put(ctx context.Context, name string, data []byte) error {
	return l.ask(request{method: put, name: name, data: data}).err
}

// Remove removes an object.
func (l *life) Remove(ctx context.Context, name string) error {
	return l.ask(request{method: remove, name: name}).err
}

// Get returns a part of an object.
func (l *life) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	v := l.ask(request{method: get, name: name, off: off, n: n})
	return v.reader, v.err
}

// List reports what is there during all of two turns, and a part of the rest.
func (l *life) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	before := l.ask(request{method: listBegin, name: prefix})
	if before.err != nil {
		return before.err
	}
	after := l.ask(request{method: listEnd, name: prefix})
	if after.err != nil {
		return after.err
	}
	a, b := before.list, after.list
	for i := 0; len(a)+len(b) > 0; i++ {
		var o object
		always := false
		switch {
		case len(a) == 0 || len(b) > 0 && b[0].name < a[0].name:
			o, b = b[0], b[1:]
		case len(b) == 0 || a[0].name < b[0].name:
			o, a = a[0], a[1:]
		default:
			o, always = b[0], true
			a, b = a[1:], b[1:]
		}
		if !always && after.pick>>(i%64)&1 == 0 {
			continue
		}
		if err := fn(o.name, o.size); err != nil {
			return err
		}
	}
	return nil
}

var errIO = fmt.Errorf("simulated: %w", syscall.EIO)

// direct is the disk with nobody in between, but for the oracle who looks on.
type direct struct {
	storage.Storage
	world *world
}

// Put stores an object.
func (d direct) Put(ctx context.Context, name string, data []byte) error {
	return d.world.apply(ctx, &request{method: put, name: name, data: data}).err
}

// Remove removes an object.
func (d direct) Remove(ctx context.Context, name string) error {
	return d.world.apply(ctx, &request{method: remove, name: name}).err
}
