package crash

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Keep says how much a power cut leaves of what is not durable.
type Keep uint8

const (
	KeepNothing    Keep = iota // the least that the disk has promised
	KeepEverything             // as if all had been written just in time
	KeepSome                   // for each name any of its states, of each file any blocks, by the seed
)

// blockSize is what a disk writes as one.
const blockSize = 512

// CrashClone returns a store as it would be after a power cut now, in which all is durable. It has neither the hook nor
// the mistake of Options. The clones of equal stores with equal seeds are equal; rng is used by KeepSome only, and may be
// nil otherwise.
func (s *Store) CrashClone(rng *rand.Rand, mode Keep) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := cutter{rng, mode, map[*file]*file{}}
	clone := New(Options{})
	clone.made = s.made
	for _, name := range slices.Sorted(maps.Keys(s.names)) { // in order, so that a seed says all
		states := s.names[name]
		if left := c.file(states[c.pick(len(states))]); left != nil {
			clone.names[name] = []*file{left}
		}
	}
	for _, t := range s.temps {
		// A temporary's own name is never synced. One that was renamed is gone if all was kept.
		if there := c.pick(2) == 1; there != (t.renamed && mode == KeepEverything) {
			clone.temps = append(clone.temps, &temp{file: c.file(t.file), name: t.name, session: t.session})
		}
	}
	return clone
}

// cutter decides what is left.
type cutter struct {
	rng  *rand.Rand
	mode Keep
	done map[*file]*file // a file that has two names has the same bytes under both
}

// pick returns one of n states, the first of which is the durable one.
func (c *cutter) pick(n int) int {
	switch c.mode {
	case KeepNothing:
		return 0
	case KeepEverything:
		return n - 1
	}
	return c.rng.IntN(n)
}

// file returns what is left of a file: all if it was synced, else any length of it with any of its blocks, the others
// being zeros.
func (c *cutter) file(f *file) *file {
	if f == nil || f.synced {
		return f
	}
	if left := c.done[f]; left != nil {
		return left
	}
	data := slices.Clone(f.data[:c.pick(len(f.data)+1)])
	for off := 0; off < len(data); off += blockSize {
		if c.pick(2) == 0 {
			clear(data[off:min(off+blockSize, len(data))])
		}
	}
	c.done[f] = &file{data: data, synced: true}
	return c.done[f]
}
