package simulate

import (
	"context"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/prune"
)

// setScene brings the repository to where mistakes would show, with nobody in the way: some snapshots were forgotten, perhaps their packs are in
// trash already, and now one client prunes while another one saves just the same files again.
func (w *world) setScene(ctx context.Context) error {
	r, err := w.repo.WithStorage(direct{w.disk, w})
	if err != nil {
		return err
	}
	for _, c := range w.clients {
		c.life = &life{client: c}
		for range 1 + w.rng.IntN(2) {
			if err := c.backup(ctx, r); err != nil {
				return err
			}
			if w.chance(3) {
				continue
			}
			w.oracle.forgotten(c.saved)
			if err := r.RemoveSnapshot(ctx, c.saved); err != nil {
				return err
			}
		}
		c.programs, c.again = 1+w.rng.IntN(2), true
	}
	if w.chance(2) {
		if err := w.setTrash(ctx, r); err != nil {
			return err
		}
	}
	w.clients[0].first = w.clients[0].prune
	w.clients[1].first = w.clients[1].backup
	if len(w.clients) > 2 && !w.options.Quiet && w.chance(2) {
		w.clients[2].first = w.clients[2].evict
	}
	w.rng.Shuffle(len(w.clients), func(i, j int) { w.clients[i].first, w.clients[j].first = w.clients[j].first, w.clients[i].first })
	return nil
}

// setTrash leaves trash that has waited for a session, which is over now, or is not.
func (w *world) setTrash(ctx context.Context, r *repo.Repo) error {
	c := w.clients[w.rng.IntN(len(w.clients))]
	under := c.session(repo.PurposeBackup)
	if err := r.BeginSession(ctx, under); err != nil {
		return err
	}
	o := prune.Options{Session: c.session(repo.PurposePrune), Workers: 1, Inline: true, PackSize: packSize, Now: c.now,
		MaxUnused: prune.Limit{Bounded: true}, Gone: func(repo.Session) bool { return false }}
	if _, err := prune.Run(ctx, r, o); err != nil {
		return err
	}
	if w.chance(4) {
		return nil // it is still there, and nobody's
	}
	return r.EndSession(ctx, under.ID)
}
