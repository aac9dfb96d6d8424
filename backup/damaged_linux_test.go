package backup_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// objects returns the objects of a store below a folder.
func objects(t *testing.T, m *memory.Store, dir string) map[string][]byte {
	t.Helper()
	ctx, found := context.Background(), map[string][]byte{}
	var names []string
	if err := m.List(ctx, dir, func(name string, _ int64) error { names = append(names, name); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r, err := m.Get(ctx, name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = data
	}
	return found
}

// TestPackWithoutItsEnd restores from packs that lost their last byte: only the footer is gone, and the index knows the rest.
func TestPackWithoutItsEnd(t *testing.T) {
	m, ctx := memory.New(), context.Background()
	src := tree(t)
	_, rec := must(t, create(t, m), nil, src)
	for name, data := range objects(t, m, "data/") {
		if err := m.Put(ctx, name, data[:len(data)-1]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := open(m)
	if err != nil {
		t.Fatal(err)
	}
	restored(t, r, rec, src, src)
}

// TestPackInAWrongFolder moves packs to folders where they don't belong: they count as missing, since a reader would not find them.
func TestPackInAWrongFolder(t *testing.T) {
	m, ctx := memory.New(), context.Background()
	src := tree(t)
	must(t, create(t, m), nil, src)
	packs := objects(t, m, "data/")
	for name, data := range packs {
		i := strings.LastIndexByte(name, '/')
		wrong := "data/00" + name[i:]
		if name == wrong {
			wrong = "data/01" + name[i:]
		}
		if err := m.Put(ctx, wrong, data); err != nil {
			t.Fatal(err)
		}
		if err := m.Remove(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	r, err := open(m)
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.TakeView(ctx)
	if err != nil || len(packs) == 0 || len(v.Packs) != 0 {
		t.Errorf("%d of %d packs count as there, %v", len(v.Packs), len(packs), err)
	}
	_, rec, err := save(r, nil, src) // stores all of it again
	if err != nil {
		t.Fatal(err)
	}
	restored(t, r, rec, src, src)
}
