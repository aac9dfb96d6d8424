package repo

import (
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// TestClaimHoldsTheLane: whoever is told that a blob is another lane's may refer to it after a Flush. So a Flush, which takes the lock of each
// lane, must not come between the claim and the segment.
func TestClaimHoldsTheLane(t *testing.T) {
	ctx, plain := t.Context(), []byte("wanted by two")
	r, err := Init(ctx, memory.New(), []byte("p"), InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		t.Fatal(err)
	}
	asked, free := 0, 0
	for range 2 { // what the first session stores the second one is asked for
		var l *Lane
		w, err := r.NewWriter(ctx, WriterOptions{Session: NewSession(PurposeBackup, "host", "user", "test"), Absent: func(blob.ID) bool {
			if asked++; l.mu.TryLock() {
				free++
				l.mu.Unlock()
			}
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
		l = w.Lane()
		if _, err := l.Save(ctx, blob.Data, plain); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(ctx, []byte("no record")); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 || free > 0 {
		t.Errorf("of %d claims %d were made without the lane's lock", asked, free)
	}
}
