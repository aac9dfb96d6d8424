package index_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
)

func TestObjects(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir)
	if len(c.Objects()) > 0 {
		t.Error("a new cache was filled from something")
	}
	for _, names := range [][]blob.Name{{{1}, {2}, {3}}, {{4}}, nil} {
		if err := c.SetObjects(names); err != nil {
			t.Fatal(err)
		}
		got := openCache(t, dir).Objects()
		if len(got) != len(names) {
			t.Errorf("%d objects, want %d", len(got), len(names))
		}
		for _, n := range names {
			if !got[n] {
				t.Errorf("object %s is gone", n.Short())
			}
		}
	}
}

// TestObjectsDamaged changes each byte of the file, cuts it, and takes it for another repository's: it then says nothing.
func TestObjectsDamaged(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir)
	if err := c.SetObjects([]blob.Name{{1}, {2}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "objects")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, n int, file []byte) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := c.Objects(); len(got) > 0 {
			t.Errorf("%s %d: %d objects", what, n, len(got))
		}
	}
	for i := range file {
		bad := append([]byte(nil), file...)
		bad[i] ^= 1
		try("byte", i, bad)
		try("cut at", i, file[:i])
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := index.OpenCache(dir, [16]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if len(other.Objects()) > 0 {
		t.Error("objects of another repository")
	}
	if err := index.RemoveCache(dir); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("RemoveCache left %v", left)
	}
}

func FuzzObjects(f *testing.F) {
	f.Add(index.AppendObjects(nil, repoID, nil))
	f.Add(index.AppendObjects(nil, repoID, []blob.Name{{1}, {2}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		names, err := index.ParseObjects(file, repoID)
		if err == nil && len(names)*32 > len(file) {
			t.Errorf("%d names in %d bytes", len(names), len(file))
		}
	})
}
