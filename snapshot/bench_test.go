package snapshot_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tarn-backup/tarn/snapshot"
)

// rate reports how many millions were done in a second.
func rate(b *testing.B, each int) {
	b.ReportMetric(float64(b.N)*float64(each)/b.Elapsed().Seconds()/1e6, "M/s")
}

// sourceFile is a node as most are.
func sourceFile(n int) snapshot.Node {
	return snapshot.Node{Name: fmt.Sprintf("source_file_%d.c", n), Type: snapshot.File, Mode: 0o644, UID: 1000, GID: 1000, User: "someone", Group: "people",
		ModTime: snapshot.Time{Sec: 1_700_000_000 + int64(n), Nsec: 123_456_789}, Size: 20_000,
		Content: snapshot.Content{Elements: []snapshot.Element{{ID: id(n), Length: 20_000}}}}
}

// BenchmarkTree encodes and decodes the nodes of a folder; encoding/json, which others write trees with, does it beside.
func BenchmarkTree(b *testing.B) {
	const count = 1000
	nodes := make([]snapshot.Node, count)
	for i := range nodes {
		nodes[i] = sourceFile(i)
	}
	var tree []byte
	for i := range nodes {
		tree = snapshot.AppendNode(tree, &nodes[i])
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, len(tree))
		for b.Loop() {
			buf = buf[:0]
			for i := range nodes {
				buf = snapshot.AppendNode(buf, &nodes[i])
			}
		}
		rate(b, count)
	})
	b.Run("encode-json", func(b *testing.B) {
		for b.Loop() {
			if _, err := json.Marshal(nodes); err != nil {
				b.Fatal(err)
			}
		}
		rate(b, count)
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var n snapshot.Node
		for b.Loop() {
			for rest := string(tree); rest != ""; {
				var err error
				if rest, err = snapshot.CutNode(rest, &n); err != nil {
					b.Fatal(err)
				}
			}
		}
		rate(b, count)
	})
	b.Run("decode-json", func(b *testing.B) {
		data, err := json.Marshal(nodes)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			var got []snapshot.Node
			if err := json.Unmarshal(data, &got); err != nil {
				b.Fatal(err)
			}
		}
		rate(b, count)
	})
}

// BenchmarkScan goes through a scan record along with a walk that sees the same entries; a map of all of them does it beside.
func BenchmarkScan(b *testing.B) {
	const folders, entries = 100, 1000
	ctx := context.Background()
	s := newStore()
	builder := s.lists(64 << 10).NewScanBuilder()
	names := make([]string, entries)
	for i := range names {
		names[i] = fmt.Sprintf("source_file_%04d.c", i)
	}
	byPath := map[string]snapshot.Seen{}
	for f := range folders {
		folder := fmt.Sprintf("folder%03d", f)
		must(b, builder.Enter(ctx, &snapshot.Seen{Name: folder, Inode: uint64(f)}))
		for i, name := range names {
			seen := snapshot.Seen{Name: name, Inode: uint64(f*entries + i), ChangeTime: snapshot.Time{Sec: 1_700_000_000, Nsec: 5}, Method: snapshot.MethodLease}
			must(b, builder.Entry(ctx, &seen))
			byPath[folder+"/"+name] = seen
		}
		must(b, builder.Leave(ctx))
	}
	c, err := builder.Finish(ctx)
	must(b, err)
	b.Run("merge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := snapshot.NewScanReader(ctx, s, c)
			for f := range folders {
				if _, _, ok := r.Find(fmt.Sprintf("folder%03d", f)); !ok {
					b.Fatal("no folder")
				}
				for i, name := range names {
					if seen, _, ok := r.Find(name); !ok || seen.Inode != uint64(f*entries+i) {
						b.Fatalf("%s is not there", name)
					}
				}
				r.LeaveTo(0)
			}
			r.Close()
		}
		rate(b, folders*entries)
	})
	b.Run("map", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for f := range folders {
				folder := fmt.Sprintf("folder%03d/", f)
				for i, name := range names {
					if seen, ok := byPath[folder+name]; !ok || seen.Inode != uint64(f*entries+i) {
						b.Fatalf("%s is not there", name)
					}
				}
			}
		}
		rate(b, folders*entries)
	})
}
