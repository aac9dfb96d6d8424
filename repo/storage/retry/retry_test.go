package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/repo/storage/retry"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick are options that don't make a test wait.
func quick() retry.Options {
	return retry.Options{Pause: time.Nanosecond, PauseMax: time.Microsecond}
}

func TestStorage(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return retry.Wrap(memory.New(), quick()) })
}

// sometimes is a store in which every third operation fails by chance: before it begins, in the middle, or at its end.
type sometimes struct {
	*memory.Store
	mu     sync.Mutex // guards random
	random *rand.Rand
}

var errPassing = fmt.Errorf("passing: %w", syscall.ECONNRESET)

// fate returns 1, 2 or 3 for the operations that fail.
func (s *sometimes) fate() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(9)
}

func (s *sometimes) Put(ctx context.Context, name string, data []byte) error {
	fate := s.fate()
	if fate == 1 {
		return errPassing
	}
	err := s.Store.Put(ctx, name, data)
	if fate == 2 && err == nil {
		return errPassing
	}
	return err
}

func (s *sometimes) Remove(ctx context.Context, name string) error {
	fate := s.fate()
	if fate == 1 {
		return errPassing
	}
	err := s.Store.Remove(ctx, name)
	if fate == 2 && err == nil {
		return errPassing
	}
	return err
}

func (s *sometimes) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	fate := s.fate()
	if fate == 1 {
		return nil, errPassing
	}
	r, err := s.Store.Get(ctx, name, off, n)
	// Objects are immutable, and a reader goes on where it was cut off. The one that the contract replaces while it is read is none of tarn's.
	if err != nil || fate != 2 && fate != 3 || name == "data/ab/atomic" {
		return r, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	end := map[int]error{2: errPassing, 3: io.ErrUnexpectedEOF}[fate]
	return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)/2]), iotest.ErrReader(end))), nil
}

func (s *sometimes) List(ctx context.Context, prefix string, fn func(string, int64) error) error {
	fate, n := s.fate(), 0
	err := s.Store.List(ctx, prefix, func(name string, size int64) error {
		if n++; n > 2 && fate == 2 {
			return errPassing
		}
		return fn(name, size)
	})
	if fate == 1 && err == nil {
		return errPassing
	}
	return err
}

// ordered is one that can go on with a list.
type ordered struct{ *sometimes }

func (o ordered) ListAfter(ctx context.Context, prefix, after string, fn func(string, int64) error) error {
	return o.List(ctx, prefix, func(name string, size int64) error {
		if name <= after {
			return nil
		}
		return fn(name, size)
	})
}

func TestStorageThatFails(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	store := func() *sometimes { return &sometimes{Store: memory.New(), random: rand.New(rand.NewPCG(seed, 1))} }
	t.Run("unordered", func(t *testing.T) {
		storagetest.Run(t, func(*testing.T) storage.Storage { return retry.Wrap(store(), quick()) })
	})
	t.Run("ordered", func(t *testing.T) {
		storagetest.Run(t, func(*testing.T) storage.Storage { return retry.Wrap(ordered{store()}, quick()) })
	})
}

// over returns a store of which Puts always fail with err, and which answers when it is asked to.
func over(err error, o retry.Options) (*retry.Store, *faulty.Store) {
	f := faulty.Wrap(memory.New(), faulty.Options{Faults: []faulty.Fault{{Method: faulty.Put, Nth: 1, Times: faulty.Forever, Err: err}}})
	return retry.Wrap(f, o), f
}

func TestWhatTryingAgainDoesNotChange(t *testing.T) {
	for _, err := range []error{storage.ErrFull, storage.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, storage.Permanent(errors.New("certificate"))} {
		s, f := over(err, quick())
		if got := s.Put(t.Context(), "config", nil); !errors.Is(got, err) || f.Count(faulty.Any) != 1 {
			t.Errorf("%v: got %v after %d tries", err, got, f.Count(faulty.Any))
		}
	}
}

func TestTheBudgetEnds(t *testing.T) {
	o := quick()
	o.Start, o.Budget = 500*time.Millisecond, time.Hour // enough for three tries on any machine
	s, f := over(syscall.ECONNREFUSED, o)
	err := s.Put(t.Context(), "config", nil)
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "tried ") || f.Count(faulty.Any) < 3 {
		t.Errorf("got %v after %d tries", err, f.Count(faulty.Any))
	}
	// Once the store has answered, the small budget counts no more.
	if err := s.Remove(t.Context(), "config"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, "config", nil); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() == nil {
		t.Errorf("got %v before the time was up", err)
	}
}

// A server that is busy is there: it is waited for as one that has worked, even if it was never seen to.
func TestABusyServerIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		err  error
		good bool
	}{
		{storage.Busy(errors.New("503")), true},
		{errors.New("502"), false},
	} {
		o := quick()
		o.Start, o.Budget = time.Nanosecond, time.Hour
		left := 20
		s := retry.Wrap(faulty.Wrap(memory.New(), faulty.Options{Before: func(context.Context, faulty.Op) error {
			if left--; left > 0 {
				return c.err
			}
			return nil
		}}), o)
		if err := s.Put(t.Context(), "config", nil); (err == nil) != c.good {
			t.Errorf("%v: got %v", c.err, err)
		}
	}
}

func TestATryHasADeadline(t *testing.T) {
	o := quick()
	o.Try = 100 * time.Millisecond // a machine with much else to do may need more for one that does not hang
	n := 0
	f := faulty.Wrap(memory.New(), faulty.Options{Before: func(ctx context.Context, op faulty.Op) error {
		if n++; n < 3 {
			<-ctx.Done() // hangs
			return ctx.Err()
		}
		return nil
	}})
	if err := retry.Wrap(f, o).Put(t.Context(), "config", nil); err != nil || n < 3 {
		t.Errorf("put: got %v after %d tries", err, n)
	}
	n = 0
	r, err := retry.Wrap(f, o).Get(t.Context(), "config", 0, -1)
	if err != nil || n < 3 {
		t.Fatalf("get: got %v after %d tries", err, n)
	}
	r.Close()
}

func TestATruncatedObject(t *testing.T) {
	f := faulty.Wrap(memory.New(), faulty.Options{})
	s := retry.Wrap(f, quick())
	if err := s.Put(t.Context(), "config", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if err := storage.ReadRange(t.Context(), s, "config", make([]byte, 11), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if n := f.Count(faulty.Get); n != 1 {
		t.Errorf("%d tries, where the first one said all", n)
	}
}

func TestNotify(t *testing.T) {
	var told []retry.Failure
	o := retry.Options{Start: time.Millisecond, Pause: time.Hour, Notify: func(f retry.Failure) { told = append(told, f) }}
	s, _ := over(syscall.ECONNRESET, o)
	if err := s.Put(t.Context(), "config", nil); err == nil || len(told) != 0 {
		t.Errorf("told %v of what is not tried again (%v)", told, err)
	}
	o.Start, o.Budget = 3*time.Hour, 3*time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	told = nil
	o.Notify = func(f retry.Failure) { told = append(told, f); cancel() }
	s, _ = over(syscall.ECONNRESET, o)
	if err := s.Put(ctx, "config", nil); !errors.Is(err, context.Canceled) || len(told) != 1 || told[0].Tries != 1 || !errors.Is(told[0].Err, syscall.ECONNRESET) {
		t.Errorf("told %v (%v)", told, err)
	}
}
