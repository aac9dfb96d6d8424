package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
)

// check looks at all that is stored while the others go on. It must find no damage, unless the storage did not answer it.
func (c *client) check(ctx context.Context, r *repo.Repo) error {
	var first error
	_, err := check.Run(ctx, r, check.Options{ReadData: c.rng.IntN(2) == 0, Workers: 1}, func(f check.Finding) {
		if f.Severity == check.Error && first == nil {
			first = fmt.Errorf("a check found: %v", f)
		}
	})
	if first != nil && !c.life.hindered {
		c.world.fail("client %d: %w", c.number, first)
	}
	if err == nil {
		c.world.report.Checks++
	}
	return err
}

// copy copies a snapshot, as from one repository to another, but here both are one. So it reads what others may be moving, and writes as
// a backup does, but for what it only knows from reading.
func (c *client) copy(ctx context.Context, r *repo.Repo) error {
	from, err := r.Fresh()
	if err != nil {
		return err
	}
	names, err := from.SnapshotNames(ctx)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n blob.Name) bool { return !c.world.oracle.stands(n) })
	if len(names) == 0 {
		return nil
	}
	slices.SortFunc(names, func(a, b blob.Name) int { return slices.Compare(a[:], b[:]) })
	name := names[c.rng.IntN(len(names))]
	files := c.world.oracle.promised[name]
	err = c.copyOne(ctx, from, r, name, files)
	if !c.world.oracle.stands(name) && !c.life.dead {
		return nil // it was forgotten meanwhile
	}
	if err != nil && !c.life.hindered && !errors.Is(err, repo.ErrEvicted) {
		c.world.fail("client %d: snapshot %s can't be copied: %w", c.number, name.Short(), err)
	}
	return err
}

func (c *client) copyOne(ctx context.Context, from, to *repo.Repo, name blob.Name, files map[string]string) error {
	data, err := from.LoadSnapshot(ctx, name)
	if err != nil {
		return err
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		return err
	}
	copier := rewrite.Copier{From: from}
	for try := 1; ; try++ {
		s := &saving{client: c, files: files}
		copied, err := s.copySession(ctx, to, &copier, *rec)
		if errors.Is(err, repo.ErrEvicted) && try < 3 {
			if err := to.RemoveSnapshot(ctx, copied); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			c.world.oracle.confirmed(copied, s)
			c.world.report.Copies++
		}
		return err
	}
}

// copySession is one session of a copy.
func (s *saving) copySession(ctx context.Context, to *repo.Repo, copier *rewrite.Copier, rec snapshot.Record) (blob.Name, error) {
	if err := s.begin(ctx, to, repo.PurposeCopy); err != nil {
		return blob.Name{}, err
	}
	copier.Begin(snapshot.Lists{Saver: s, Cutter: cutter{}, Max: 1 << 20}, []rewrite.Lane{s}, s.has)
	err := copier.Root(ctx, &rec.Root)
	var name blob.Name
	if err == nil {
		rec.Time, rec.Session = s.client.now(), s.writer.Session()
		rec.Host = fmt.Sprintf("host-%d", s.client.number)
		data := rec.Encode()
		s.client.world.oracle.announce(data, s.blobs)
		name, err = s.writer.Commit(ctx, data)
	}
	if err != nil && !errors.Is(err, repo.ErrEvicted) {
		return name, errors.Join(err, s.writer.Abort(ctx))
	}
	return name, err
}

// begin begins a session.
func (s *saving) begin(ctx context.Context, r *repo.Repo, purpose repo.Purpose) (err error) {
	s.writer, err = r.NewWriter(ctx, writerOptions(s.client.session(purpose)))
	if err == nil {
		s.lane = s.writer.Lane()
	}
	return err
}

// has asks whether a blob need not be saved, and notes that it is needed.
func (s *saving) has(id blob.ID) bool {
	if !s.writer.Has(id) {
		return false
	}
	s.blobs = append(s.blobs, id)
	return true
}

// BreakAlways is of no concern here.
func (s *saving) BreakAlways(context.Context) error { return nil }
