package backup_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// zeros is a stream of them that cancels a backup, and goes on for a gigabyte.
type zeros struct {
	cancel func()
	reads  int
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.reads++; z.reads == 10 {
		z.cancel()
	}
	if z.reads > 1000 {
		return 0, io.EOF
	}
	n := min(len(p), 1<<20)
	clear(p[:n])
	return n, nil
}

// TestInterruptedInZeros: a backup ends soon also in the middle of a run of zeros, which may be as long as a sparse file can be.
func TestInterruptedInZeros(t *testing.T) {
	r := create(t, memory.New())
	w, err := r.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	z := &zeros{cancel: cancel}
	o := backup.Options{Stdin: &backup.Stdin{Name: "/zeros", Reader: z}, Data: r.DataChunker(), Meta: r.MetaChunker()}
	if _, err := backup.Run(ctx, store{w}, o, new(backup.Progress)); !errors.Is(err, context.Canceled) || z.reads > 20 {
		t.Errorf("%v after %d reads", err, z.reads)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}
