package snapshot_test

import (
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/snapshot"
)

// TestIsRestoring: the names of restores, and no others, are known as such.
func TestIsRestoring(t *testing.T) {
	name := snapshot.RestoringName()
	for text, want := range map[string]bool{
		name: true, name + "A": false, name[:len(name)-1]: false, "x" + name: false, strings.ToLower(name): false, name[:len(name)-1] + "1": false,
		".tarn-restore-": false, ".tarn-restore-notes": false, "": false,
	} {
		if got := snapshot.IsRestoring(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
