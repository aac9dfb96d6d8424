package faulty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Options say what goes wrong. The zero value lets all through.
type Options struct {
	Faults []Fault // the first that strikes counts
	// Before is called at the beginning of each operation, and may wait. If it returns an error, the operation does nothing and
	// fails with it.
	Before func(ctx context.Context, op Op) error
	// After is called at the end of each operation, with its error.
	After func(ctx context.Context, op Op)
}

// Store is a storage.Storage that fails on demand. It is as safe for many goroutines as the one that it wraps.
type Store struct {
	store   storage.Storage
	options Options

	mu      sync.Mutex
	log     []Op
	matched []int // for each fault, how many operations matched
}

// Wrap returns a store that does what s does, but for the faults.
func Wrap(s storage.Storage, o Options) *Store {
	return &Store{store: s, options: o, matched: make([]int, len(o.Faults))}
}

// Ops returns the operations that have begun until now, in the order in which they did.
func (s *Store) Ops() []Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count returns how many operations of a method, or of Any, have begun.
func (s *Store) Count(m Method) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, op := range s.log {
		if m == Any || m == op.Method {
			n++
		}
	}
	return n
}

// Put puts, tears or loses an object.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.run(ctx, Op{Method: Put, Name: name, Size: int64(len(data))}, func(fault *Fault) error {
		switch {
		case fault == nil || fault.Effect == Done:
			return s.store.Put(ctx, name, data)
		case fault.Effect == Torn:
			return s.store.Put(ctx, name, data[:len(data)/2])
		}
		return nil
	})
}

// Get gets an object, or the first half of it.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (r io.ReadCloser, err error) {
	err = s.run(ctx, Op{Method: Get, Name: name, Off: off, Size: n}, func(fault *Fault) error {
		switch {
		case fault == nil:
			r, err = s.store.Get(ctx, name, off, n)
		case fault.Effect == Torn:
			r, err = s.half(ctx, name, off, n, fault.Err)
		case fault.Err == nil:
			r = io.NopCloser(bytes.NewReader(nil))
		}
		return err
	})
	return r, err
}

// half returns a reader of the first half of what was asked for, which then ends with end, or as if that were all.
func (s *Store) half(ctx context.Context, name string, off, n int64, end error) (io.ReadCloser, error) {
	r, err := s.store.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if end != nil {
		end = fmt.Errorf("get %s: %w", name, end)
	} else {
		end = io.EOF
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)/2]), ending{end})), nil
}

// ending is a reader that has nothing but an error.
type ending struct{ err error }

func (e ending) Read([]byte) (int, error) { return 0, e.err }

// List lists, or reports the first half of the objects.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	return s.run(ctx, Op{Method: List, Name: prefix}, func(fault *Fault) error {
		switch {
		case fault == nil:
			return s.store.List(ctx, prefix, fn)
		case fault.Effect == Torn:
			return s.listHalf(ctx, prefix, fn)
		}
		return nil
	})
}

func (s *Store) listHalf(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	type object struct {
		name string
		size int64
	}
	var all []object
	if err := s.store.List(ctx, prefix, func(name string, size int64) error {
		all = append(all, object{name, size})
		return nil
	}); err != nil {
		return err
	}
	for _, o := range all[:len(all)/2] {
		if err := fn(o.name, o.size); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes an object or not.
func (s *Store) Remove(ctx context.Context, name string) error {
	return s.run(ctx, Op{Method: Remove, Name: name}, func(fault *Fault) error {
		if fault == nil || fault.Effect != Nothing {
			return s.store.Remove(ctx, name)
		}
		return nil
	})
}

// run logs an operation, finds its fault, and calls do with it, or with nil if it has none.
func (s *Store) run(ctx context.Context, op Op, do func(*Fault) error) error {
	at, fault := s.begin(op)
	err := s.before(ctx, op)
	if err == nil {
		err = do(fault)
		// A torn Get is the reader's to tell.
		if err == nil && fault != nil && fault.Err != nil && !(op.Method == Get && fault.Effect == Torn) {
			err = fmt.Errorf("%s: %w", op, fault.Err)
		}
	}
	op.Err = err
	s.mu.Lock()
	s.log[at].Err = err
	s.mu.Unlock()
	if s.options.After != nil {
		s.options.After(ctx, op)
	}
	return err
}

func (s *Store) before(ctx context.Context, op Op) error {
	if s.options.Before == nil {
		return nil
	}
	return s.options.Before(ctx, op)
}

// begin logs an operation, and returns its place in the log and the fault that strikes it.
func (s *Store) begin(op Op) (at int, fault *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.options.Faults {
		f := &s.options.Faults[i]
		if !f.matches(op) {
			continue
		}
		s.matched[i]++
		if fault == nil && f.strikes(s.matched[i]) {
			fault = f
		}
	}
	s.log = append(s.log, op)
	return len(s.log) - 1, fault
}
