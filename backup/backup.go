package backup

import (
	"context"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
	"github.com/tarn-backup/tarn/source/live"
	"golang.org/x/sync/errgroup"
)

// Store is what a backup needs of a repository: one session of writing.
type Store interface {
	// Lane returns one goroutine's way of saving.
	Lane() Lane
	// Has reports whether a blob may be referred to.
	Has(id blob.ID) bool
	// Flush makes all that was saved durable, and ready to be loaded.
	Flush(ctx context.Context) error
	snapshot.Loader
	// PutSnapshot makes all that was saved durable, and then a record.
	PutSnapshot(ctx context.Context, record []byte) (blob.Name, error)
	// Added says what was stored so far: blobs, their bytes, and the bytes that they take.
	Added() (blobs, plain, stored uint64)
}

// Lane saves blobs for one goroutine.
type Lane interface {
	snapshot.Saver
	// Break tells that the next blobs are no neighbours of those before.
	Break(ctx context.Context) error
	// BreakAlways tells that the next blobs are another user's.
	BreakAlways(ctx context.Context) error
	// Flush hands over what was saved.
	Flush(ctx context.Context) error
}

// Filter says what a backup leaves out.
type Filter interface {
	// Match reports whether the entry at an absolute path is left out, with all below it.
	Match(path string, isDir bool) bool
}

// Options says what to back up and how. Paths or Stdin must be set, and the chunkers.
type Options struct {
	Paths            []string // absolute and clean
	Stdin            *Stdin   // instead of Paths
	Data, Meta       chunker.Chunker
	Exclude          Filter
	ExcludeIfPresent []string // names; a folder that holds one is kept, but none of its other entries
	ExcludeCaches    bool     // the same for folders with a CACHEDIR.TAG (bford.info/cachedir)
	ExcludeLarger    uint64   // bytes; 0 for no limit
	OneFileSystem    bool
	AccessTime       bool          // keep atimes
	Readers          int           // goroutines that read; 0 for one per processor
	PartialEvery     time.Duration // between partial snapshots; 0 for 30 minutes
	Parent           *Parent
	Capture          live.Options
	Held             *source.Holder  // the file systems that are held still; nil for none
	Record           snapshot.Record // host, user, tags, time and so on, as the caller wants them recorded
}

// Stdin is a stream that is saved as the only file of a snapshot.
type Stdin struct {
	Name   string // absolute path in the snapshot
	Reader io.Reader
	Wait   func() error // called at the end of the stream; an error means that the stream is not whole
}

// Parent is the snapshot that a backup compares with: what did not change since is not read again.
type Parent struct {
	Name   blob.Name
	Record *snapshot.Record
	Loader snapshot.Loader
}

// partialEvery is how often a long backup leaves a snapshot of what is done so far.
const partialEvery = 30 * time.Minute

// Run reads and saves what o names, and returns the record for the caller to commit. What went wrong with single entries is in the
// record; an error means that there is nothing to commit.
func Run(ctx context.Context, store Store, o Options, p *Progress) (*snapshot.Record, error) {
	begin := time.Now()
	if o.Readers <= 0 {
		o.Readers = runtime.GOMAXPROCS(0)
	}
	if o.PartialEvery <= 0 {
		o.PartialEvery = partialEvery
	}
	var rec *snapshot.Record
	var err error
	if o.Stdin != nil {
		rec, err = runStdin(ctx, store, &o, p)
	} else {
		rec, err = runPaths(ctx, store, &o, p)
	}
	if err != nil {
		return nil, err
	}
	p.Finishing.Store(true)
	rec.End = time.Now()
	rec.Stats.DurationMS = uint64(rec.End.Sub(begin).Milliseconds())
	rec.Stats.Blobs, rec.Stats.Added, rec.Stats.Stored = store.Added()
	return rec, nil
}

// pipeline is what the passes of one backup share.
type pipeline struct {
	o        *Options
	store    Store
	progress *Progress
	readers  []*reader
	links    links
	kept     *references
}

// run lets list say what there is, the walker compare it with a previous backup, the readers read, and a assemble; it waits for all of them,
// and returns the looks at the folders.
func (p *pipeline) run(ctx context.Context, list func(*lister) error, v *previous, a *assembler) ([]look, error) {
	group, ctx := errgroup.WithContext(ctx)
	steps := make(chan *stepBatch, stepsOpen)
	order, work := make(chan *batch, batchesOpen), make(chan *batch, batchesOpen)
	dirs := source.OpenMax()
	l := &lister{ctx: ctx, o: p.o, progress: p.progress, steps: steps, most: min(foldersMax, dirs/4/(stepsOpen+2))} // one with the lister, and one with the walker
	group.Go(func() error {
		defer close(steps)
		err := list(l)
		if err == nil {
			return l.pass()
		}
		if l.cur != nil {
			l.cur.release()
		}
		return err
	})
	w := &walker{ctx: ctx, o: p.o, kept: p.kept, progress: p.progress, steps: steps, order: order, work: work, cur: newBatch(),
		previous: v, links: p.links, dirsMax: dirs * 3 / 4 / (batchesOpen + len(p.readers) + 2)} // two with the walker
	group.Go(func() error {
		defer close(order)
		defer close(work)
		return w.run()
	})
	h := newHelp(len(p.readers))
	for _, r := range p.readers {
		group.Go(func() error { return r.run(ctx, work, h) })
	}
	group.Go(func() error { return a.run(ctx, order) })
	err := group.Wait()
	for b := range steps { // that nobody took, after an error
		b.release()
	}
	for b := range work {
		b.release()
	}
	return l.looks, err
}

// runPaths backs up all targets, and then looks again at the folders that changed meanwhile.
func runPaths(ctx context.Context, store Store, o *Options, progress *Progress) (*snapshot.Record, error) {
	targets, err := newTargets(o.Paths)
	if err != nil {
		return nil, err
	}
	capturer, err := live.New(o.Capture)
	if err != nil {
		return nil, err
	}
	defer capturer.Close()
	p := &pipeline{o: o, store: store, progress: progress, links: links{}, kept: newReferences(store, o)}
	for range o.Readers {
		p.readers = append(p.readers, newReader(store.Lane(), capturer, p.kept, o, progress))
	}
	a := newAssembler(store, o, progress)
	v := newPrevious(ctx, o.Parent)
	defer v.close()
	looks, err := p.run(ctx, func(l *lister) error { return l.targets(targets) }, v, a)
	if err != nil {
		return nil, err
	}
	s := &settler{pipeline: p, assembler: a, looks: looks, came: map[string]uint64{}, fresh: map[string]bool{}, moved: map[uint64]bool{}}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	a.record.SetMounts(o.Held.Mounts())
	return a.record, o.Held.Valid(ctx) // a snapshot that was lost may have looked like empty folders
}

// runStdin saves a stream as the only file.
func runStdin(ctx context.Context, store Store, o *Options, p *Progress) (*snapshot.Record, error) {
	r := newReader(store.Lane(), nil, nil, o, p)
	size, content, err := r.stream(ctx, o.Stdin.Reader)
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if o.Stdin.Wait != nil {
		if err := o.Stdin.Wait(); err != nil {
			return nil, err
		}
	}
	if err := r.lane.Flush(ctx); err != nil {
		return nil, err
	}
	now := time.Now()
	at := snapshot.Time{Sec: now.Unix(), Nsec: uint32(now.Nanosecond())}
	a := newAssembler(store, o, p)
	a.record.Settled = true // there is nothing to look at again
	dir, name := path.Split(path.Clean(o.Stdin.Name))
	b := newBatch()
	close(b.done)
	folders := strings.FieldsFunc(dir, func(c rune) bool { return c == '/' })
	for _, f := range folders {
		b.items = append(b.items, item{kind: itemEnter, node: snapshot.Node{Name: f, Type: snapshot.Dir, Mode: 0o755}, seen: snapshot.Seen{Name: f}})
	}
	node := snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o600, ModTime: at, Size: size, Content: content}
	b.items = append(b.items, item{node: node, seen: snapshot.Seen{Name: name}, bytes: size})
	for range folders {
		b.items = append(b.items, item{kind: itemLeave})
	}
	order := make(chan *batch, 1)
	order <- b
	close(order)
	return a.record, a.run(ctx, order)
}
