package check_test

import (
	"testing"

	"github.com/tarn-backup/tarn/repo/check"
)

func TestGood(t *testing.T) {
	s, _ := small(t,2)
	for _, o := range []check.Options{{}, {ReadData: true}, {ReadData: true, Workers: 8}} {
		found, sum := run(t, open(t, s), o)
		if len(found) > 0 {
			t.Errorf("%+v: %v", o, found)
		}
		t.Logf("%+v", sum)
	}
}
