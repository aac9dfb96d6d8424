package prune_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

func ExampleRun() {
	ctx := context.Background()
	r, err := repo.Init(ctx, memory.New(), []byte("secret"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Now: time.Now()})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "me", "example")})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := w.Lane().Save(ctx, blob.Data, []byte("what nobody needs")); err != nil {
		fmt.Println(err)
	}
	rec := snapshot.Record{Session: w.Session(), Root: snapshot.Node{Type: snapshot.Dir}}
	if _, err := w.Commit(ctx, rec.Encode()); err != nil {
		fmt.Println(err)
	}

	result, err := prune.Run(ctx, r, prune.Options{Session: repo.NewSession(repo.PurposePrune, "host", "me", "example")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Snapshots, "snapshot,", result.Removed.Packs, "pack removed")
	// Output: 1 snapshot, 1 pack removed
}
