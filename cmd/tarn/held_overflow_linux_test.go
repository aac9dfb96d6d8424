package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestOverflowWhileHeld writes so much to the volume, when its snapshot is in place and the backup is about to read it, that the snapshot has no room
// left. All that is read then may be wrong. The backup must say so and fail, with nothing committed, and the volume must be as the user left it.
func TestOverflowWhileHeld(t *testing.T) {
	const size = 80 << 20                 // the snapshot has room for 64 MiB, a fifth of the volume
	for _, l := range volumeLayouts[:2] { // a thin snapshot has no room of its own
		t.Run("lvm "+l.String(), func(t *testing.T) {
			point, tarn := l.mount(t), newProgram(t)
			fssnaptest.Run(t, "lvremove", "--yes", lvmGroup+"/tarn-my-own") // it would overflow as well
			work := filepath.Join(point, "work")
			if err := os.Mkdir(work, 0o755); err != nil {
				t.Fatal(err)
			}
			small, big, next := filepath.Join(work, "a"), filepath.Join(work, "big"), filepath.Join(t.TempDir(), "next")
			after := bytes.Repeat([]byte("after!! "), size/8)
			for path, data := range map[string][]byte{small: []byte("small"), big: bytes.Repeat([]byte("before! "), size/8), next: after} {
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			tarn.must("backup", "--fs-snapshot", "required", small)
			before := volumes(t)

			// --after runs when the snapshot is there, and before the first file is read.
			said, err := tarn.command("backup", "--fs-snapshot", "required", "--after",
				"dd if="+next+" of="+big+" bs=1M conv=notrunc,fsync", work).CombinedOutput()
			t.Logf("%s", said)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(said), "overflowed") {
				t.Errorf("%v, want exit code %d and a word of the overflow", err, exitFailed)
			}
			if got := volumes(t); !slices.Equal(got, before) {
				t.Errorf("volumes left: %q, want %q", got, before)
			}
			if got := tarn.must("snapshots", "--json"); strings.Count(got, `"short_id"`) != 1 {
				t.Errorf("a snapshot was committed:\n%s", got)
			}
			tarn.must("check", "--read-data")
			if data, err := os.ReadFile(big); err != nil || !bytes.Equal(data, after) {
				t.Errorf("the volume's file has %d bytes, or not what was written to it: %v", len(data), err)
			}

			// And the next one is good.
			tarn.must("backup", "--fs-snapshot", "required", work)
			if got := volumes(t); !slices.Equal(got, before) {
				t.Errorf("volumes left by the next backup: %q, want %q", got, before)
			}
		})
	}
}
