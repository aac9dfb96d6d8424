package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModeOfOneFolder reads a subvolume from a snapshot, but for one folder, with and without --one-file-system: a snapshot is another device, and
// nothing may be left out for that.
func TestModeOfOneFolder(t *testing.T) {
	point := btrfsDisk(t, 512<<20)
	tarn := newProgram(t)
	work := filepath.Join(point, "work")
	live := filepath.Join(work, "live")
	if err := errors.Join(os.MkdirAll(live, 0o755), os.WriteFile(filepath.Join(work, "held"), []byte("1"), 0o644),
		os.WriteFile(filepath.Join(live, "file"), []byte("2"), 0o644)); err != nil {
		t.Fatal(err)
	}
	age(t, work)
	for _, more := range [][]string{{"--force"}, {"--force", "--one-file-system"}} {
		for _, k := range []struct{ modes, held, file, state string }{
			{work + "=required", "snapshot", "snapshot", "  exact  "},
			{live + "=off", "snapshot", "lease", "  whole  "},
			{work + "=off " + live + "=required", "lease", "snapshot", "  whole  "},
		} {
			args := append([]string{"backup", work}, more...)
			for mode := range strings.FieldsSeq(k.modes) {
				args = append(args, "--fs-snapshot", mode)
			}
			tarn.must(args...)
			methods := map[string]string{}
			for line := range strings.Lines(tarn.must("ls", "latest", "--recursive", "--json")) {
				var e struct{ Path, Method string }
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				methods[e.Path] = e.Method
			}
			if got := methods[filepath.Join(work, "held")]; got != k.held {
				t.Errorf("%v: work/held is read by %q, want %s", args, got, k.held)
			}
			if got := methods[filepath.Join(live, "file")]; got != k.file {
				t.Errorf("%v: work/live/file is read by %q, want %s", args, got, k.file)
			}
			if said := tarn.must("snapshots", "latest"); !strings.Contains(said, k.state) {
				t.Errorf("%v: want the state %s in\n%s", args, k.state, said)
			}
		}
	}
}
