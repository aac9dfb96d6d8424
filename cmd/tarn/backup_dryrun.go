package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
)

// dryStore is a backup.Store that stores nothing: it notes what would be new. Metadata is kept in memory, compressed, since a backup may
// read again what it just saved of that.
type dryStore struct {
	repo  *repo.Repo
	view  *repo.View
	known sync.Map // of blob.ID: dryBlob
	blobs atomic.Uint64
	bytes atomic.Uint64
}

// dryBlob is a blob that was saved, in a manner of speaking; of data nothing is kept.
type dryBlob struct {
	body []byte
	size int
}

func (d *dryStore) Lane() backup.Lane {
	return &dryLane{store: d, compress: pack.NewCompressor(pack.Fast)}
}

func (d *dryStore) Has(id blob.ID) bool {
	if _, ok := d.view.Index.Lookup(id); ok {
		return true
	}
	_, ok := d.known.Load(id)
	return ok
}

func (d *dryStore) PutSnapshot(ctx context.Context, record []byte) (blob.Name, error) {
	return blob.Name{}, ctx.Err()
}

// Load returns metadata.
func (d *dryStore) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	if b, ok := d.known.Load(id); ok && kind.Meta() {
		return pack.Decompress(b.(dryBlob).body, b.(dryBlob).size)
	}
	return d.repo.Load(ctx, kind, id)
}

func (d *dryStore) Flush(ctx context.Context) error { return ctx.Err() }

func (d *dryStore) Added() (blobs, plain, stored uint64) { return d.blobs.Load(), d.bytes.Load(), 0 }

// dryLane is a lane that leads nowhere.
type dryLane struct {
	store    *dryStore
	mu       sync.Mutex // guards compress
	compress *pack.Compressor
}

func (l *dryLane) Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	id := l.store.repo.ID(kind, plain)
	if l.store.Has(id) {
		return id, ctx.Err()
	}
	b := dryBlob{size: len(plain)}
	if kind.Meta() {
		l.mu.Lock()
		b.body = slices.Clone(l.compress.Compress(plain))
		l.mu.Unlock()
	}
	if _, loaded := l.store.known.LoadOrStore(id, b); !loaded {
		l.store.blobs.Add(1)
		l.store.bytes.Add(uint64(len(plain)))
	}
	return id, ctx.Err()
}

func (l *dryLane) Break(ctx context.Context) error       { return ctx.Err() }
func (l *dryLane) BreakAlways(ctx context.Context) error { return ctx.Err() }
func (l *dryLane) Flush(ctx context.Context) error       { return ctx.Err() }

// dryRun reads everything, and says what a backup would add.
func (a *app) dryRun(ctx context.Context, r *repo.Repo, o backup.Options, torn *tornRules) error {
	view, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	store := &dryStore{repo: r, view: view}
	progress := new(backup.Progress)
	stop := a.showProgress(func() doing { return doingOf(progress) })
	rec, err := backup.Run(ctx, store, o, progress)
	stop()
	if err == nil {
		err = torn.judge(rec)
	}
	if err != nil {
		return err
	}
	if a.json {
		a.emit(summaryLine{Type: "summary", DryRun: true, Paths: append([]string{}, rec.Paths...), Whole: isWhole(rec), Unsettled: isUnsettled(rec),
			statsLine: statsLineOf(rec)})
	} else {
		a.outf("nothing was written. A backup would save %s, %s\n", counted(rec.Stats.Files, "file"), bytesText(rec.Stats.Bytes))
		a.outf("%s, and add %s before compression\n", changesText(rec), bytesText(rec.Stats.Added))
	}
	a.printProblems(rec)
	a.noteRestoring(progress)
	if !isWhole(rec) {
		return errTold(exitNotWhole)
	}
	return nil
}
