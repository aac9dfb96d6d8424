package index

import (
	"encoding/binary"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/tarn-backup/tarn/blob"
)

// Set is a set of blobs, for what a running backup has stored already. The zero Set is empty and ready; its methods may be
// called at the same time. Like Index it keeps half of each id. Ten million blobs take about 220 MiB.
type Set struct {
	n      atomic.Int64
	shards [256]setShard
}

// setShard holds the ids with the same first byte, by open addressing. That byte need not be kept, so it says instead that a
// place is taken.
type setShard struct {
	mu   sync.Mutex
	n    int
	keys []Prefix
}

// Add adds id and reports whether it is new. Of several who add the same id at once, one is told so.
func (s *Set) Add(id blob.ID) bool {
	key := PrefixOf(id)
	key[0] = 1
	if !s.shards[id[0]].add(&key) {
		return false
	}
	s.n.Add(1)
	return true
}

// Has reports whether id is in the set.
func (s *Set) Has(id blob.ID) bool {
	key := PrefixOf(id)
	key[0] = 1
	h := &s.shards[id[0]]
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.keys) == 0 {
		return false
	}
	return h.keys[h.find(&key)] == key
}

// All goes through the ids in the set, of which the half that it keeps is set. None may be added meanwhile.
func (s *Set) All() iter.Seq[blob.ID] {
	return func(yield func(blob.ID) bool) {
		for i := range s.shards {
			for _, key := range s.shards[i].keys {
				if key[0] == 0 {
					continue
				}
				var id blob.ID
				copy(id[:], key[:])
				id[0] = byte(i)
				if !yield(id) {
					return
				}
			}
		}
	}
}

// Len is the number of ids in the set.
func (s *Set) Len() int { return int(s.n.Load()) }

func (h *setShard) add(key *Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n*6 >= len(h.keys)*5 {
		h.growLocked()
	}
	at := h.find(key)
	if h.keys[at] == *key {
		return false
	}
	h.keys[at] = *key
	h.n++
	return true
}

// growLocked adds a quarter, not the usual double: a set that has just grown is then still two thirds full.
func (h *setShard) growLocked() {
	old := h.keys
	h.keys = make([]Prefix, len(old)*5/4+8)
	for i := range old {
		if old[i][0] != 0 {
			h.keys[h.find(&old[i])] = old[i]
		}
	}
}

// find returns the place of key: where it is, or the free one where it would go.
func (h *setShard) find(key *Prefix) int {
	at := scale(binary.LittleEndian.Uint32(key[1:]), len(h.keys))
	for h.keys[at][0] != 0 && h.keys[at] != *key {
		if at++; at == len(h.keys) {
			at = 0
		}
	}
	return at
}
