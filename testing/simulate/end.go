package simulate

import (
	"context"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/prune"
)

// quietPrunes is how many prunes it may take until all garbage is gone.
const quietPrunes = 2

// end looks at what is left when all clients are done: what is still on its way arrives, and then nobody disturbs.
func (w *world) end(ctx context.Context) {
	for len(w.late) > 0 && w.err == nil {
		w.takeEffect(ctx, w.rng.IntN(len(w.late)))
	}
	if w.err == nil {
		w.err = w.quiet(ctx)
	}
}

func (w *world) quiet(ctx context.Context) error {
	if w.chance(3) { // the oracle has looked at each step; this reads it all
		if err := w.oracle.restore(ctx); err != nil {
			return fmt.Errorf("when all are done: %w", err)
		}
	}
	r, err := w.repo.WithStorage(direct{w.disk, w})
	if err != nil {
		return err
	}
	for range quietPrunes {
		w.now = w.now.AddDate(10, 0, 0) // nothing is left for being young
		o := prune.Options{Session: repo.NewSession(repo.PurposePrune, "quiet", "user", "simulate"), Workers: 1, Inline: true, PackSize: packSize,
			Compression: pack.Off, Now: func() time.Time { return w.now },
			MaxUnused: prune.Limit{Bounded: true}, Gone: func(repo.Session) bool { return true }}
		if _, err := prune.Run(ctx, r, o); err != nil {
			return fmt.Errorf("a quiet prune: %w", err)
		}
	}
	if err := w.oracle.garbage(); err != nil {
		return fmt.Errorf("after %d quiet prunes: %w", quietPrunes, err)
	}
	if err := w.oracle.restore(ctx); err != nil {
		return fmt.Errorf("after %d quiet prunes: %w", quietPrunes, err)
	}
	if !w.chance(4) {
		return w.err
	}
	if r, err = r.Fresh(); err != nil {
		return err
	}
	_, err = check.Run(ctx, r, check.Options{ReadData: true, Workers: 1}, func(f check.Finding) {
		if f.Severity == check.Error {
			w.fail("check: %v", f)
		}
	})
	if err == nil {
		err = w.err
	}
	return err
}
