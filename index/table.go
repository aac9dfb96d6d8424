package index

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tarn-backup/tarn/blob"
)

// table holds the packs that were added since the index was made. The rows are spread over shards by the first byte of the
// id. Look-ups take one shard's lock; additions are made one at a time.
type table struct {
	mu     sync.Mutex // guards names and the making of packs
	names  map[blob.Name]*tablePack
	packs  atomic.Pointer[[]*tablePack] // by their number in rows; only ever appended to
	blobs  atomic.Int64                 // of live packs
	shards [256]shard
}

type tablePack struct {
	PackInfo
	dead atomic.Bool // removed: its rows stay, and are passed over
}

// shard finds rows by open addressing. A slot is 0 if it is free, else the row's position plus one in the lower 24 bits and
// a byte of the id above them, so that a look-up seldom touches a row in vain.
type shard struct {
	mu    sync.RWMutex
	rows  rows
	slots []uint32
}

const shardRowsMax = 1<<24 - 1

// rows is a list that grows by blocks: what is in it is never copied, and little of its memory is not in use.
type rows struct {
	n      int
	blocks []*[blockRows]row
}

const blockRows = 64

func (l *rows) at(i int) *row { return &l.blocks[i/blockRows][i%blockRows] }

func (l *rows) add(r row) {
	if l.n == len(l.blocks)*blockRows {
		l.blocks = append(l.blocks, new([blockRows]row))
	}
	l.n++
	*l.at(l.n - 1) = r
}

func (t *table) pack(name blob.Name) *tablePack {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.names[name]
}

func (t *table) list() []*tablePack {
	if packs := t.packs.Load(); packs != nil {
		return *packs
	}
	return nil
}

// add adds a pack that passed Check, unless it is there.
func (t *table) add(p *Pack) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names[p.Name] != nil {
		return nil
	}
	packs := t.list()
	if len(packs) == packsMax {
		return fmt.Errorf("more than %d packs", packsMax)
	}
	number, tp := uint32(len(packs)), &tablePack{PackInfo: makePackInfo(p)}
	packs = append(packs, tp) // where it has room to grow, those who hold the old slice don't see the new end
	t.packs.Store(&packs)
	for i := range p.Blobs {
		r := makeRow(number, &p.Blobs[i])
		if !t.shards[r[0]].add(r) {
			tp.dead.Store(true)
			return fmt.Errorf("more than %d blobs in shard %d", shardRowsMax, r[0])
		}
	}
	if t.names == nil {
		t.names = make(map[blob.Name]*tablePack)
	}
	t.names[p.Name] = tp
	t.blobs.Add(int64(tp.Blobs))
	return nil
}

func (t *table) remove(name blob.Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tp := t.names[name]; tp != nil {
		delete(t.names, name)
		tp.dead.Store(true)
		t.blobs.Add(-int64(tp.Blobs))
	}
}

func (t *table) lookup(id *blob.ID) (blob.Extent, bool) {
	s := &t.shards[id[0]]
	s.mu.RLock()
	defer s.mu.RUnlock()
	for r, at := s.find(id, s.home(id)); r != nil; r, at = s.find(id, at) {
		if tp := t.list()[r.pack()]; !tp.dead.Load() {
			return r.extent(tp.Name), true
		}
	}
	return blob.Extent{}, false
}

func (t *table) lookupAll(id *blob.ID, buf []blob.Extent) []blob.Extent {
	s := &t.shards[id[0]]
	s.mu.RLock()
	defer s.mu.RUnlock()
	for r, at := s.find(id, s.home(id)); r != nil; r, at = s.find(id, at) {
		if tp := t.list()[r.pack()]; !tp.dead.Load() {
			buf = append(buf, r.extent(tp.Name))
		}
	}
	return buf
}

// home is the slot at which the search for id begins. IDs are uniform, so 32 bits of one scaled to the number of slots are
// as good as a hash, and the slots need not be a power of two.
func (s *shard) home(id *blob.ID) int {
	return scale(binary.LittleEndian.Uint32(id[1:]), len(s.slots))
}

func scale(bits uint32, n int) int { return int(uint64(bits) * uint64(n) >> 32) }

// find returns the first row of id from slot at on, and the slot after it; nil if there is none.
func (s *shard) find(id *blob.ID, at int) (*row, int) {
	if len(s.slots) == 0 {
		return nil, 0
	}
	for ; ; at++ {
		if at == len(s.slots) {
			at = 0
		}
		v := s.slots[at]
		if v == 0 {
			return nil, at
		}
		if byte(v>>24) == id[5] {
			if r := s.rows.at(int(v&shardRowsMax) - 1); r.is(id) {
				return r, at + 1
			}
		}
	}
}

func (s *shard) add(r row) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows.n == shardRowsMax {
		return false
	}
	s.rows.add(r)
	if s.rows.n*4 <= len(s.slots)*3 {
		s.place(s.rows.n - 1)
		return true
	}
	s.slots = make([]uint32, len(s.slots)*3/2+8)
	for i := range s.rows.n {
		s.place(i)
	}
	return true
}

// keepLocked leaves only rows of which wanted says that they are, and gives the memory of the others back.
func (s *shard) keepLocked(wanted func(*row) bool) {
	kept := 0
	for i := range s.rows.n {
		if r := s.rows.at(i); wanted(r) {
			*s.rows.at(kept) = *r
			kept++
		}
	}
	s.rows = rows{kept, slices.Clone(s.rows.blocks[:(kept+blockRows-1)/blockRows])}
	s.slots = make([]uint32, kept*3/2+8)
	for i := range kept {
		s.place(i)
	}
}

// keep is Index.Keep for a table.
func (t *table) keep(wanted func(id blob.ID) bool) {
	packs := t.list()
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.keepLocked(func(r *row) bool { return !packs[r.pack()].dead.Load() && wanted(r.prefix().ID()) })
		s.mu.Unlock()
	}
}

// all is Index.All for a table.
func (t *table) all(yield func(*PackInfo, Entry) bool) bool {
	for i := range t.shards {
		l := t.shards[i].list()
		packs := t.list() // after the rows, so that it has the packs of all of them
		for j := range l.n {
			r := l.at(j)
			if tp := packs[r.pack()]; !tp.dead.Load() && !yield(&tp.PackInfo, r.entry()) {
				return false
			}
		}
	}
	return true
}

// list returns the rows that there are now. What is added from here on is not seen; rows never change.
func (s *shard) list() rows {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rows
}

// place enters row i into the slots.
func (s *shard) place(i int) {
	r := s.rows.at(i)
	at := scale(binary.LittleEndian.Uint32(r[1:]), len(s.slots))
	for s.slots[at] != 0 {
		if at++; at == len(s.slots) {
			at = 0
		}
	}
	s.slots[at] = uint32(r[5])<<24 | uint32(i+1)
}
