package index_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

func TestSet(t *testing.T) {
	var s index.Set
	r := newRand(20)
	ids := make([]blob.ID, 20_000)
	for i := range ids {
		random(r, ids[i][:])
	}
	ids[0] = blob.ID{}                                              // all zero, as free places are
	ids[1], ids[2], ids[3] = blob.ID{1}, blob.ID{2}, blob.ID{15: 1} // the first and the last byte that count
	for i, id := range ids {
		if s.Has(id) {
			t.Fatalf("has %s before it was added", id.Short())
		}
		if !s.Add(id) {
			t.Fatalf("%s is not new", id.Short())
		}
		if s.Len() != i+1 {
			t.Fatalf("Len() = %d, want %d", s.Len(), i+1)
		}
	}
	for _, id := range ids {
		if !s.Has(id) || s.Add(id) {
			t.Fatalf("%s is not there", id.Short())
		}
	}
	n := 0
	for id := range s.All() {
		if n++; !s.Has(id) {
			t.Fatalf("goes through %s, which it does not have", id.Short())
		}
	}
	if n != len(ids) {
		t.Fatalf("goes through %d of %d", n, len(ids))
	}
}

// TestSetCollisions has ids that all want the same place.
func TestSetCollisions(t *testing.T) {
	var s index.Set
	id := func(i int) (id blob.ID) {
		binary.LittleEndian.PutUint32(id[1:], 0xffffffff)
		binary.LittleEndian.PutUint16(id[10:], uint16(i))
		return id
	}
	for i := range 500 {
		if !s.Add(id(i)) {
			t.Fatalf("id %d is not new", i)
		}
	}
	for i := range 1000 {
		if s.Has(id(i)) != (i < 500) {
			t.Fatalf("Has(id %d) = %v", i, s.Has(id(i)))
		}
	}
}

func TestSetConcurrent(t *testing.T) {
	var s index.Set
	var won atomic.Int64
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			r := newRand(21) // the same ids in each
			for range 20_000 {
				var id blob.ID
				random(r, id[:])
				if s.Add(id) {
					won.Add(1)
				}
			}
		})
	}
	g.Wait()
	if won.Load() != 20_000 || s.Len() != 20_000 {
		t.Errorf("%d ids were new and Len() = %d, want 20000", won.Load(), s.Len())
	}
}

func ExampleSet() {
	var stored index.Set
	fmt.Println(stored.Add(blob.ID{1}), stored.Add(blob.ID{1}), stored.Add(blob.ID{2}))
	// Output: true false true
}
