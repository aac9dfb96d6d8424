package fusefs

import (
	"container/list"
	"sync"

	"github.com/tarn-backup/tarn/blob"
)

// cache keeps what was made of blobs, the least recently used goes first. It is safe for concurrent use.
type cache[V any] struct {
	mu    sync.Mutex
	max   int64
	size  int64
	known map[blob.ID]*list.Element
	order *list.List // of cached[V], the most recently used in front
}

type cached[V any] struct {
	id    blob.ID
	size  int64
	value V
}

func newCache[V any](max int64) *cache[V] {
	return &cache[V]{max: max, known: map[blob.ID]*list.Element{}, order: list.New()}
}

func (c *cache[V]) get(id blob.ID) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[id]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached[V]).value, true
}

// put keeps v, which takes size bytes. Who adds what is there already changes nothing.
func (c *cache[V]) put(id blob.ID, v V, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[id]; ok {
		return
	}
	c.known[id] = c.order.PushFront(&cached[V]{id, size, v})
	c.size += size
	for c.size > c.max && c.order.Len() > 1 {
		last := c.order.Remove(c.order.Back()).(*cached[V])
		delete(c.known, last.id)
		c.size -= last.size
	}
}
