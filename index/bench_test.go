package index_test

import (
	"slices"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

// BenchmarkLookup looks up blobs in an index that fits a processor's cache, so that BenchmarkIndex10M shows what waiting for memory
// adds: in the local cache, in memory, and in a Go map.
func BenchmarkLookup(b *testing.B) {
	var packs []*index.Pack
	var ids []blob.ID
	r, plain := newRand(7), map[blob.ID]blob.Extent{}
	for range 40 {
		p := newPack(r, 10, 50)
		packs = append(packs, p)
		for i := range p.Blobs {
			ids = append(ids, p.Blobs[i].Prefix.ID())
			plain[p.Blobs[i].Prefix.ID()] = extent(p, i)
		}
	}
	r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	c := openCache(b, b.TempDir())
	extend(b, c, packs...)
	cached, _ := c.Index(slices.Values(names(packs)))
	memory := index.New()
	add(b, memory, packs...)
	for _, v := range []struct {
		name string
		look func(blob.ID) bool
	}{
		{"cache", func(id blob.ID) bool { _, ok := cached.Lookup(id); return ok }},
		{"memory", func(id blob.ID) bool { _, ok := memory.Lookup(id); return ok }},
		{"map", func(id blob.ID) bool { _, ok := plain[id]; return ok }},
	} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if !v.look(ids[n%len(ids)]) {
					b.Fatal("not there")
				}
				n++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		})
	}
}
