package seal_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/blob"
)

// TestExampleInFormat has docs/format.md show the golden object, and the IDs of a blob under the same keys.
func TestExampleInFormat(t *testing.T) {
	text, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "An example\n")
	shown := ""
	for line := range strings.Lines(example) {
		if line, ok := strings.CutPrefix(line, "    "); ok {
			digits, _, _ := strings.Cut(line, "  ") // what is behind it are words
			shown += strings.Join(strings.Fields(digits), "")
		}
	}
	if shown != golden {
		t.Errorf("it shows %s, want %s", shown, golden)
	}
	for _, kind := range []blob.Kind{blob.Data, blob.Tree} {
		if id := testKeys().ID(kind, []byte("plaintext")); !strings.Contains(example, id.String()) {
			t.Errorf("it does not show the ID of a blob of %s, %s", kind, id)
		}
	}
}
