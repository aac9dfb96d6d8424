package fusefs_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/fusefs"
	"github.com/tarn-backup/tarn/snapshot"
)

func TestDamage(t *testing.T) {
	f := newFixture(t)
	data := pattern(4 * chunkSize)
	f.save(at(1), file("broken", string(data)), file("good", "fine"), folder("dir", file("inner", "x")), folder("lost", file("deep", "y")))
	id := f.damage(blob.Data, data[chunkSize:2*chunkSize])
	lost := tree{Node: folder("lost").Node, entries: []tree{file("deep", "y")}}
	m := f.mount(fusefs.Options{})
	r, err := os.Open(m.path("snapshots/latest/broken"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, chunkSize)
	for i := range 4 {
		_, err := r.ReadAt(buf, int64(i*chunkSize))
		if i == 1 != errors.Is(err, syscall.EIO) {
			t.Errorf("part %d: %v", i, err)
		}
	}
	if got := m.read(t, "snapshots/latest/good"); got != "fine" {
		t.Error(got)
	}
	reports := m.reports()
	if len(reports) != 1 || !strings.Contains(reports[0], "snapshots/2026-05-01T10-20-30/broken: ") || !strings.Contains(reports[0], id.String()) {
		t.Errorf("reports: %q", reports)
	}
	f.damage(blob.Tree, f.encoded(lost))
	if _, err := os.ReadDir(m.path("snapshots/latest/lost")); !errors.Is(err, syscall.EIO) {
		t.Errorf("a folder that can't be read: %v", err)
	}
	if got := m.names(t, "snapshots/latest/dir"); got != "inner" {
		t.Error(got)
	}
}

// encoded is the blob of a small folder's entries.
func (f *fixture) encoded(dir tree) []byte {
	var b []byte
	for i := range dir.entries {
		e := &dir.entries[i]
		if len(e.data) > 0 {
			e.Size = uint64(len(e.data))
			e.Content.Elements = []snapshot.Element{{ID: f.ID(blob.Data, e.data), Length: e.Size}}
		}
		b = snapshot.AppendNode(b, &e.Node)
	}
	return b
}

// TestForgedNames shows a folder with names that no kernel takes.
func TestForgedNames(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("..", "x"), file(".", "x"), file("a/b", "x"), file("good", "x"), file("nul\x00", "x"), file(strings.Repeat("l", 1025), "x"))
	m := f.mount(fusefs.Options{})
	d, err := os.Open(m.path("snapshots/latest"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if d := cmp.Diff([]string{"good"}, names); d != "" || !errors.Is(err, syscall.EIO) {
		t.Errorf("%s, %v", d, err)
	}
}
