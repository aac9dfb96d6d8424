package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"golang.org/x/sync/errgroup"
)

// job is what is to be stored again of one pack.
type job struct {
	info *index.PackInfo
	rows []index.Entry
}

// repack is step P3: what is needed of the packs that the plan names is stored again, and is durable and in the index when it returns.
// A pack that can't be read stays, and so is taken out of the plan.
func (p *pruner) repack(ctx context.Context, pl *plan) error {
	jobs := func(yield func(job) bool) { // pack by pack, as they lie in the index
		for info, rows := range p.first.Index.BlobsOf(func(pack blob.Name) bool { return pl.repack[pack] }) {
			j := job{info: info}
			for i := range rows {
				if id := idOf(&rows[i]); p.marker.live.Has(id) && p.home(pl, id) == info.Name {
					j.rows = append(j.rows, rows[i])
				}
			}
			if !yield(j) {
				return
			}
		}
	}
	failed, err := p.move(ctx, jobs)
	if err != nil {
		return err
	}
	_, _, stored := p.writer.Added()
	p.result.Stored = int64(stored)
	for name, err := range failed {
		p.options.Warn(fmt.Errorf("%w (the pack stays)", err))
		delete(pl.repack, name)
		p.result.Repacked.Packs--
		p.result.Repacked.Bytes -= p.first.Packs[name]
		if repo.IsCorrupt(err) {
			p.result.Damaged.add(p.first.Packs[name])
		}
	}
	return nil
}

// move stores blobs again, and returns the packs of which it could not read something. An error means that something could not be written,
// and that nothing may be taken for moved.
func (p *pruner) move(ctx context.Context, jobs iter.Seq[job]) (failed map[blob.Name]error, err error) {
	var mu sync.Mutex // guards failed and moved
	var moved uint64
	failed = map[blob.Name]error{}
	one := func(ctx context.Context, m *repo.Mover, j job) error {
		err := p.moveRows(ctx, m, j)
		if err != nil && (!errors.Is(err, repo.ErrUnmovable) || ctx.Err() != nil) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed[j.info.Name] = err
		}
		for i := range j.rows {
			moved += uint64(j.rows[i].Length)
		}
		p.options.Progress(Moving, moved)
		return nil
	}
	if p.options.Inline {
		m := p.writer.Mover()
		for j := range jobs {
			if err := one(ctx, m, j); err != nil {
				return nil, err
			}
		}
		return failed, p.writer.FinishParity(ctx)
	}
	work := make(chan job)
	g, groupCtx := errgroup.WithContext(ctx)
	for range p.workers {
		g.Go(func() error {
			m := p.writer.Mover()
			for j := range work {
				if err := one(groupCtx, m, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
feed:
	for j := range jobs {
		select {
		case work <- j:
		case <-groupCtx.Done():
			break feed
		}
	}
	close(work)
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return failed, p.writer.FinishParity(ctx)
}

// moveRows stores the blobs of a job again, segment by segment.
func (p *pruner) moveRows(ctx context.Context, m *repo.Mover, j job) error {
	for rows := j.rows; len(rows) > 0; {
		n := slices.IndexFunc(rows, func(r index.Entry) bool { return r.Segment != rows[0].Segment })
		if n < 0 {
			n = len(rows)
		}
		if err := m.Move(ctx, j.info, rows[0].Segment, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// discard is step P4: the packs that the plan gives up are put into the trash, for good.
func (p *pruner) discard(ctx context.Context, pl *plan) error {
	packs := slices.Concat(pl.discard, slices.Collect(maps.Keys(pl.repack)))
	copied := map[blob.Name]bool{}
	for _, name := range packs {
		if pl.copied[name] {
			copied[name] = true
		}
	}
	for name, err := range p.lost(ctx, pl, copied) {
		p.options.Warn(fmt.Errorf("%w (pack %s, which has a copy, stays)", err, name.Short()))
		packs = slices.DeleteFunc(packs, func(n blob.Name) bool { return n == name })
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	slices.SortFunc(packs, func(a, b blob.Name) int { return bytes.Compare(a[:], b[:]) })
	p.result.Trashed = Sum{}
	for _, name := range packs {
		p.result.Trashed.add(p.first.Packs[name])
	}
	return p.repo.PutTrash(ctx, packs)
}

// lost looks at the homes of blobs of which other packs have copies that are about to go, and returns the packs whose copies are better kept.
// Homes that were stored again have been read just now.
func (p *pruner) lost(ctx context.Context, pl *plan, copied map[blob.Name]bool) map[blob.Name]error {
	keep := map[blob.Name]error{}
	if len(copied) == 0 {
		return keep
	}
	for info, rows := range p.first.Index.BlobsOf(func(pack blob.Name) bool { return copied[pack] }) {
		for i := range rows {
			id := idOf(&rows[i])
			if !p.marker.live.Has(id) {
				continue
			}
			home := p.home(pl, id)
			if home == info.Name || pl.repack[home] {
				continue
			}
			if err := p.verify(ctx, home, &rows[i]); err != nil {
				keep[info.Name] = err
				break
			}
		}
		if ctx.Err() != nil {
			return keep
		}
	}
	return keep
}

// verify reads a blob in a pack.
func (p *pruner) verify(ctx context.Context, home blob.Name, row *index.Entry) error {
	info, ok := p.first.Index.Pack(home)
	if !ok {
		return fmt.Errorf("pack %s: %w", home.Short(), errMoved)
	}
	var buf [4]blob.Extent
	for _, e := range p.first.Index.LookupAll(idOf(row), buf[:0]) {
		if e.Pack != home {
			continue
		}
		plain, err := p.repo.Segment(ctx, info, e.Segment)
		if err != nil {
			return err
		}
		if uint64(e.Offset)+uint64(e.Length) <= uint64(len(plain)) &&
			index.PrefixOf(p.repo.ID(row.Kind, plain[e.Offset:][:e.Length])) == row.Prefix {
			return nil
		}
	}
	return fmt.Errorf("pack %s: %w", home.Short(), seal.ErrCorrupt)
}
