package restore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// What a forged snapshot asks for stays in the target, and does not keep the rest from being restored.
func TestHostileTrees(t *testing.T) {
	m := newMemory()
	good := m.file(t, "zz-good", "good")
	named := func(name string) snapshot.Node { return m.file(t, name, "evil") }
	liar := named("liar")
	liar.Content.Elements[0].Length, liar.Size = 1<<40, 1<<40
	short := named("short")
	short.Content.Elements[0].Length, short.Size = 2, 2
	for name, nodes := range map[string][]snapshot.Node{
		"empty name":        {named("")},
		"dot":               {named(".")},
		"dot dot":           {named("..")},
		"dot dot folder":    {m.dir(t, "..", named("escaped"))},
		"slash":             {named("../escaped")},
		"absolute":          {named("/escaped")},
		"inner slash":       {m.dir(t, "a"), named("a/../../escaped")},
		"NUL":               {named("esc\x00aped")},
		"long":              {named(strings.Repeat("n", 1000))},
		"twice":             {named("a"), named("a")},
		"out of order":      {named("b"), named("a")},
		"symlink as folder": {symlink("a", ".."), m.dir(t, "a", named("escaped"))},
		"folder as symlink": {m.dir(t, "a", named("x")), symlink("a", "..")},
		"lying length":      {liar},
		"lying short":       {short},
		"empty symlink":     {symlink("a", "")},
		"NUL in symlink":    {symlink("a", "x\x00y")},
		"self as folder":    {{Name: "a", Type: snapshot.Dir, Content: m.file(t, "a", "this is no tree").Content}},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(name, "symlink") {
				t.Skip("symlinks need a privilege")
			}
			parent := t.TempDir()
			target := filepath.Join(parent, "parent", "target")
			must(t, os.MkdirAll(filepath.Dir(target), 0o755))
			root := m.dir(t, "", m.forge("d", nodes...), good)
			must(t, os.Chtimes(filepath.Dir(target), time.Unix(1, 0), time.Unix(1, 0)))
			before := listing(t, parent)
			for _, o := range []restore.Options{{}, {Overwrite: restore.OverwriteIfChanged, Verify: true}, {Overwrite: restore.OverwriteAlways, Delete: true}} {
				sum, err := restore.Run(context.Background(), m, root, target, o, nil)
				if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count == 0 {
					t.Errorf("error %v, %+v", err, sum.Failed)
				}
			}
			if got := read(t, target, "zz-good"); got != "good" {
				t.Errorf("good: %q", got)
			}
			must(t, os.RemoveAll(target))
			must(t, os.Chtimes(filepath.Dir(target), time.Unix(1, 0), time.Unix(1, 0)))
			if after := listing(t, parent); after != before {
				t.Errorf("outside the target:\n%s, was\n%s", after, before)
			}
		})
	}
}

// Whatever the bytes of a tree are, nothing outside the target is touched and nothing panics.
func FuzzTree(f *testing.F) {
	m := newMemory()
	add := func(nodes ...snapshot.Node) {
		var b []byte
		for i := range nodes {
			b = snapshot.AppendNode(b, &nodes[i])
		}
		f.Add(b)
	}
	small := snapshot.Node{Name: "f", Type: snapshot.File, Mode: 0o644, ModTime: someTime}
	up, absolute := small, small
	up.Name, absolute.Name = "..", "/escaped"
	add(small)
	add(up)
	add(absolute)
	add(symlink("a", ".."), m.dir(f, "a", m.dir(f, "escaped")))
	add(m.dir(f, "../escaped"), m.file(f, "x/y", "content"))
	fifo := snapshot.Node{Name: "fifo", Type: snapshot.FIFO, Mode: 0o7777, Link: snapshot.LinkKey{1}}
	second := fifo
	second.Name = "g"
	add(fifo, second)
	f.Fuzz(func(t *testing.T, tree []byte) {
		if len(tree) > 1<<16 {
			return
		}
		parent := t.TempDir()
		target := filepath.Join(parent, "a", "b", "target")
		must(t, os.MkdirAll(filepath.Dir(target), 0o755))
		id, _ := m.Save(context.Background(), blob.Tree, tree)
		// A tree that names itself would be endless; real IDs are hashes, and can't be met by chance.
		root := snapshot.Node{Type: snapshot.Dir, Mode: 0o755, ModTime: someTime, UID: myUID, GID: myGID,
			Content: snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(max(len(tree), 1))}}}}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = restore.Run(ctx, m, root, target, restore.Options{Sparse: restore.SparseAlways, NoFlags: true}, nil)
		must(t, os.RemoveAll(target))
		for dir, want := range map[string]int{parent: 1, filepath.Join(parent, "a"): 1, filepath.Join(parent, "a", "b"): 0} {
			if names, err := os.ReadDir(dir); err != nil || len(names) != want {
				t.Errorf("%s: %v, %v", dir, names, err)
			}
		}
	})
}
