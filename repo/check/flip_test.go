package check_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/storage"
)

// damage is one object changed: a bit of data is flipped, or data stands in its place.
type damage struct {
	name string
	at   int // the byte; -1 if no bit is flipped
	bit  int
	data []byte
}

// bytes are those of the damaged object. They are made when they are needed: there can be many damages.
func (d *damage) bytes() []byte {
	data := bytes.Clone(d.data)
	if d.at >= 0 {
		data[d.at] ^= 1 << d.bit
	}
	return data
}

func (d *damage) String() string {
	return fmt.Sprintf("%s, byte %d, bit %d, now %d bytes", d.name, d.at, d.bit, len(d.data))
}

// flip returns data with a bit flipped.
func flip(data []byte, at, bit int) []byte {
	d := damage{at: at, bit: bit, data: data}
	return d.bytes()
}

// bench is a repository that one goroutine damages and repairs again.
type bench struct {
	t    *testing.T
	s    *layered
	r    *repo.Repo
	want map[string]string // what can be restored from it when it is whole
}

func newBench(t *testing.T, s storage.Storage, want map[string]string) *bench {
	l := newLayered(s)
	return &bench{t: t, s: l, r: open(t, l), want: want}
}

// try does the damage and returns what a check finds. What can be read then must be as it was.
func (b *bench) try(d *damage) []check.Finding {
	b.s.set(d.name, d.bytes())
	defer b.s.reset()
	r, err := b.r.Fresh()
	if err != nil {
		b.t.Fatal(err)
	}
	found, _ := run(b.t, r, check.Options{ReadData: true, Workers: 1})
	b.compare(d, r)
	if d.name != "config" && !strings.HasPrefix(d.name, "keys/") {
		return found
	}
	r, err = repo.Open(context.Background(), b.s, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
	if err == nil {
		b.t.Errorf("%v: the repository opens", d)
		b.compare(d, r)
	}
	return found
}

func (b *bench) compare(d *damage, r *repo.Repo) {
	for key, got := range restored(context.Background(), r) {
		if got != b.want[key] {
			b.t.Errorf("%v: %q reads wrong", d, key)
		}
	}
}

// testDamages expects that a check finds each damage, and returns what it found.
func testDamages(t *testing.T, s storage.Storage, list []damage) {
	t.Helper()
	want := restored(context.Background(), open(t, s))
	var g sync.WaitGroup
	next := make(chan *damage)
	for range runtime.GOMAXPROCS(0) {
		b := newBench(t, s, want)
		g.Go(func() {
			for d := range next {
				if found := b.try(d); !finds(found, d.name) {
					t.Errorf("%v: not found; only %v", d, found)
				}
			}
		})
	}
	for i := range list {
		next <- &list[i]
	}
	close(next)
	g.Wait()
	t.Logf("%d damages, each found", len(list))
}

// finds reports whether an error about the object is among the findings.
func finds(found []check.Finding, object string) bool {
	return slices.ContainsFunc(found, func(f check.Finding) bool { return f.Severity == check.Error && f.Object == object })
}

// TestEveryFlippedBitIsFound is promise I9. The whole of it, one bit of each byte and all bits of small objects, takes half an hour
// and runs with TARN_SOAK=1; else all parts of each object are sampled.
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
						list = append(list, damage{name, at, bit, data})
					}
					continue
				}
			case edge && r.IntN(10) > 0 || !edge && r.IntN(len(data)) > 25:
				continue
			}
			list = append(list, damage{name, at, r.IntN(8), data})
		}
	}
	testDamages(t, s, list)
}

// TestEveryBitIsFound flips every bit of a repository with parity and without padding, and cuts each of its objects at every length: all of that with
// TARN_SOAK=1, else a sample by the seed. Keys and config are left to the test above: opening them takes long.
func TestEveryBitIsFound(t *testing.T) {
	s := guarded(t, 1)
	r := newRand(t)
	soak, total := os.Getenv("TARN_SOAK") != "", 0
	var list []damage
	for name, data := range objects(t, s) {
		if name == "config" || strings.HasPrefix(name, "keys/") {
			continue
		}
		total += len(data)
		for at := range data {
			for bit := range 8 {
				if soak || bit == at%8 && r.IntN(64) == 0 {
					list = append(list, damage{name, at, bit, data})
				}
			}
			if soak || r.IntN(64) == 0 {
				list = append(list, damage{name: name, at: -1, data: data[:at]})
			}
		}
	}
	t.Logf("%d bytes", total)
	testDamages(t, s, list)
}

func TestEveryCutIsFound(t *testing.T) {
	s, _ := small(t, 1)
	var list []damage
	for name, data := range objects(t, s) {
		for _, n := range []int{0, 1, 79, 80, 143, 144, len(data) / 2, len(data) - 64, len(data) - 1} {
			if n >= 0 && n < len(data) {
				list = append(list, damage{name: name, at: -1, data: append([]byte{}, data[:n]...)})
			}
		}
		list = append(list, damage{name: name, at: -1, data: append(bytes.Clone(data), 0)})
	}
	testDamages(t, s, list)
}

// TestEveryPartOfAPackIsProven flips bits of a pack and gives it the name that its bytes have then, as a program would that
// damages data before it hashes them: the hash proves nothing here.
func TestEveryPartOfAPackIsProven(t *testing.T) {
	s, _ := small(t, 1)
	r := newRand(t)
	all := objects(t, s)
	data := all[names(all, "data/")[0]]
	var list []damage
	for at := range data {
		if edge := at < 80 || at >= len(data)-64; edge && r.IntN(2) == 0 || r.IntN(600) == 0 {
			d := damage{at: at, bit: r.IntN(8), data: data}
			n := blob.Name(sha256.Sum256(d.bytes())).String()
			d.name = "data/" + n[:2] + "/" + n
			list = append(list, d)
		}
	}
	testDamages(t, s, list)
}

func TestRemovedObjects(t *testing.T) {
	s, _ := small(t, 1)
	want := restored(t.Context(), open(t, s))
	for name := range objects(t, s) {
		b := newBench(t, s, want)
		b.s.set(name, nil)
		r, err := b.r.Fresh()
		if err != nil {
			t.Fatal(err)
		}
		found, _ := run(t, r, check.Options{ReadData: true})
		folder, _, _ := strings.Cut(name, "/")
		got := fmt.Sprint(found)
		switch folder {
		case "config":
			if !finds(found, "config") || len(found) != 1 {
				t.Errorf("%s: %v", name, found)
			}
		case "keys":
			if !finds(found, "keys/") || len(found) != 1 {
				t.Errorf("%s: %v", name, found)
			}
		case "data":
			if !strings.Contains(got, "warning: "+name) || !strings.Contains(got, "error: snapshots/") {
				t.Errorf("%s: %v", name, found)
			}
		case "index":
			if len(found) != 1 || found[0].Severity != check.Warning || !strings.Contains(got, "no index object names this pack") {
				t.Errorf("%s: %v", name, found)
			}
			if all := restored(t.Context(), r); len(all) != len(want) {
				t.Errorf("%s: %d of %d entries can be read", name, len(all), len(want))
			}
		default: // nobody can know that it was there
			if len(found) > 0 {
				t.Errorf("%s: %v", name, found)
			}
		}
		b.compare(&damage{name: name}, r)
	}
}
