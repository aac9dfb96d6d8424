package prune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/parity"
)

// endTime is what a prune that fails may take to note what it stored and to end its session.
const endTime = 30 * time.Second

// ErrDamaged is wrapped when a snapshot needs what is not there: nothing is removed then, since it might be the rest of it.
var ErrDamaged = errors.New("a snapshot is damaged")

// ErrMendable is wrapped when a pack is damaged that parity can make again, and not any more without packs that are about to go: nothing is removed then.
var ErrMendable = errors.New("it is damaged, and parity can make it again only as long as packs are there that were about to be removed")

// pruner is one run.
type pruner struct {
	repo    *repo.Repo
	options Options
	workers int
	marker  *marker
	seen    map[blob.Name]*backup // snapshots that were marked
	trash   *trash                // of the newest look
	first   *repo.View
	writer  *repo.Writer
	result  Result

	trashOnly *index.Set // what is needed, and was in no other pack at the second look
}

// Run removes from a repository what no snapshot needs, as far as that is safe now. It is safe beside any number of backups, other
// prunes and all else, and can be killed at any moment; the next one goes on from there. What it can't remove yet is in trash, and the
// result says which sessions that waits for.
func Run(ctx context.Context, r *repo.Repo, o Options) (Result, error) {
	p := &pruner{repo: r, options: o, workers: o.Workers, seen: map[blob.Name]*backup{}}
	if p.workers <= 0 {
		p.workers = repo.Workers()
	}
	if o.Now == nil {
		p.options.Now = time.Now
	}
	if o.Gone == nil {
		p.options.Gone = gone
	}
	if o.Warn == nil {
		p.options.Warn = func(error) {}
	}
	if o.Progress == nil {
		p.options.Progress = func(Stage, uint64) {}
	}
	p.marker = newMarker(p)
	err := p.run(ctx)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return p.result, fmt.Errorf("prune: %w", err)
	}
	return p.result, nil
}

// run goes through the steps of docs/adr/0004.
func (p *pruner) run(ctx context.Context) error {
	if p.options.DryRun {
		busy, err := p.firstLook(ctx)
		if err != nil {
			return err
		}
		_, err = p.plan(busy)
		return err
	}
	if err := p.repo.BeginSession(ctx, p.options.Session); err != nil { // P1
		return err
	}
	err := p.steps(ctx)
	if err == nil && p.writer == nil {
		return p.repo.EndSession(ctx, p.options.Session.ID)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if p.writer != nil {
		return errors.Join(err, p.writer.Abort(last)) // which puts into the index what is in none
	}
	p.repo.EndSession(last, p.options.Session.ID) // if that fails too, the session is seen to be dead by the next prune
	return err
}

func (p *pruner) steps(ctx context.Context) error {
	busy, err := p.firstLook(ctx) // P2
	if err != nil {
		return err
	}
	plan, err := p.plan(busy)
	if err != nil {
		return err
	}
	// Nobody asks any more for what is not needed, nor for what the walk has read.
	p.first.Index.Keep(p.marker.live.Has)
	p.repo.DropSegments()
	if err := p.begin(ctx); err != nil {
		return err
	}
	if err := p.repack(ctx, plan); err != nil { // P3
		return err
	}
	if err := p.discard(ctx, plan); err != nil { // P4
		return err
	}
	ripe, err := p.wait(ctx) // P5, P6
	if err != nil {
		return err
	}
	view := p.first
	if len(ripe) > 0 {
		set, err := p.writer.Parity(ctx) // before the look
		if err != nil {
			return err
		}
		if view, err = p.secondLook(ctx); err != nil { // P7
			return err
		}
		if err := p.renewParity(ctx, set, view); err != nil {
			return err
		}
		if err := p.stands(ctx); err != nil { // P8
			return err
		}
	}
	return p.empty(ctx, view, ripe) // P9
}

// renewParity makes parity of the packs that stay, before others of their groups go. It stops the prune if one of them is damaged and could not be made
// again from parity any more when those are gone.
func (p *pruner) renewParity(ctx context.Context, set *parity.Set, v *repo.View) error {
	damaged, err := p.repo.RenewParity(ctx, set, v)
	if err != nil {
		return fmt.Errorf("renew parity: %w", err)
	}
	for _, name := range damaged {
		if _, err := set.Rebuild(ctx, name); err == nil {
			return fmt.Errorf("pack %s: %w", name.Short(), ErrMendable)
		}
		p.options.Warn(fmt.Errorf("pack %s is damaged, or can't be read (it stays, and is without parity)", name.Short()))
	}
	return ctx.Err()
}

// begin makes the writer of this session, on the view of the first look.
func (p *pruner) begin(ctx context.Context) error {
	w, err := p.repo.WriterOn(ctx, p.first, repo.WriterOptions{Session: p.options.Session, Compression: p.options.Compression,
		Inline: p.options.Inline, PackSize: p.options.PackSize, MoveOnly: true})
	p.writer = w
	return err
}

// stands asks whether somebody ended this session meanwhile: what it has just seen may then be out of date, and its packs may be in trash.
func (p *pruner) stands(ctx context.Context) error {
	ok, err := p.repo.Stands(ctx, p.options.Session.ID)
	if err != nil {
		return fmt.Errorf("look whether this session still stands: %w", err)
	}
	if !ok {
		return repo.ErrEvicted
	}
	return nil
}
