package successor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
)

// sessionsMax is how many sessions Put begins before it gives up.
const sessionsMax = 3

// endTime is what a session that failed may take to end.
const endTime = 30 * time.Second

// ErrGone says that the old snapshot is not there any more.
var ErrGone = errors.New("it was removed meanwhile, so nothing was put in its place")

// Options says what a successor is. All must be set.
type Options struct {
	Old    blob.Name                 // the snapshot that it is made from, which the caller has seen in the storage
	Writer func() repo.WriterOptions // with a new session each time
	// Record changes the old snapshot's record to the successor's. What the old one did not have it saves.
	Record func(ctx context.Context, w *repo.Writer, old *snapshot.Record) error
}

// Put stores the successor. The old snapshot stays: see [repo.Repo.ReplaceSnapshot]. ErrGone is wrapped if it was not there any more, and
// repo.ErrNoBlob if it lacks something and that was seen.
func Put(ctx context.Context, r *repo.Repo, o Options) (name blob.Name, err error) {
	for try := 1; ; try++ {
		name, err = put(ctx, r, o)
		if !errors.Is(err, repo.ErrEvicted) || try == sessionsMax {
			return name, err
		}
		if err := r.RemoveSnapshot(ctx, name); err != nil {
			return name, err
		}
	}
}

// put is one session.
func put(ctx context.Context, r *repo.Repo, o Options) (name blob.Name, err error) {
	w, err := r.NewWriter(ctx, o.Writer())
	if err != nil {
		return name, err
	}
	rec, err := record(ctx, r, w, o)
	if err == nil {
		name, err = w.Commit(ctx, rec.Encode())
	}
	if err == nil || errors.Is(err, repo.ErrEvicted) {
		return name, err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	return name, errors.Join(err, w.Abort(last))
}

// record makes the successor's record, whose references all are in the writer's view, or its own.
func record(ctx context.Context, r *repo.Repo, w *repo.Writer, o Options) (*snapshot.Record, error) {
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, o.Old) {
		return nil, ErrGone
	}
	data, err := r.LoadSnapshot(ctx, o.Old)
	if err != nil {
		return nil, err
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		return nil, err
	}
	evicted, err := r.Evictions(ctx) // after the view: until then the old snapshot was whole
	if err != nil {
		return nil, err
	}
	whole := len(w.View().Trash) == 0 && !evicted[rec.Session]
	if err := o.Record(ctx, w, rec); err != nil {
		return nil, err
	}
	if err := rec.CheckGiven(); err != nil {
		return nil, err
	}
	rec.Session = w.Session()
	if whole {
		return rec, nil
	}
	return rec, LookUp(ctx, r, w, rec)
}

// LookUp looks up all that a record refers to, and stores again what the view of w does not have and can be read, in trash for one.
func LookUp(ctx context.Context, r *repo.Repo, w *repo.Writer, rec *snapshot.Record) error {
	if err := w.Flush(ctx); err != nil { // folders that were just saved are read here
		return err
	}
	lane, meta := w.Lane(), r.MetaChunker()
	c := rewrite.Copier{From: r, Same: true}
	c.Begin(snapshot.Lists{Saver: lane, Cutter: meta, Max: meta.Params().Max}, []rewrite.Lane{lane}, w.Has)
	if err := c.Root(ctx, &rec.Root); err != nil {
		return fmt.Errorf("look up what it needs: %w", err)
	}
	scan, err := c.Scan(ctx, rec.Scan)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // the next backup reads all files again
		scan = snapshot.Content{}
	}
	rec.Scan = scan
	return nil
}
