package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// A pass goes over the tree once: the first writes, a second may verify.
type pass interface {
	early(f *folder) bool                                      // whether f, which the filter only passes, is entered before anything in it is taken
	enter(ctx context.Context, f *folder)                      // opens f, whose parent is open; called by the walker
	entry(ctx context.Context, buf *buffer, j *job)            // deals with what is no folder; called by the workers
	needs(j *job, ids []blob.ID) []blob.ID                     // appends the blobs that entry is certain to load
	leave(ctx context.Context, f *folder)                      // after all that is in f was dealt with
	broken(f *folder, t snapshot.Type, name string, err error) // a part of the tree can't be used
}

// job is an entry that is no folder.
type job struct {
	dir  *folder
	node snapshot.Node
}

// A batch is a run of consecutive jobs for one worker: so much that handing it over costs nothing, so little that all
// workers have some, and of so few folders that not too many are open at a time. It ends with a folder, if that is not too large: two
// workers who make files in the same folder wait for each other in the kernel.
type batch struct {
	jobs    []job
	bytes   uint64
	folders int
	done    func() // of what was announced; nil if nothing was
}

const (
	batchJobs    = 128
	jobsMax      = 1024 // to get to a folder's end
	batchBytes   = 1 << 20
	bytesMax     = 2 << 20
	batchFolders = 8
	batchesAhead = 32 // that wait for a worker; what they need is fetched meanwhile
)

func (b *batch) full() bool {
	return len(b.jobs) >= batchJobs || b.bytes >= batchBytes || b.folders >= batchFolders
}

func (b *batch) overfull() bool {
	return len(b.jobs) >= jobsMax || b.bytes >= bytesMax
}

// walker goes through the snapshot in walk order.
type walker struct {
	r    *run
	pass pass
	out  chan *batch
	free chan *batch
	cur  *batch
	last *folder   // of the last job in cur
	ids  []blob.ID // room for what is announced
	deep int       // most levels
}

// traverse takes p over everything below top, and returns when all workers are done. Entries that fail are p's business; what
// is returned is why it ended early, if it did.
func (r *run) traverse(ctx context.Context, p pass, top *folder, single *snapshot.Node) error {
	w := &walker{r: r, pass: p, out: make(chan *batch, batchesAhead), free: make(chan *batch, 2*r.o.Workers+2), deep: levelsMax()}
	w.cur = new(batch)
	var workers sync.WaitGroup
	for range r.o.Workers {
		workers.Go(func() { w.work(ctx) })
	}
	if single != nil {
		w.add(ctx, top, single)
	} else {
		w.folder(ctx, top, 0)
	}
	w.flush(ctx)
	close(w.out)
	workers.Wait()
	return context.Cause(ctx)
}

// work takes batches until there are no more. After a cancellation it only lets go of what they hold.
func (w *walker) work(ctx context.Context) {
	var buf buffer
	for b := range w.out {
		for i := range b.jobs {
			j := &b.jobs[i]
			if ctx.Err() == nil {
				w.pass.entry(ctx, &buf, j)
			}
			w.release(ctx, j.dir)
		}
		b.end()
		clear(b.jobs)
		*b = batch{jobs: b.jobs[:0]}
		select {
		case w.free <- b:
		default:
		}
	}
}

func (w *walker) release(ctx context.Context, f *folder) {
	f.release(func(f *folder) { w.pass.leave(ctx, f) })
}

func (b *batch) end() {
	if b.done != nil {
		b.done()
	}
}

func (w *walker) add(ctx context.Context, f *folder, n *snapshot.Node) {
	if f != w.last && w.cur.full() || w.cur.overfull() {
		w.flush(ctx)
	}
	f.hold()
	w.cur.jobs = append(w.cur.jobs, job{f, *n})
	w.cur.bytes += n.Size
	if f != w.last {
		w.cur.folders++
		w.last = f
	}
}

// announce says which blobs the workers are going to ask for.
func (w *walker) announce(b *batch) {
	if w.r.o.Announce == nil {
		return
	}
	w.ids = w.ids[:0]
	for i := range b.jobs {
		w.ids = w.pass.needs(&b.jobs[i], w.ids)
	}
	if len(w.ids) > 0 {
		b.done = w.r.o.Announce(w.ids)
	}
}

func (w *walker) flush(ctx context.Context) {
	w.announce(w.cur)
	select {
	case w.out <- w.cur:
	case <-ctx.Done():
		w.cur.end()
		for i := range w.cur.jobs {
			w.release(ctx, w.cur.jobs[i].dir)
		}
	}
	w.last = nil
	select {
	case w.cur = <-w.free:
	default:
		w.cur = &batch{jobs: make([]job, 0, batchJobs)}
	}
}

// folder goes through f's entries. The list of a large folder consists of several blobs, and each is read by itself: one that is damaged
// takes only its own entries with it.
func (w *walker) folder(ctx context.Context, f *folder, level int) {
	f.whole = f.state != pending
	broken := func(err error) {
		f.whole = false
		if ctx.Err() == nil {
			w.pass.broken(f.parent, snapshot.Dir, f.node.Name, fmt.Errorf("read the list of entries: %w", err))
		}
	}
	if level > w.deep {
		broken(fmt.Errorf("nested more than %d deep", w.deep))
		return
	}
	last, begun := "", false
	for e, err := range snapshot.Elements(ctx, w.r.loader, f.node.Content) {
		if err != nil {
			broken(err)
			return
		}
		for n, err := range snapshot.Entries(ctx, w.r.loader, snapshot.Content{Elements: []snapshot.Element{e}}) {
			if err != nil {
				broken(fmt.Errorf("blob %s: %w", e.ID, err))
				break
			}
			if begun && n.Name <= last {
				// No damage does this, since the blob's hash is right: somebody made it so, and there may be no end to it.
				broken(fmt.Errorf("entry %q comes after %q", n.Name, last))
				return
			}
			last, begun = n.Name, true
			if err := checkNode(&n); err != nil {
				f.whole = false
				w.pass.broken(f, n.Type, n.Name, err)
				continue
			}
			w.node(ctx, f, &n, level)
			if ctx.Err() != nil {
				f.whole = false
				return
			}
		}
	}
}

// node hands an entry on, or goes into it.
func (w *walker) node(ctx context.Context, f *folder, n *snapshot.Node, level int) {
	delete(f.extras, n.Name)
	d := Take
	if w.r.o.Filter != nil {
		d = w.r.o.match(f.join(n.Name), n.Type)
	}
	switch {
	case d == Skip:
	case n.Type != snapshot.Dir:
		if w.ensure(ctx, f) {
			w.add(ctx, f, n)
		}
	case d == Take && !w.ensure(ctx, f):
	default:
		sub := &folder{parent: f, node: *n, decision: d}
		f.hold()
		sub.users.Store(1)
		if d == Pass && !w.pass.early(sub) || w.ensure(ctx, sub) {
			w.folder(ctx, sub, level+1)
		}
		w.release(ctx, sub)
	}
}

// ensure opens f, and before it the folders above it that were only passed, and reports whether there is something to work on.
func (w *walker) ensure(ctx context.Context, f *folder) bool {
	if f.state == pending {
		if !w.ensure(ctx, f.parent) {
			f.state = refused
			return false
		}
		w.pass.enter(ctx, f)
	}
	return f.state != refused
}

// errStop is why a run ends when it can't go on, other than by the caller's context.
type errStop struct{ err error }

func (e errStop) Error() string { return e.err.Error() }
func (e errStop) Unwrap() error { return e.err }

// stop ends the run if err would meet every further entry too.
func (r *run) stop(err error) {
	var s errStop
	if fatal(err) && !errors.As(err, &s) {
		r.cancel(errStop{fmt.Errorf("restore: %w", err)})
	}
}
