package index_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

func add(t testing.TB, x *index.Index, packs ...*index.Pack) {
	t.Helper()
	for _, p := range packs {
		if err := x.Add(p); err != nil {
			t.Fatal(err)
		}
	}
}

// rows is what Index.Blobs should give for p.
func rows(p *index.Pack) []index.Entry {
	var rows []index.Entry
	for _, e := range p.Blobs {
		rows = append(rows, index.Entry(e))
	}
	return rows
}

// checkHolds compares all that x answers with the packs that it should hold. The blobs of gone must not be found.
func checkHolds(t *testing.T, x *index.Index, packs, gone []*index.Pack) {
	t.Helper()
	want, names, blobs := map[blob.ID][]blob.Extent{}, map[blob.Name]*index.Pack{}, 0
	for _, p := range packs {
		names[p.Name] = p
		blobs += len(p.Blobs)
		for i, e := range p.Blobs {
			want[e.Prefix.ID()] = append(want[e.Prefix.ID()], extent(p, i))
		}
	}
	for id, extents := range want {
		if e, ok := x.Lookup(id); !ok || !slices.Contains(extents, e) {
			t.Fatalf("Lookup(%s) = %v, %v; want one of %v", id.Short(), e, ok, extents)
		}
		got := x.LookupAll(id, nil)
		sortExtents(got)
		sortExtents(extents)
		if !slices.Equal(got, extents) {
			t.Fatalf("LookupAll(%s) = %v, want %v", id.Short(), got, extents)
		}
	}
	for _, p := range gone {
		if _, ok := x.Pack(p.Name); ok {
			t.Errorf("pack %s is still known", p.Name.Short())
		}
		for _, e := range p.Blobs {
			if _, ok := want[e.Prefix.ID()]; ok {
				continue
			}
			if got, ok := x.Lookup(e.Prefix.ID()); ok || len(x.LookupAll(e.Prefix.ID(), nil)) > 0 {
				t.Fatalf("Lookup(%s) = %v, although its pack is gone", e.Prefix.Short(), got)
			}
		}
	}
	if x.Len() != blobs {
		t.Errorf("Len() = %d, want %d", x.Len(), blobs)
	}
	listed := map[blob.Name]bool{}
	for info := range x.Packs() {
		checkInfo(t, names[info.Name], info)
		listed[info.Name] = true
	}
	if len(listed) != len(names) {
		t.Errorf("Packs() gave %d packs, want %d", len(listed), len(names))
	}
	all := map[blob.Name][]index.Entry{}
	for info, row := range x.All() {
		all[info.Name] = append(all[info.Name], row)
	}
	for name, p := range names {
		if !slices.Equal(sortEntries(all[name]), sortEntries(rows(p))) {
			t.Errorf("All() gave other rows of pack %s", name.Short())
		}
		delete(all, name)
	}
	if len(all) > 0 {
		t.Errorf("All() gave rows of packs %v too", slices.Collect(maps.Keys(all)))
	}
	for info, got := range x.Blobs() {
		checkInfo(t, names[info.Name], info)
		if !slices.Equal(got, rows(names[info.Name])) {
			t.Errorf("Blobs() gave other rows of pack %s", info.Name.Short())
		}
		delete(names, info.Name)
	}
	if len(names) > 0 {
		t.Errorf("Blobs() left out packs %v", slices.Collect(maps.Keys(names)))
	}
}

func checkInfo(t *testing.T, p *index.Pack, info *index.PackInfo) {
	t.Helper()
	if p == nil {
		t.Fatalf("pack %s is known, although it was not added", info.Name.Short())
	}
	want := index.PackInfo{Name: p.Name, Session: p.Session, Epoch: p.Epoch, Salt: p.Salt, Size: p.Size, Blobs: len(p.Blobs)}
	if d := cmp.Diff(&want, info, cmpopts.IgnoreUnexported(want)); d != "" {
		t.Errorf("pack info (-want +got)\n%s", d)
	}
	var segments []index.Segment
	for n := range info.Segments() {
		s, ok := info.Segment(uint16(n))
		if !ok {
			t.Errorf("Segment(%d) not found", n)
		}
		segments = append(segments, s)
	}
	if _, ok := info.Segment(uint16(info.Segments())); ok {
		t.Error("found a segment after the last")
	}
	if !slices.Equal(segments, p.Segments) {
		t.Errorf("segments %v, want %v", segments, p.Segments)
	}
}

func sortExtents(extents []blob.Extent) {
	slices.SortFunc(extents, func(a, b blob.Extent) int { return bytes.Compare(a.Pack[:], b.Pack[:]) })
}

func sortEntries(rows []index.Entry) []index.Entry {
	slices.SortFunc(rows, func(a, b index.Entry) int {
		if c := bytes.Compare(a.Prefix[:], b.Prefix[:]); c != 0 {
			return c
		}
		return (int(a.Segment)<<24 | int(a.Offset)) - (int(b.Segment)<<24 | int(b.Offset))
	})
	return rows
}

// somePacks makes packs of all shapes; the last two also hold blobs of the first one, in other places.
func somePacks(seed uint64) []*index.Pack {
	r := newRand(seed)
	packs := []*index.Pack{newPack(r, 0, 0), newPack(r, 1, 1), newPack(r, 2, 300)}
	for range 50 {
		packs = append(packs, newPack(r, 1+r.IntN(5), 1+r.IntN(100)))
	}
	for i := len(packs) - 2; i < len(packs); i++ {
		for j := range min(len(packs[i].Blobs), 20) {
			packs[i].Blobs[j].Prefix = packs[2].Blobs[300+j].Prefix
		}
	}
	return packs
}

func TestIndex(t *testing.T) {
	x, packs := index.New(), somePacks(10)
	checkHolds(t, x, nil, packs)
	add(t, x, packs...)
	checkHolds(t, x, packs, nil)
	add(t, x, packs...) // once more: nothing may change
	checkHolds(t, x, packs, nil)

	x.Remove(packs[2].Name) // two others hold some of its blobs
	x.Remove(packs[7].Name)
	x.Remove(packs[7].Name)
	x.Remove(blob.Name{1})
	left, gone := slices.Concat(packs[:2], packs[3:7], packs[8:]), []*index.Pack{packs[2], packs[7]}
	checkHolds(t, x, left, gone)
	add(t, x, packs[7])
	checkHolds(t, x, append(left, packs[7]), gone[:1])
}

// TestIndexKeep: what is kept is found as before, and what comes later, too.
func TestIndexKeep(t *testing.T) {
	x, packs := index.New(), somePacks(11)
	later := packs[len(packs)-1]
	packs = packs[:len(packs)-1]
	add(t, x, packs...)
	wanted := func(id blob.ID) bool { return id[3]%3 == 0 }
	x.Keep(wanted)
	kept := map[blob.Name][]index.Entry{}
	for _, p := range packs {
		for i, row := range rows(p) {
			id := row.Prefix.ID()
			if got := x.LookupAll(id, nil); slices.Contains(got, extent(p, i)) != wanted(id) {
				t.Fatalf("LookupAll(%s) = %v, wanted: %v", id.Short(), got, wanted(id))
			}
			if wanted(id) {
				kept[p.Name] = append(kept[p.Name], row)
			}
		}
	}
	if len(kept) < 10 {
		t.Fatalf("only %d packs have something that is wanted", len(kept))
	}
	for info, got := range x.Blobs() {
		if !slices.Equal(got, kept[info.Name]) {
			t.Errorf("Blobs() gave other rows of pack %s", info.Name.Short())
		}
	}
	add(t, x, later)
	for i, row := range rows(later) {
		if got := x.LookupAll(row.Prefix.ID(), nil); !slices.Contains(got, extent(later, i)) {
			t.Errorf("LookupAll(%s) = %v, want %v among them", row.Prefix.Short(), got, extent(later, i))
		}
	}
	x.Keep(func(blob.ID) bool { return false })
	for info, row := range x.All() {
		t.Errorf("blob %s of pack %s was kept", row.Prefix.Short(), info.Name.Short())
	}
}

func TestIndexRefusesPack(t *testing.T) {
	x, p := index.New(), newPack(newRand(11), 2, 2)
	p.Blobs[3].Length++
	if err := x.Add(p); err == nil {
		t.Error("no error")
	}
	checkHolds(t, x, nil, []*index.Pack{p})
}

// TestIndexLargestNumbers has every field of a row at its limit.
func TestIndexLargestNumbers(t *testing.T) {
	r, p := newRand(13), &index.Pack{Name: blob.Name{9}, Size: 1 << 30}
	for i := range index.SegmentsMax {
		var id blob.ID
		random(r, id[:])
		p.Segments = append(p.Segments, index.Segment{Offset: uint32(index.HeaderSize + i), Stored: 1})
		p.Blobs = append(p.Blobs, index.Entry{Prefix: index.PrefixOf(id), Kind: blob.Scan, Segment: uint16(i)})
	}
	last := len(p.Segments) - 1
	p.Segments[last].Stored = p.Size - p.Segments[last].Offset
	p.Segments[last].Plain = 8 << 20
	p.Blobs[last].Length = 8 << 20
	p.Blobs = append(p.Blobs, index.Entry{Prefix: index.Prefix{255}, Kind: blob.Scan, Segment: uint16(last), Offset: 8 << 20})
	x := index.New()
	add(t, x, p)
	for _, i := range []int{0, last, last + 1} {
		if e, ok := x.Lookup(p.Blobs[i].Prefix.ID()); !ok || e != extent(p, i) {
			t.Errorf("Lookup of blob %d = %v, %v; want %v", i, e, ok, extent(p, i))
		}
	}
	info, _ := x.Pack(p.Name)
	checkInfo(t, p, info)
}

// TestIndexConcurrent looks up while packs are added; what was added before must be found throughout.
func TestIndexConcurrent(t *testing.T) {
	x, r := index.New(), newRand(12)
	before := newPack(r, 5, 200)
	add(t, x, before)
	var adders, readers sync.WaitGroup
	var packs []*index.Pack
	done := make(chan struct{})
	for range 4 {
		mine := []*index.Pack{newPack(r, 1, 500), newPack(r, 3, 500), newPack(r, 1, 1)}
		packs = append(packs, mine...)
		adders.Go(func() {
			for _, p := range mine {
				if err := x.Add(p); err != nil {
					t.Error(err)
				}
				if _, ok := x.Pack(p.Name); !ok {
					t.Errorf("pack %s is not known after Add", p.Name.Short())
				}
			}
			x.Remove(mine[2].Name)
		})
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				n := i % len(before.Blobs)
				if e, ok := x.Lookup(before.Blobs[n].Prefix.ID()); !ok || e != extent(before, n) {
					t.Errorf("Lookup = %v, %v; want %v", e, ok, extent(before, n))
				}
				for info := range x.Packs() {
					if _, ok := info.Segment(0); !ok {
						t.Errorf("pack %s has no segment", info.Name.Short())
					}
				}
			}
		})
	}
	adders.Wait()
	close(done)
	readers.Wait()
	var left, gone []*index.Pack
	for i, p := range packs {
		if i%3 == 2 {
			gone = append(gone, p)
		} else {
			left = append(left, p)
		}
	}
	checkHolds(t, x, append(left, before), gone)
}

func Example() {
	p := &index.Pack{
		Name:     blob.Name{0xab},
		Size:     4096,
		Segments: []index.Segment{{Offset: index.HeaderSize, Stored: 700, Plain: 1500}},
		Blobs: []index.Entry{
			{Prefix: index.Prefix{1}, Kind: blob.Data, Length: 1000},
			{Prefix: index.Prefix{2}, Kind: blob.Data, Offset: 1000, Length: 500},
		},
	}
	x := index.New()
	if err := x.Add(p); err != nil {
		fmt.Println(err)
	}
	at, ok := x.Lookup(blob.ID{2})
	fmt.Println(ok, at.Pack.Short(), at.Segment, at.Offset, at.Length)
	info, _ := x.Pack(at.Pack)
	segment, _ := info.Segment(at.Segment)
	fmt.Println("read", segment.Stored, "bytes at", segment.Offset)
	// Output:
	// true ab000000 0 1000 500
	// read 700 bytes at 80
}
