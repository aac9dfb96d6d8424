package inuse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Workload is a folder and the programs that work in it.
type Workload struct {
	Dir     string // an empty folder
	Kinds   []Kind
	Each    int           // writers of each kind
	Size    int           // bytes of each file, a multiple of 8
	RestMin time.Duration // between two saves
	RestMax time.Duration
	Still   int64 // bytes of files that nobody writes to, so that a backup takes its time
	Seed    uint64
}

// stillFile is the size of one of the files that nobody writes to.
const stillFile = 256 << 10

// Phase says what goes on while a file is saved.
type Phase int32

// The phases.
const (
	Idle   Phase = iota // nothing
	Backup              // a backup runs
	phases
)

// Running is a workload at work.
type Running struct {
	work    *Workload
	writers []writer
	phase   atomic.Int32
	stop    context.CancelFunc
	wait    sync.WaitGroup
	saved   chan struct{} // closed when something was saved, or nobody saves
	once    sync.Once     // closes it

	mu    sync.Mutex // guards what follows
	saves [phases][]time.Duration
	errs  []error
}

// Start makes the files, and starts to save them. Stop must be called.
func (w *Workload) Start(ctx context.Context) (*Running, error) {
	if err := w.makeStill(); err != nil {
		return nil, fmt.Errorf("make the files that nobody writes to: %w", err)
	}
	for _, dir := range []string{"a", "z"} {
		if err := os.Mkdir(filepath.Join(w.Dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	r := &Running{work: w, stop: stop, saved: make(chan struct{})}
	for i := range w.Each {
		for _, k := range w.Kinds {
			s, err := w.newWriter(k, i)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("writer %s %d: %w", k, i, err), r.Stop())
			}
			r.writers = append(r.writers, s)
			random := rand.New(rand.NewPCG(w.Seed, uint64(len(r.writers))))
			r.wait.Go(func() { r.keepSaving(ctx, s, random, k) })
		}
	}
	if len(r.writers) == 0 {
		r.once.Do(func() { close(r.saved) })
	}
	return r, nil
}

// makeStill makes files that can't be compressed.
func (w *Workload) makeStill() error {
	dir := filepath.Join(w.Dir, "m")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range int(w.Still / stillFile) {
		data := content(uint32(i)|1<<31, w.Seed%genMax+1, stillFile)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("still-%05d", i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// keepSaving saves until ctx ends.
func (r *Running) keepSaving(ctx context.Context, s writer, random *rand.Rand, k Kind) {
	for gen := uint64(2); ; gen++ {
		rest := r.work.RestMin + time.Duration(random.Int64N(int64(r.work.RestMax-r.work.RestMin)+1))
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
		phase := r.phase.Load()
		begin := time.Now()
		err := s.save(gen)
		took := time.Since(begin)
		r.mu.Lock()
		if r.saves[phase] = append(r.saves[phase], took); err != nil {
			r.errs = append(r.errs, fmt.Errorf("save %s for the %d. time: %w", k, gen, err))
		}
		r.mu.Unlock()
		r.once.Do(func() { close(r.saved) })
		if err != nil {
			return
		}
	}
}

// Work waits while the programs work: so long, and until one of them has saved something.
func (r *Running) Work(ctx context.Context, long time.Duration) error {
	select {
	case <-time.After(long):
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.saved:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Enter says that another phase begins.
func (r *Running) Enter(p Phase) { r.phase.Store(int32(p)) }

// Stop ends the programs, and tells what went wrong with them: a program must not notice that a backup runs.
func (r *Running) Stop() error {
	r.stop()
	r.wait.Wait()
	for _, s := range r.writers {
		if err := s.close(); err != nil {
			r.errs = append(r.errs, err)
		}
	}
	r.writers = nil
	return errors.Join(r.errs...)
}

// Saves returns how long the saves of a phase took, ascending. Call it after Stop.
func (r *Running) Saves(p Phase) []time.Duration {
	slices.Sort(r.saves[p])
	return r.saves[p]
}
