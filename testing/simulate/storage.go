package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
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
	data   []byte
}

// verdict is how an operation ended.
type verdict struct {
	err   error
	crash bool
	data  []byte
	sizes map[string]int64
	pick  uint64 // what decides about objects that were there during a part of a list
}

// life is one run of a client's program: what it knows of the storage. It dies in a crash, and all that is begun later fails.
type life struct {
	client *client
	dead   bool
}

// ask waits for a turn.
func (l *life) ask(r request) verdict {
	if l.dead {
		return verdict{err: errCrashed}
	}
	l.client.world.events <- event{l.client, &r}
	v := <-l.client.turn
	if v.crash {
		l.dead = true
		v.err = errCrashed
	}
	return v
}

// Put stores an object.
func (l *life) Put(ctx context.Context, name string, data []byte) error {
	return l.ask(request{method: put, name: name, data: slices.Clone(data)}).err
}

// Remove removes an object.
func (l *life) Remove(ctx context.Context, name string) error {
	return l.ask(request{method: remove, name: name}).err
}

// Get returns a part of an object.
func (l *life) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	v := l.ask(request{method: get, name: name})
	if v.err != nil {
		return nil, v.err
	}
	n, err := storage.Range(int64(len(v.data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return io.NopCloser(bytes.NewReader(v.data[off:][:n])), nil
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
	for i, name := range slices.Sorted(maps.Keys(union(before.sizes, after.sizes))) {
		size, first := before.sizes[name]
		last, second := after.sizes[name]
		if second {
			size = last
		}
		if !(first && second) && after.pick>>(i%64)&1 == 0 {
			continue
		}
		if err := fn(name, size); err != nil {
			return err
		}
	}
	return nil
}

func union(a, b map[string]int64) map[string]int64 {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
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
