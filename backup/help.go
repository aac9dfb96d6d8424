package backup

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// help is how readers that have nothing to read save chunks for one that reads a large file: or a disk image would be compressed by one
// processor while the others wait.
type help struct {
	chunks  chan *chunk
	queued  atomic.Int64 // bytes in chunks
	free    atomic.Int32 // readers that have no batch
	reading atomic.Int32 // readers that may still get one; when none is left nobody needs help any more
}

// What waits for a free reader at most: enough to fill a segment, while the one who reads fills another.
const (
	helpChunks = 32
	helpBytes  = 8 << 20
)

func newHelp(readers int) *help {
	h := &help{chunks: make(chan *chunk, helpChunks)}
	h.free.Store(int32(readers))
	h.reading.Store(int32(readers))
	return h
}

// leave says that a reader gets no more batches.
func (h *help) leave() {
	if h.reading.Add(-1) == 0 {
		close(h.chunks)
	}
}

// chunk is a chunk that another reader saves.
type chunk struct {
	plain []byte // until it is saved
	owner uint32 // of the file
	id    blob.ID
	err   error
	saved chan struct{} // receives one value
}

// offer hands a copy of plain to the others. It returns nil if all of them are busy, or have enough.
func (h *help) offer(plain []byte, owner uint32) *chunk {
	if h == nil || h.free.Load() == 0 || h.queued.Load() > helpBytes {
		return nil
	}
	c := &chunk{plain: slices.Clone(plain), owner: owner, saved: make(chan struct{}, 1)}
	select {
	case h.chunks <- c:
		h.queued.Add(int64(len(plain)))
		return c
	default:
		return nil
	}
}

// wait returns the ID of a chunk when it is saved. Until then it saves what waits for others: it may be that very one, if they have got work
// of their own.
func (r *reader) wait(ctx context.Context, c *chunk) (blob.ID, error) {
	for {
		select {
		case <-c.saved:
			return c.id, c.err
		case other := <-r.help.chunks:
			r.save(ctx, other)
		}
	}
}

// save saves a chunk of a file that another reader reads.
func (r *reader) save(ctx context.Context, c *chunk) {
	r.help.queued.Add(-int64(len(c.plain)))
	if c.err = r.own(ctx, c.owner); c.err == nil {
		c.id, c.err = r.lane.Save(ctx, blob.Data, c.plain)
	}
	c.plain = nil
	c.saved <- struct{}{}
}

// own sees to it that nothing of another owner's is in the segment that comes next.
func (r *reader) own(ctx context.Context, owner uint32) error {
	if owner == r.owner {
		return nil
	}
	if err := r.lane.BreakAlways(ctx); err != nil {
		return err
	}
	r.owner = owner
	return nil
}

// elements collects the elements of a content in order, while chunks of it are saved by others.
type elements struct {
	reader *reader
	list   *snapshot.ContentBuilder
	late   []late // begins with one that is not saved yet
}

// late is an element, and the chunk that its ID comes from; nil if it has one.
type late struct {
	element snapshot.Element
	chunk   *chunk
}

// lateMax is how many elements wait at most for one that is being saved.
const lateMax = 2 * helpChunks

// add adds the next element. c is the chunk that is being saved for it, or nil.
func (l *elements) add(ctx context.Context, e snapshot.Element, c *chunk) error {
	l.late = append(l.late, late{e, c})
	return l.settle(ctx, lateMax)
}

// settle waits until at most so many elements wait for others.
func (l *elements) settle(ctx context.Context, most int) error {
	for len(l.late) > 0 && (l.late[0].chunk == nil || len(l.late) > most) {
		first := l.late[0]
		l.late = l.late[1:]
		if first.chunk != nil {
			var err error
			if first.element.ID, err = l.reader.wait(ctx, first.chunk); err != nil {
				return err
			}
		}
		if err := l.list.Add(ctx, first.element); err != nil {
			return err
		}
	}
	return nil
}

// close waits for what is still being saved after an error.
func (l *elements) close(ctx context.Context) {
	for _, e := range l.late {
		if e.chunk != nil {
			_, _ = l.reader.wait(ctx, e.chunk) // the content is given up in any case
		}
	}
}
