package crash

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Stage is how far a Put or Remove has come.
type Stage string

// The stages. A Remove has the last two only.
const (
	Written Stage = "written" // the bytes are in a temporary, none of them for certain
	Synced  Stage = "synced"  // the temporary is durable
	Named   Stage = "named"   // readers see the object, or that it is gone
	Durable Stage = "durable" // the folder is synced, and the call is about to return
)

// Step is a stage of one call.
type Step struct {
	Name  string // of the object
	Stage Stage
}

// Forget says which sync the modelled adapter does not do.
type Forget uint8

const (
	ForgetNothing Forget = iota
	ForgetFile           // a file is not synced before it gets its name
	ForgetFolder         // a folder is not synced after a name in it changed
)

// Options of a store. The zero value is a sound adapter without a hook.
type Options struct {
	Forget Forget
	// Step is called after each step, without a lock: it may call the store, or wait.
	Step func(Step)
}

// Store is a storage.Storage and storage.Cleaner in memory.
type Store struct {
	*disk
	session string
}

// disk is what all that WithSession returned share.
type disk struct {
	options Options

	mu    sync.Mutex
	names map[string][]*file // for each name its states: the durable one, and those since then; nil for no object
	temps []*temp            // in the order in which they were made
	made  int                // temporaries until now
}

// file has bytes that never change.
type file struct {
	data   []byte
	synced bool
}

// temp is a temporary, or the second name that a file has in tmp/ until a rename is durable.
type temp struct {
	*file
	name    string
	session string
	renamed bool
}

// New returns an empty store.
func New(o Options) *Store {
	return &Store{disk: &disk{options: o, names: map[string][]*file{}}}
}

// Put goes through the four stages.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if s.keep(name, data) {
		s.finish(name, nil)
		return nil
	}
	t := s.create(data)
	s.step(name, Written)
	if s.options.Forget != ForgetFile {
		s.mu.Lock()
		t.synced = true
		s.mu.Unlock()
	}
	s.step(name, Synced)
	if err := ctx.Err(); err != nil {
		s.drop(t)
		return fmt.Errorf("put %s: %w", name, err)
	}
	s.mu.Lock()
	if !slices.Contains(s.temps, t) {
		s.mu.Unlock()
		return fmt.Errorf("put %s: temporary %s: %w", name, t.name, storage.ErrNotExist) // it was removed as a leftover
	}
	s.setLocked(name, t.file)
	t.renamed = true
	s.mu.Unlock()
	s.step(name, Named)
	s.finish(name, t)
	return nil
}

// Remove goes through the last two stages.
func (s *Store) Remove(ctx context.Context, name string) error {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	s.mu.Lock()
	if s.nowLocked(name) != nil {
		s.setLocked(name, nil)
	}
	s.mu.Unlock()
	s.step(name, Named)
	s.finish(name, nil)
	return nil
}

// keep syncs an object that has these bytes already, and reports whether it has.
func (s *Store) keep(name string, data []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.nowLocked(name)
	if now == nil || !bytes.Equal(now.data, data) {
		return false
	}
	if !now.synced { // a synced file may be a clone's as well, and is never written to
		now.synced = s.options.Forget != ForgetFile
	}
	return true
}

// finish syncs the folder of a name, and forgets the temporary that got it.
func (s *Store) finish(name string, t *temp) {
	s.mu.Lock()
	if s.options.Forget != ForgetFolder {
		for other, states := range s.names {
			if len(states) > 1 && path.Dir(other) == path.Dir(name) {
				s.names[other] = states[len(states)-1:]
			}
		}
	}
	s.temps = slices.DeleteFunc(s.temps, func(other *temp) bool { return other == t })
	s.mu.Unlock()
	s.step(name, Durable)
}

func (s *Store) create(data []byte) *temp {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	t := &temp{file: &file{data: slices.Clone(data)}, name: fmt.Sprintf("tmp/%s-%016x", s.session, s.made), session: s.session}
	s.temps = append(s.temps, t)
	return t
}

func (s *Store) drop(t *temp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temps = slices.DeleteFunc(s.temps, func(other *temp) bool { return other == t })
}

func (s *Store) step(name string, stage Stage) {
	if s.options.Step != nil {
		s.options.Step(Step{name, stage})
	}
}

// nowLocked returns what readers see under a name, or nil.
func (d *disk) nowLocked(name string) *file {
	if states := d.names[name]; len(states) > 0 {
		return states[len(states)-1]
	}
	return nil
}

func (d *disk) setLocked(name string, f *file) {
	if len(d.names[name]) == 0 {
		d.names[name] = []*file{nil}
	}
	d.names[name] = append(d.names[name], f)
}

// Get reads what is visible now, durable or not.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, storage.CheckName(name)); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	s.mu.Lock()
	f := s.nowLocked(name)
	s.mu.Unlock()
	if f == nil {
		return nil, fmt.Errorf("get %s: %w", name, storage.ErrNotExist)
	}
	n, err := storage.Range(int64(len(f.data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return reader{bytes.NewReader(f.data[off : off+n])}, nil
}

// reader also tells how much is left, so that who reads it all knows how much room that takes.
type reader struct{ *bytes.Reader }

// Close does nothing.
func (reader) Close() error { return nil }

// List reports what is visible when it is called, in the order of the names.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	if err := check(ctx, storage.CheckPrefix(prefix)); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	type object struct {
		name string
		size int64
	}
	var list []object
	s.mu.Lock()
	for name := range s.names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if f := s.nowLocked(name); f != nil {
			list = append(list, object{name, int64(len(f.data))})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b object) int { return strings.Compare(a.name, b.name) })
	for _, o := range list {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := fn(o.name, o.size); err != nil {
			return err
		}
	}
	return nil
}

// WithSession returns the same store; its temporaries carry label.
func (s *Store) WithSession(label string) storage.Storage {
	if !storage.ValidLabel(label) {
		panic(fmt.Sprintf("crash: session label %q", label))
	}
	return &Store{disk: s.disk, session: label}
}

// Leftovers returns the temporaries. They have no times.
func (s *Store) Leftovers(ctx context.Context) ([]storage.Leftover, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list leftovers: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []storage.Leftover
	for _, t := range s.temps {
		if !t.renamed { // else it has its new name only
			found = append(found, storage.Leftover{Name: t.name, Session: t.session, Size: int64(len(t.data))})
		}
	}
	return found, nil
}

// RemoveLeftovers removes the temporaries for which over returns true.
func (s *Store) RemoveLeftovers(ctx context.Context, over func(storage.Leftover) bool) ([]storage.Leftover, error) {
	found, err := s.Leftovers(ctx)
	if err != nil {
		return nil, err
	}
	removed := slices.DeleteFunc(found, func(l storage.Leftover) bool { return !over(l) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temps = slices.DeleteFunc(s.temps, func(t *temp) bool {
		return !t.renamed && slices.ContainsFunc(removed, func(l storage.Leftover) bool { return l.Name == t.name })
	})
	return removed, nil
}

func check(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	return ctx.Err()
}
