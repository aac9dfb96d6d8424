package repo

import (
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

// TestAheadWindow takes runs without fetching them: how much is begun at a time, and that all is, once and in order.
func TestAheadWindow(t *testing.T) {
	const segments, plain, stored = 300, 2 << 20, 300 << 10
	p := &index.Pack{Name: blob.Name{1}, Size: 100 << 20}
	for i := range segments {
		p.Segments = append(p.Segments, index.Segment{Offset: uint32(80 + i*stored), Stored: stored, Plain: plain})
		p.Blobs = append(p.Blobs, index.Entry{Prefix: index.Prefix{byte(i), byte(i >> 8), 1}, Kind: blob.Data, Segment: uint16(i), Length: plain})
	}
	x := index.New()
	if err := x.Add(p); err != nil {
		t.Fatal(err)
	}
	r := &Repo{cache: newSegmentCache(segmentCacheFar), far: Far{ReadAhead: 4 << 20}, view: &View{Index: x}}
	a := r.ahead(t.Context())
	defer a.Close()
	var dones []func()
	for i := range segments / 2 { // two lanes filled the pack: pairs come in the other order
		dones = append(dones, a.Announce([]blob.ID{p.Blobs[2*i+1].Prefix.ID(), p.Blobs[2*i].Prefix.ID(), p.Blobs[2*i+1].Prefix.ID()}))
	}
	begun, runs := map[uint16]bool{}, 0
	for i, done := range dones {
		for run := a.takeLocked(); len(run) > 0; run = a.takeLocked() {
			runs++
			for _, n := range run {
				if begun[n.key.number] {
					t.Fatalf("segment %d is begun twice", n.key.number)
				}
				begun[n.key.number] = true
			}
			if a.size > a.window {
				t.Fatalf("%d bytes are begun, want at most %d", a.size, a.window)
			}
		}
		if !begun[uint16(2*i)] || !begun[uint16(2*i+1)] {
			t.Fatalf("pair %d is not begun when its turn comes", i)
		}
		done()
	}
	if len(begun) != segments || runs > segments/3 || len(a.needs) > 0 || a.size != 0 {
		t.Errorf("%d of %d segments in %d runs; %d needs and %d bytes are left", len(begun), segments, runs, len(a.needs), a.size)
	}
	t.Logf("%d segments in %d runs", len(begun), runs)
}
