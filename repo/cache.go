package repo

import (
	"container/list"
	"context"
	"sync"

	"github.com/tarn-backup/tarn/blob"
)

// How many bytes of decoded segments are kept. Half is for those that are fetched ahead, which are more where each takes long.
const (
	segmentCacheSize = 48 << 20
	segmentCacheFar  = 96 << 20
)

type segmentKey struct {
	pack   blob.Name
	number uint16
}

// segment is one decoded segment, or the wait for it.
type segment struct {
	key   segmentKey
	ready chan struct{} // closed when plain or err is set
	plain []byte
	err   error
	place *list.Element // in the order of use; nil while it is fetched, and after it was dropped
}

// segmentCache keeps decoded segments, the least recently used go first. However many ask for a segment, it is fetched once.
type segmentCache struct {
	mu    sync.Mutex
	max   int
	size  int
	known map[segmentKey]*segment
	order *list.List // of *segment, the most recently used in front
}

func newSegmentCache(max int) *segmentCache {
	return &segmentCache{max: max, known: map[segmentKey]*segment{}, order: list.New()}
}

// get returns a segment's plaintext, which is shared: nobody may change it.
func (c *segmentCache) get(ctx context.Context, key segmentKey, fetch func() ([]byte, error)) ([]byte, error) {
	for {
		c.mu.Lock()
		s, ok := c.known[key]
		if !ok {
			s = &segment{key: key, ready: make(chan struct{})}
			c.known[key] = s
			c.mu.Unlock()
			c.fill(s, fetch)
			return s.plain, s.err
		}
		if s.place != nil {
			c.order.MoveToFront(s.place)
		}
		c.mu.Unlock()
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s.err == nil {
			return s.plain, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// Whoever fetched it may have been cancelled: ask again, and get an error of one's own.
	}
}

// clear drops all segments that are kept.
func (c *segmentCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; e = e.Next() {
		s := e.Value.(*segment)
		s.place = nil
		delete(c.known, s.key)
	}
	c.order.Init()
	c.size = 0
}

func (c *segmentCache) fill(s *segment, fetch func() ([]byte, error)) {
	plain, err := fetch()
	c.settle(s, plain, err)
}

// limit is how many bytes may be kept.
func (c *segmentCache) limit() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.max)
}

// claim makes the caller the one who is to settle a segment, unless it is there or somebody is at it.
func (c *segmentCache) claim(key segmentKey) (s *segment, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.known[key]; ok {
		if s.place != nil {
			c.order.MoveToFront(s.place)
		}
		return nil, false
	}
	s = &segment{key: key, ready: make(chan struct{})}
	c.known[key] = s
	return s, true
}

// settle says what came of a segment, for all who wait.
func (c *segmentCache) settle(s *segment, plain []byte, err error) {
	s.plain, s.err = plain, err
	c.mu.Lock()
	defer c.mu.Unlock()
	close(s.ready)
	if s.err != nil {
		delete(c.known, s.key)
		return
	}
	s.place = c.order.PushFront(s)
	c.size += cap(s.plain)
	for c.size > c.max && c.order.Len() > 1 {
		last := c.order.Remove(c.order.Back()).(*segment)
		last.place = nil
		c.size -= cap(last.plain)
		delete(c.known, last.key)
	}
}
