package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestMountedTwice: a folder that is mounted a second time is in the snapshot of the first mount, where its second place is an empty folder.
func TestMountedTwice(t *testing.T) {
	point := btrfsDisk(t, 512<<20)
	tarn := newProgram(t)
	work, again, other := filepath.Join(point, "work"), filepath.Join(point, "places", "again"), filepath.Join(point, "other")
	if err := errors.Join(os.MkdirAll(work, 0o755), os.MkdirAll(again, 0o755), os.Mkdir(other, 0o755),
		os.WriteFile(filepath.Join(work, "file"), []byte("1"), 0o644)); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Run(t, "mount", "--bind", work, again)
	t.Cleanup(func() { fssnaptest.Unmount(t, again) })
	age(t, work)
	for _, paths := range [][]string{{point}, {filepath.Join(point, "places")}, {other, again}, {again, other}, {again, work}} {
		tarn.must(append([]string{"backup", "--force", "--fs-snapshot", "required"}, paths...)...)
		if said := tarn.must("ls", "latest", "--recursive"); !strings.Contains(said, filepath.Join(again, "file")+"\n") {
			t.Errorf("backup %v: no file in the second place:\n%s", paths, said)
		}
	}
}

// TestPathThroughLink: a path that leads through an absolute symbolic link is read from the snapshot of where that leads, and with what is mounted below.
func TestPathThroughLink(t *testing.T) {
	point := btrfsDisk(t, 512<<20)
	tarn := newProgram(t)
	sub, other := filepath.Join(point, "work", "sub"), filepath.Join(point, "other")
	inner := filepath.Join(sub, "inner")
	if err := errors.Join(os.MkdirAll(inner, 0o755), os.Mkdir(other, 0o755), os.WriteFile(filepath.Join(sub, "file"), []byte("old"), 0o644),
		os.WriteFile(filepath.Join(other, "below"), []byte("1"), 0o644), os.Symlink(filepath.Dir(sub), filepath.Join(point, "link"))); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Run(t, "mount", "--bind", other, inner)
	t.Cleanup(func() { fssnaptest.Unmount(t, inner) })
	age(t, point)
	path, target := filepath.Join(point, "link", "sub"), filepath.Join(t.TempDir(), "target")
	tarn.must("backup", "--fs-snapshot", "required", "--after", "echo new >"+filepath.Join(sub, "file"), path)
	tarn.must("restore", "latest:"+path, "--target", target)
	for name, want := range map[string]string{"file": "old", "inner/below": "1"} {
		if got, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
}

// TestMountedFile: a single file that is mounted over another is what is saved, from a snapshot too.
func TestMountedFile(t *testing.T) {
	point := btrfsDisk(t, 512<<20)
	tarn := newProgram(t)
	work, shown := filepath.Join(point, "work"), filepath.Join(point, "shown")
	file := filepath.Join(work, "file")
	if err := errors.Join(os.Mkdir(work, 0o755), os.WriteFile(file, []byte("hidden"), 0o644), os.WriteFile(shown, []byte("shown"), 0o644)); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Run(t, "mount", "--bind", shown, file)
	t.Cleanup(func() { fssnaptest.Unmount(t, file) })
	age(t, point)
	for _, path := range []string{work, file} {
		if said := tarn.must("backup", path); !strings.Contains(said, "every file whole") {
			t.Errorf("backup %s: all is said to be of one moment:\n%s", path, said)
		}
		target := filepath.Join(t.TempDir(), "target")
		tarn.must("restore", "latest", "--target", target)
		if got, err := os.ReadFile(filepath.Join(target, file)); err != nil || string(got) != "shown" {
			t.Errorf("backup %s: %q (%v)", path, got, err)
		}
	}
}
