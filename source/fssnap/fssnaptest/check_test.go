//go:build linux

package fssnaptest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestCheckFinds damages a folder in all the ways that the checker is there for: a checker that finds nothing proves nothing.
func TestCheckFinds(t *testing.T) {
	w := fssnaptest.Writers{Dir: t.TempDir(), Size: 64 << 10, Each: 1, Seed: 1}
	w.Start(t)()
	always := func(time.Time) bool { return true }
	if c := w.Check(t, w.Dir, always); c.Exact != 8 || c.Pairs != 1 || len(c.Torn)+len(c.PairsBroken)+len(c.Lost)+len(c.Doubled) > 0 {
		t.Fatalf("of an idle folder: %v", c)
	}
	file := func(name string) string { return filepath.Join(w.Dir, name) }
	for _, name := range []string{"inplace-0", "rename-0", "truncate-0"} {
		damage(t, file(name), 4096)
	}
	if err := os.Truncate(file("chunks-0"), 100); err != nil {
		t.Fatal(err)
	}
	damage(t, file("mapped-0"), 4096) // one step down is right there, a second one up again is not
	damage(t, file("append-0"), 0)
	data, err := os.ReadFile(file("pair-0-a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("pair-0-b"), []byte(strings.ReplaceAll(string(data), string(data[:8]), "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f")), 0o644); err != nil {
		t.Fatal(err)
	}
	c := w.Check(t, w.Dir, always)
	if len(c.Torn) != 6 || len(c.PairsBroken) != 1 {
		t.Errorf("found %v: %q %q", c, c.Torn, c.PairsBroken)
	}
	if c := w.Check(t, w.Dir, func(time.Time) bool { return false }); len(c.TornSuspect) != 6 || len(c.Torn) > 0 || c.Pairs > 0 {
		t.Errorf("of suspects, found %v", c)
	}
	for _, dir := range []string{"here", "there"} {
		os.WriteFile(filepath.Join(w.Dir, dir, "move-0"), nil, 0o644)
	}
	if c := w.Check(t, w.Dir, always); len(c.Doubled) != 1 {
		t.Errorf("doubled: %v", c)
	}
	for _, dir := range []string{"here", "there"} {
		os.Remove(filepath.Join(w.Dir, dir, "move-0"))
	}
	if c := w.Check(t, w.Dir, always); len(c.Lost) != 1 {
		t.Errorf("lost: %v", c)
	}
}

func damage(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage!!"), at); err != nil {
		t.Fatal(err)
	}
}
