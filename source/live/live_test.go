package live_test

import (
	"testing"

	"github.com/tarn-backup/tarn/source/live"
)

func TestIsSQLite(t *testing.T) {
	for _, c := range []struct {
		head string
		want bool
	}{
		{"", false},
		{"SQLite format 3", false},
		{"SQLite format 3\x00", true},
		{"SQLite format 3\x00 and more", true},
		{"SQLite format 4\x00", false},
		{"\x00SQLite format 3\x00", false},
	} {
		if got := live.IsSQLite([]byte(c.head)); got != c.want {
			t.Errorf("IsSQLite(%q) = %v", c.head, got)
		}
	}
}
