package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Options are the policy's figures. The zero value is right; tests want shorter ones.
type Options struct {
	Budget   time.Duration // for which an operation is tried again; 0: 15 minutes
	Start    time.Duration // the same, while the store has never answered; 0: 5 seconds
	Pause    time.Duration // before the second try; 0: 100 milliseconds
	PauseMax time.Duration // 0: 30 seconds
	Try      time.Duration // for one try, and for each MiB that it sends a fifth more; 0: 5 minutes
	// Notify, if not nil, is told now and then of failures that are tried again.
	Notify func(Failure)
}

// Failure is what Notify is told.
type Failure struct {
	Err   error
	Tries int
	Pause time.Duration // until the next try
}

// How often Notify is called, and of what.
const (
	notifyAfter = 2 * time.Second
	notifyEvery = 10 * time.Second
)

// Store tries again what another one fails to do.
type Store struct {
	store   storage.Storage
	options Options
	seen    *sight
}

// sight is what has been seen of a store, shared by all that WithSession returned.
type sight struct {
	answered atomic.Bool

	mu   sync.Mutex // guards told
	told time.Time  // when Notify was called last
}

// Wrap returns a store that does what s does, and tries again what fails.
func Wrap(s storage.Storage, o Options) *Store {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Budget, 15 * time.Minute}, {&o.Start, 5 * time.Second}, {&o.Pause, 100 * time.Millisecond}, {&o.PauseMax, 30 * time.Second},
		{&o.Try, 5 * time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return &Store{store: s, options: o, seen: &sight{}}
}

// attempt is one operation, tried until it succeeds or is given up.
type attempt struct {
	*Store
	pauses backoff.ExponentialBackOff
	begin  time.Time
	tries  int
}

func (s *Store) attempt() *attempt {
	a := &attempt{Store: s, pauses: backoff.ExponentialBackOff{
		InitialInterval: s.options.Pause, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: s.options.PauseMax}}
	a.restart()
	return a
}

// restart gives the operation its whole budget again: it has come forward.
func (a *attempt) restart() {
	a.pauses.Reset()
	a.begin, a.tries = time.Now(), 0
}

// again waits before the next try, or returns the error that ends the operation.
func (a *attempt) again(ctx context.Context, err error) error {
	a.tries++
	if ended := ctx.Err(); ended != nil {
		if errors.Is(err, ended) {
			return err
		}
		return fmt.Errorf("%w (%v)", ended, err)
	}
	if storage.IsPermanent(err) {
		a.seen.answered.Store(true)
		return err
	}
	if storage.IsBusy(err) {
		a.seen.answered.Store(true)
	}
	budget := a.options.Budget
	if !a.seen.answered.Load() {
		budget = min(budget, a.options.Start)
	}
	pause := a.pauses.NextBackOff()
	if passed := time.Since(a.begin); passed+pause > budget {
		if a.tries > 1 {
			err = fmt.Errorf("%w (tried %d times in %s)", err, a.tries, passed.Round(100*time.Millisecond))
		}
		return err
	}
	a.notify(Failure{err, a.tries, pause})
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *attempt) notify(f Failure) {
	if a.options.Notify == nil || time.Since(a.begin)+f.Pause < notifyAfter {
		return
	}
	a.seen.mu.Lock()
	due := time.Since(a.seen.told) >= notifyEvery
	if due {
		a.seen.told = time.Now()
	}
	a.seen.mu.Unlock()
	if due {
		a.options.Notify(f)
	}
}

// errSlow is the cause of the end of a try that took too long.
var errSlow = errors.New("no answer in time")

// Do tries an operation of the caller's, such as the first look at a store, in the same way.
func (s *Store) Do(ctx context.Context, op func(ctx context.Context) error) error {
	return s.run(ctx, 0, op)
}

// run tries op until it succeeds or is given up.
func (s *Store) run(ctx context.Context, bytes int, op func(ctx context.Context) error) error {
	a := s.attempt()
	limit := s.options.Try + time.Duration(bytes>>20)*s.options.Try/5
	for {
		err := tryOnce(ctx, limit, op)
		if err == nil {
			s.seen.answered.Store(true)
			return nil
		}
		if err := a.again(ctx, err); err != nil {
			return err
		}
	}
}

func tryOnce(ctx context.Context, limit time.Duration, op func(ctx context.Context) error) error {
	try, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	err := op(try)
	if err != nil && ctx.Err() == nil && try.Err() != nil {
		return fmt.Errorf("%w (%s)", errSlow, limit) // and not a context.Canceled that nobody asked for
	}
	return err
}

// Put tries to put the object until it is there.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.run(ctx, len(data), func(ctx context.Context) error { return s.store.Put(ctx, name, data) })
}

// Remove tries to remove the object until it is gone.
func (s *Store) Remove(ctx context.Context, name string) error {
	return s.run(ctx, 0, func(ctx context.Context) error { return s.store.Remove(ctx, name) })
}

// Get returns a reader that goes on where a connection was cut.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, name: name, off: off, left: n, attempt: s.attempt()}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

// WithSession returns the same store; what its Puts may leave behind carries label, if the store that is tried is a storage.Cleaner.
func (s *Store) WithSession(label string) storage.Storage {
	with := *s
	if c, ok := s.store.(storage.Cleaner); ok {
		with.store = c.WithSession(label)
	}
	return &with
}

// Leftovers are those of the store that is tried; of one that leaves nothing behind there are none.
func (s *Store) Leftovers(ctx context.Context) (found []storage.Leftover, err error) {
	if c, ok := s.store.(storage.Cleaner); ok {
		err = s.run(ctx, 0, func(ctx context.Context) error {
			found, err = c.Leftovers(ctx)
			return err
		})
	}
	return found, err
}

// RemoveLeftovers removes those for which over returns true, and returns them.
func (s *Store) RemoveLeftovers(ctx context.Context, over func(storage.Leftover) bool) (removed []storage.Leftover, err error) {
	if c, ok := s.store.(storage.Cleaner); ok {
		err = s.run(ctx, 0, func(ctx context.Context) error {
			some, err := c.RemoveLeftovers(ctx, over)
			removed = append(removed, some...)
			return err
		})
	}
	return removed, err
}
