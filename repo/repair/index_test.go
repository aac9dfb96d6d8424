package repair_test

import (
	"testing"

	"github.com/tarn-backup/tarn/repo/repair"
)

// TestAllIndexObjectsDeleted restores everything without an index, and makes it again.
func TestAllIndexObjectsDeleted(t *testing.T) {
	s, names, want := three(t)
	for name := range objects(t, s, "index/") {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for step := range 2 {
		r := open(t, s)
		all := contents(r)
		for i, name := range names {
			if got := of(all, name); digest(got) != digest(want[i].plain()) {
				t.Errorf("step %d, snapshot %d: got %s", step, i, digest(got))
			}
		}
		p, err := repair.PlanIndex(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if step == 1 {
			if !p.Empty() {
				t.Errorf("again: %+v", p)
			}
			break
		}
		if p.Unindexed != 3 || p.Empty() {
			t.Errorf("plan: %+v", p)
		}
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found := findings(t, open(t, s)); len(found) > 0 {
		t.Error(found)
	}
}

// TestOneIndexObjectDamaged expects that all that doesn't need it restores, here everything, with a warning.
func TestOneIndexObjectDamaged(t *testing.T) {
	s, names, want := three(t)
	for name, data := range objects(t, s, "index/") {
		data[500] ^= 8
		put(t, s, name, data)
		break
	}
	r := open(t, s)
	v, err := r.TakeView(t.Context())
	if err != nil || len(v.Warnings) != 1 {
		t.Fatalf("warnings %v, %v", v.Warnings, err)
	}
	all := contents(r)
	for i, name := range names {
		if got := of(all, name); digest(got) != digest(want[i].plain()) {
			t.Errorf("snapshot %d: got %s", i, digest(got))
		}
	}
	p, err := repair.PlanIndex(t.Context(), r)
	if err != nil || len(p.Damaged) != 1 || p.Unindexed != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := findings(t, open(t, s)); len(found) > 0 {
		t.Error(found)
	}
}

// TestIndexThatAloneKnows has a pack that can't say what it holds, and an index object that can: it stays, also next to a damaged one.
func TestIndexThatAloneKnows(t *testing.T) {
	s, names, want := three(t)
	for name, data := range objects(t, s, "data/") {
		data[len(data)-3] ^= 1 // the footer
		put(t, s, name, data)
		break
	}
	r := open(t, s)
	p, err := repair.PlanIndex(t.Context(), r)
	if err != nil || !p.Empty() || len(p.Sealed) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := of(contents(r), names[0]); digest(got) != digest(want[0].plain()) {
		t.Errorf("got %s", digest(got))
	}
	// Without the index nobody knows. A damaged index object is kept then: a copy of it could be put back.
	for name, data := range objects(t, s, "index/") {
		data[500] ^= 8
		put(t, s, name, data)
	}
	if p, err = repair.PlanIndex(t.Context(), open(t, s)); err != nil || len(p.Unknown) != 1 || len(p.Damaged) != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "index/")); n != 4 {
		t.Errorf("%d index objects, want the three damaged ones and a new one", n)
	}
}
