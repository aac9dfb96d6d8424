package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Both ways to make targets: as far as this machine can, and the one that needs no rights.
func TestTargets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "targets")
	can, err := newTargets(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := can.open(t.Context(), 10, 1); err != nil {
		t.Fatal(err)
	}
	if can, err = newTargets(t.Context(), dir); err != nil { // of a run that was killed there is nothing left
		t.Fatal(err)
	}
	for _, x := range []*targets{can, {dir: dir}} {
		t.Log(x.about())
		var folders []string
		for range 2 {
			folder, end, err := x.open(t.Context(), 10, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if names, err := os.ReadDir(folder); err != nil || len(names) > 0 {
				t.Errorf("%s: %v, %v", folder, names, err)
			}
			if isMount(x.mount()) != x.own {
				t.Errorf("mounted: %v", !x.own)
			}
			if err := os.WriteFile(filepath.Join(folder, "file"), make([]byte, 1<<20), 0o600); err != nil {
				t.Error(err)
			}
			if err := end(); err != nil || isMount(x.mount()) {
				t.Errorf("end: %v, mounted: %v", err, isMount(x.mount()))
			}
			folders = append(folders, folder)
		}
		for _, folder := range folders {
			if _, err := os.Stat(folder); x.own != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s afterwards: %v", folder, err)
			}
		}
		x.close()
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is not removed: %v", err)
		}
	}
}
