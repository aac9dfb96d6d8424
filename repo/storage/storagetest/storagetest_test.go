package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broken is a store that is sound but for the methods that are set. They get the sound one to work with.
type broken struct {
	*memory.Store
	put    func(s *memory.Store, ctx context.Context, name string, data []byte) error
	putNew func(s *memory.Store, ctx context.Context, name string, data []byte) error
	get    func(s *memory.Store, ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	list   func(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error
	remove func(s *memory.Store, ctx context.Context, name string) error
}

func (b *broken) Put(ctx context.Context, name string, data []byte) error {
	if b.put != nil {
		return b.put(b.Store, ctx, name, data)
	}
	return b.Store.Put(ctx, name, data)
}

func (b *broken) PutNew(ctx context.Context, name string, data []byte) error {
	if b.putNew != nil {
		return b.putNew(b.Store, ctx, name, data)
	}
	return errors.ErrUnsupported
}

func (b *broken) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if b.get != nil {
		return b.get(b.Store, ctx, name, off, n)
	}
	return b.Store.Get(ctx, name, off, n)
}

func (b *broken) List(ctx context.Context, prefix string, fn func(string, int64) error) error {
	if b.list != nil {
		return b.list(b.Store, ctx, prefix, fn)
	}
	return b.Store.List(ctx, prefix, fn)
}

func (b *broken) Remove(ctx context.Context, name string) error {
	if b.remove != nil {
		return b.remove(b.Store, ctx, name)
	}
	return b.Store.Remove(ctx, name)
}

// TestChecksNotice runs each check against stores that break what it is there for.
func TestChecksNotice(t *testing.T) {
	for _, c := range storagetest.Checks() {
		stores := brokenStores()[c.Name]
		if len(stores) == 0 {
			t.Errorf("%s: there is no store that fails it", c.Name)
		}
		for _, what := range slices.Sorted(maps.Keys(stores)) {
			t.Run(c.Name+"/"+what, func(t *testing.T) {
				s := stores[what]
				s.Store = memory.New()
				if err := c.Run(t.Context(), s); err == nil {
					t.Error("the check noticed nothing")
				} else {
					t.Log(err)
				}
			})
		}
	}
}

func brokenStores() map[string]map[string]*broken {
	stores := brokenMethods()
	maps.Copy(stores, brokenProtocol())
	return stores
}

func brokenProtocol() map[string]map[string]*broken {
	return map[string]map[string]*broken{
		"1 put is atomic": {
			"written in two steps": twoSteps(),
		},
		"2 get and list see what was done": {
			"a list that is one change behind": lateList(),
			"a remove that does nothing":       {remove: func(*memory.Store, context.Context, string) error { return nil }},
		},
		"3 list reports all that was there throughout": {
			"replacing moves an object behind the reader": replacedAreMissed(),
		},
		"4 nothing takes effect late": {
			"a put that goes on after it was given up": lateComer(),
		},
	}
}

// twoSteps is a store whose Put first stores half of the object. It takes the second step when a reader has certainly
// seen the first: the check has three, so one of four later Gets began after it.
func twoSteps() *broken {
	var gets atomic.Int64
	return &broken{
		put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			if err := s.Put(ctx, name, data[:len(data)/2]); err != nil {
				return err
			}
			for begin := gets.Load(); gets.Load() < begin+4 && ctx.Err() == nil; {
				runtime.Gosched()
			}
			return s.Put(ctx, name, data)
		},
		get: func(s *memory.Store, ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
			defer gets.Add(1)
			return s.Get(ctx, name, off, n)
		},
	}
}

// lateList is a store whose List knows all changes but the last.
func lateList() *broken {
	var mu sync.Mutex
	before := memory.New()
	change := func(s *memory.Store) {
		mu.Lock()
		defer mu.Unlock()
		before = s.Clone()
	}
	return &broken{
		put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			change(s)
			return s.Put(ctx, name, data)
		},
		list: func(_ *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
			mu.Lock()
			old := before
			mu.Unlock()
			return old.List(ctx, prefix, fn)
		},
	}
}

// replacedAreMissed is a store whose List leaves out what is put while it runs, as a folder on Btrfs does with renamed
// files. It goes on when many puts were made: most of them are of objects that should be listed.
func replacedAreMissed() *broken {
	var mu sync.Mutex
	puts, last := 0, map[string]int{}
	now := func() int {
		mu.Lock()
		defer mu.Unlock()
		return puts
	}
	return &broken{
		put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			mu.Lock()
			puts++
			last[name] = puts
			mu.Unlock()
			return s.Put(ctx, name, data)
		},
		list: func(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
			begin := now()
			for now() < begin+50 && ctx.Err() == nil {
				runtime.Gosched()
			}
			return s.List(ctx, prefix, func(name string, size int64) error {
				mu.Lock()
				missed := last[name] > begin
				mu.Unlock()
				if missed {
					return nil
				}
				return fn(name, size)
			})
		},
	}
}

// lateComer is a store whose Put of a long object returns at once if its context ends, and still stores it at some later time.
func lateComer() *broken {
	var mu sync.Mutex
	late := map[string][]byte{}
	arrive := func(s *memory.Store) {
		mu.Lock()
		defer mu.Unlock()
		for name, data := range late {
			s.Put(context.Background(), name, data)
		}
	}
	return &broken{
		put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			if len(data) < 100_000 {
				return s.Put(ctx, name, data)
			}
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			late[name] = data
			return ctx.Err()
		},
		get: func(s *memory.Store, ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
			if name == "data/ab/late-0" { // the first look after all puts
				arrive(s)
			}
			return s.Get(ctx, name, off, n)
		},
	}
}

func brokenMethods() map[string]map[string]*broken {
	type list = func(*memory.Store, context.Context, string, func(string, int64) error) error
	foundEmpty := func(s *memory.Store, ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
		r, err := s.Get(ctx, name, off, n)
		if errors.Is(err, storage.ErrNotExist) {
			return io.NopCloser(strings.NewReader("")), nil
		}
		return r, err
	}
	shortReader := func(s *memory.Store, ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
		r, err := s.Get(ctx, name, off, n)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return s.Get(ctx, name, min(off, 1), -1)
		}
		return r, err
	}
	wholeObject := func(s *memory.Store, ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
		return s.Get(ctx, name, 0, -1)
	}
	var listNothing list = func(*memory.Store, context.Context, string, func(string, int64) error) error { return nil }
	var listAll list = func(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
		return s.List(ctx, "", fn)
	}
	var listOn list = func(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
		return s.List(ctx, prefix, func(name string, size int64) error { fn(name, size); return nil })
	}
	var listAnyway list = func(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
		return s.List(context.WithoutCancel(ctx), prefix, fn)
	}
	var listTwice list = func(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
		return errors.Join(s.List(ctx, prefix, fn), s.List(ctx, prefix, fn))
	}
	return map[string]map[string]*broken{
		"a missing object is not there": {"found empty": {get: foundEmpty}},
		"ranges":                        {"reader ends early": {get: shortReader}, "range ignored": {get: wholeObject}},
		"an empty object": {"not listed": {list: listNothing}, "not stored": {put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			if len(data) == 0 {
				return nil
			}
			return s.Put(ctx, name, data)
		}}},
		"sizes": {"cut at 4 KiB": {put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			return s.Put(ctx, name, data[:min(len(data), 4096)])
		}}},
		"put new replaces none": {
			"the last one wins": {putNew: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
				return s.Put(ctx, name, data)
			}},
			"nobody wins": {putNew: func(*memory.Store, context.Context, string, []byte) error { return storage.ErrExist }},
		},
		"put replaces": {"first wins": {put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			if r, err := s.Get(ctx, name, 0, -1); err == nil {
				return r.Close()
			}
			return s.Put(ctx, name, data)
		}}, "same length stays": {put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			old, err := storage.ReadAll(ctx, s, name, 1<<20)
			if err == nil && len(old) == len(data) {
				return nil
			}
			return s.Put(ctx, name, data)
		}}},
		"put keeps no data": {"kept": keepsData(), "changed": {put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			err := s.Put(ctx, name, data)
			clear(data)
			return err
		}}},
		"remove twice": {"an error if missing": {remove: func(s *memory.Store, ctx context.Context, name string) error {
			if _, err := s.Get(ctx, name, 0, 0); err != nil {
				return err
			}
			return s.Remove(ctx, name)
		}}},
		"list by prefix":                    {"ignored": {list: listAll}, "twice": {list: listTwice}},
		"list ends with the error of fn":    {"goes on": {list: listOn}, "wrapped": {list: listWrapped}},
		"names":                             {"anything goes": {put: anyName}, "upper case": {put: foldedNames}},
		"a context that has ended":          {"ignored by list": {list: listAnyway}},
		"a context that ends during a list": {"ignored": {list: listAnyway}},
		"many goroutines":                   {"an object that is put often is lost": losesObjects()},
	}
}

func listWrapped(s *memory.Store, ctx context.Context, prefix string, fn func(string, int64) error) error {
	if err := s.List(ctx, prefix, fn); err != nil {
		return errors.Join(errors.New("list"), err)
	}
	return nil
}

func anyName(s *memory.Store, ctx context.Context, name string, data []byte) error {
	if storage.CheckName(name) != nil {
		return nil
	}
	return s.Put(ctx, name, data)
}

func foldedNames(s *memory.Store, ctx context.Context, name string, data []byte) error {
	return s.Put(ctx, strings.ToLower(name), data)
}

// losesObjects is a store that counts its Puts without a thought for others, and from some count on stores nothing.
func losesObjects() *broken {
	var puts atomic.Int64
	return &broken{put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
		if puts.Add(1) > 20 {
			return s.Remove(ctx, name)
		}
		return s.Put(ctx, name, data)
	}}
}

// keepsData is a store that looks at the caller's buffer again when it is read.
func keepsData() *broken {
	kept := map[string][]byte{}
	return &broken{
		put: func(s *memory.Store, ctx context.Context, name string, data []byte) error {
			kept[name] = data
			return s.Put(ctx, name, data)
		},
		get: func(_ *memory.Store, _ context.Context, name string, off, _ int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(kept[name][off:])), nil
		},
	}
}
