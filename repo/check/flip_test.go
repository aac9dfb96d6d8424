package check_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/storage"
)

// damage is one object changed.
type damage struct {
	name string
	at   int // the byte; -1 if the object is cut or hidden
	bit  int
	data []byte // nil: the object is removed
}

func flip(name string, data []byte, at, bit int) damage {
	data = bytes.Clone(data)
	data[at] ^= 1 << bit
	return damage{name: name, at: at, bit: bit, data: data}
}

// try opens the repository, does the damage, and reports whether a check finds it. What can be read then must be as it was.
func (d *damage) try(t *testing.T, s storage.Storage, want map[string]string) (found []check.Finding) {
	l := newLayered(s)
	r := open(t, l) // before the damage, so that nothing is kept that was read before
	l.set(d.name, d.data)
	found, _ = run(t, r, check.Options{ReadData: true, Workers: 1})
	for key, got := range restored(context.Background(), r) {
		if got != want[key] {
			t.Errorf("%s, byte %d, bit %d: %q reads wrong", d.name, d.at, d.bit, key)
		}
	}
	if d.name == "config" || d.at < 0 {
		// Whoever opens the repository now must get an error, or see the same.
		r, err := repo.Open(context.Background(), l, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
		if err == nil && d.name == "config" {
			t.Errorf("config, byte %d, bit %d: the repository opens", d.at, d.bit)
		}
		if err == nil {
			for key, got := range restored(context.Background(), r) {
				if got != want[key] {
					t.Errorf("%s: %q reads wrong", d.name, key)
				}
			}
		}
	}
	return found
}

// damages calls fn for each damage, on all processors.
func damages(list []damage, fn func(d *damage)) {
	var g sync.WaitGroup
	next := make(chan *damage)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() {
			for d := range next {
				fn(d)
			}
		})
	}
	for i := range list {
		next <- &list[i]
	}
	close(next)
	g.Wait()
}

// TestEveryFlippedBitIsFound is promise I9. The whole of it, one bit of each byte and all bits of small objects, takes an hour of
// processor time and runs with TARN_SOAK=1; else all parts of each object are sampled.
func TestEveryFlippedBitIsFound(t *testing.T) {
	s, _ := small(t, 1)
	r := newRand(t)
	var list []damage
	for name, data := range objects(t, s) {
		for at := range data {
			edge := at < 80 || at >= len(data)-64
			switch {
			case os.Getenv("TARN_SOAK") != "":
				if len(data) < 1000 {
					for bit := range 8 {
						list = append(list, flip(name, data, at, bit))
					}
					continue
				}
			case edge && r.IntN(6) > 0 || !edge && r.IntN(len(data)) > 60:
				continue
			}
			list = append(list, flip(name, data, at, r.IntN(8)))
		}
	}
	testDamages(t, s, list, r)
}

func testDamages(t *testing.T, s storage.Storage, list []damage, r *rand.Rand) {
	t.Helper()
	want := restored(context.Background(), open(t, s))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	damages(list, func(d *damage) {
		found := d.try(t, s, want)
		for _, f := range found {
			if f.Object == d.name && f.Severity == check.Error {
				return
			}
		}
		t.Errorf("%s, byte %d, bit %d, now %d bytes: not found; only %v", d.name, d.at, d.bit, len(d.data), found)
	})
	t.Logf("%d damages", len(list))
}
