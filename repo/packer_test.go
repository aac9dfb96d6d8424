package repo_test

import (
	"math/rand/v2"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// TestMetadataPacks saves so much metadata that it goes to packs of its own: these must be short, so that their parity costs little.
func TestMetadataPacks(t *testing.T) {
	ctx := t.Context()
	s := memory.New()
	r := create(t, s)
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	lane, random := w.Lane(), rand.NewChaCha8([32]byte{9})
	for range 8<<20/(64<<10) + 70 {
		plain := make([]byte, 64<<10)
		random.Read(plain)
		if _, err := lane.Save(ctx, blob.Tree, plain); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(ctx, []byte("no record")); err != nil {
		t.Fatal(err)
	}
	v, err := r.TakeView(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var mixed, packs, stored, parity int64
	for _, size := range v.Packs {
		if size > 640<<10 {
			mixed++ // what came first, when nobody knew how much would follow
			continue
		}
		packs, stored = packs+1, stored+size
	}
	err = s.List(ctx, "parity/", func(name string, size int64) error {
		parity += size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if mixed != 1 || packs < 7 || parity == 0 || parity > stored/5 {
		t.Errorf("%d mixed packs, %d of metadata with %d bytes, and %d of parity", mixed, packs, stored, parity)
	}
}
