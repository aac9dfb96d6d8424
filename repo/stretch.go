package repo

import (
	"container/list"
	"context"
	"sync"

	"github.com/tarn-backup/tarn/blob"
)

// Bounds of what is read at once.
const (
	stretchFirst  = 1 << 20 // where nothing tells what comes next
	stretchesKept = 8       // stretches of full length that are kept
)

// stretches reads packs in stretches that are longer than what is asked for, as long as they are read from the front to the back. On a store
// that is far away, a request costs more than the bytes: a restore asks for every few hundred KiB, and the next ones are those behind.
type stretches struct {
	read func(ctx context.Context, pack blob.Name, p []byte, off int64) error
	max  int64 // length of a stretch

	mu    sync.Mutex // guards what follows
	size  int64      // of the stretches that are kept
	order *list.List // of *stretch, the most recently used in front
	next  map[blob.Name]run
}

// run is how far a pack was read, and how long the last stretch was.
type run struct{ end, length int64 }

// stretch is a part of a pack, or the wait for it.
type stretch struct {
	pack       blob.Name
	begin, end int64
	ready      chan struct{} // closed when data or err is set
	data       []byte
	err        error
}

func newStretches(max int64, read func(ctx context.Context, pack blob.Name, p []byte, off int64) error) *stretches {
	return &stretches{read: read, max: max, order: list.New(), next: map[blob.Name]run{}}
}

// get returns the bytes of a pack from begin to end, which are shared: nobody may change them. The pack has size bytes.
func (t *stretches) get(ctx context.Context, pack blob.Name, begin, end, size int64) ([]byte, error) {
	for {
		s, mine := t.find(pack, begin, end, size)
		if mine {
			t.fill(ctx, s)
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s.err == nil {
			return s.data[begin-s.begin : end-s.begin], nil
		}
		if mine || ctx.Err() != nil {
			return nil, s.err
		}
		// Whoever read it may have been cancelled: ask again, and get an error of one's own.
	}
}

// find returns a stretch that has what is asked for; it is the caller's to fill if it is new.
func (t *stretches) find(pack blob.Name, begin, end, size int64) (s *stretch, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*stretch); s.pack == pack && s.begin <= begin && end <= s.end {
			t.order.MoveToFront(e)
			return s, false
		}
	}
	length := int64(stretchFirst)
	if last, ok := t.next[pack]; ok && begin <= last.end+t.max && begin >= last.end-last.length {
		length = min(2*last.length, t.max)
	}
	s = &stretch{pack: pack, begin: begin, end: min(max(end, begin+length), size), ready: make(chan struct{})}
	t.next[pack] = run{s.end, s.end - s.begin}
	t.order.PushFront(s)
	t.size += s.end - s.begin
	for t.size > stretchesKept*t.max && t.order.Len() > 1 {
		last := t.order.Remove(t.order.Back()).(*stretch) // who still waits for it has it
		t.size -= last.end - last.begin
	}
	return s, true
}

func (t *stretches) fill(ctx context.Context, s *stretch) {
	data := make([]byte, s.end-s.begin)
	s.err = t.read(ctx, s.pack, data, s.begin)
	if s.err == nil {
		s.data = data
	}
	close(s.ready)
	if s.err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = e.Next() {
		if e.Value == any(s) {
			t.order.Remove(e)
			t.size -= s.end - s.begin
			return
		}
	}
}
