package simulate

import (
	"context"
	"errors"

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
	if w.chance(5) {
		return w.setSuccession(ctx, r)
	}
	return nil
}

// setTrash leaves trash that has waited for a session, which is over now, or is not.
func (w *world) setTrash(ctx context.Context, r *repo.Repo) error {
	c := w.clients[w.rng.IntN(len(w.clients))]
	under := c.session(repo.PurposeBackup)
	if err := r.BeginSession(ctx, under); err != nil {
		return err
	}
	if err := w.scenePrune(ctx, r, c); err != nil {
		return err
	}
	if w.chance(4) {
		return nil // it is still there, and nobody's
	}
	return r.EndSession(ctx, under.ID)
}

// setSuccession leaves a snapshot that needs what is in trash only, and nobody for whom that trash would wait; or one whose session was evicted,
// and which lacks that. One client gives it other tags, and another one may forget it at the same time.
func (w *world) setSuccession(ctx context.Context, r *repo.Repo) error {
	c := w.clients[0]
	w.oracle.forgotten(c.saved)
	if err := r.RemoveSnapshot(ctx, c.saved); err != nil {
		return err
	}
	s := &saving{client: c, files: c.files}
	if err := s.begin(ctx, r, repo.PurposeBackup); err != nil {
		return err
	}
	if len(w.clients) == 2 { // the trash waits for one more, who ends, and is looked at again
		under := c.session(repo.PurposeBackup)
		if err := errors.Join(r.BeginSession(ctx, under), w.scenePrune(ctx, r, c), r.EndSession(ctx, under.ID)); err != nil {
			return err
		}
	}
	if err := w.scenePrune(ctx, r, c); err != nil {
		return err
	}
	if !w.options.Quiet && w.chance(3) {
		if err := r.Evict(ctx, s.writer.Session()); err != nil {
			return err
		}
		if err := w.scenePrune(ctx, r, c); err != nil {
			return err
		}
	}
	name, err := s.save(ctx)
	if err == nil {
		w.oracle.confirmed(name, s)
	} else if !errors.Is(err, repo.ErrEvicted) {
		return err
	}
	c.first, c.asleep = c.prune, w.rng.IntN(200)
	w.clients[1].first = func(ctx context.Context, r *repo.Repo) error { return w.clients[1].tagOne(ctx, r, name) }
	if len(w.clients) > 2 {
		w.clients[2].asleep = w.rng.IntN(150)
		w.clients[2].first = func(ctx context.Context, r *repo.Repo) error {
			w.oracle.forgotten(name)
			return r.RemoveSnapshot(ctx, name)
		}
	}
	return nil
}

// scenePrune prunes, and knows of nobody who is dead.
func (w *world) scenePrune(ctx context.Context, r *repo.Repo, c *client) error {
	o := prune.Options{Session: c.session(repo.PurposePrune), Workers: 1, Inline: true, PackSize: packSize, Now: c.now,
		MaxUnused: prune.Limit{Bounded: true}, Gone: func(repo.Session) bool { return false }}
	_, err := prune.Run(ctx, r, o)
	return err
}
