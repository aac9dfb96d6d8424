package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
)

// TrashPlan is what a repair of the trash would do.
type TrashPlan struct {
	Damaged []Fault // trash objects that can't be read
	Pruners []repo.Session

	repo *repo.Repo
}

// ErrPruning says that a prune is under way, or was when its machine went away: it may know what a damaged trash object said, and be about
// to remove those packs.
var ErrPruning = errors.New("a prune is under way: wait for it, or end its session if it is gone")

// PlanTrash looks for trash objects that can't be read. While there is one nobody can write to the repository, since he might refer to
// packs that are about to be removed.
func PlanTrash(ctx context.Context, r *repo.Repo) (*TrashPlan, error) {
	p := &TrashPlan{repo: r}
	names, err := r.TrashNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		err := p.read(ctx, n)
		switch {
		case err == nil || errors.Is(err, storage.ErrNotExist):
		case repo.IsCorrupt(err):
			p.Damaged = append(p.Damaged, Fault{n, err})
		default:
			return nil, err
		}
	}
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if s.Purpose == repo.PurposePrune || s.Purpose == "" {
			p.Pruners = append(p.Pruners, s)
		}
	}
	return p, nil
}

func (p *TrashPlan) read(ctx context.Context, n blob.Name) error {
	_, err := p.repo.LoadTrash(ctx, n)
	return err
}

// Run removes damaged trash objects: what they named counts as live again, and the next prune finds anew what is not needed.
//
// A pack never comes out of the trash else, since a prune that has read the object may be about to remove its packs. So nobody may be at it: Run
// refuses while a prune's session is there. A prune that was evicted and still runs, on a machine that sleeps, can't be seen; the caller
// has to know that there is none.
func (p *TrashPlan) Run(ctx context.Context) error {
	if err := p.repo.KeyStands(ctx); err != nil {
		return err
	}
	now, err := PlanTrash(ctx, p.repo)
	if err != nil {
		return err
	}
	if len(now.Pruners) > 0 {
		return ErrPruning
	}
	waits, err := p.repo.Waits(ctx)
	if err != nil {
		return err
	}
	for _, d := range p.Damaged {
		for _, w := range waits {
			if w.Trash != d.Name {
				continue
			}
			if err := p.repo.RemoveWait(ctx, w.Name); err != nil {
				return fmt.Errorf("remove the wait of trash %s: %w", d.Name.Short(), err)
			}
		}
		if err := p.repo.RemoveTrash(ctx, d.Name); err != nil {
			return fmt.Errorf("remove trash %s: %w", d.Name.Short(), err)
		}
	}
	return nil
}
