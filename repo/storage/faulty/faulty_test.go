package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStorage(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Storage { return faulty.Wrap(memory.New(), faulty.Options{}) })
}

// wrap returns a faulty store over one that has config and four packs of four bytes.
func wrap(t *testing.T, faults ...faulty.Fault) (*faulty.Store, *memory.Store) {
	t.Helper()
	s := memory.New()
	for _, name := range []string{"config", "data/ab/1", "data/ab/2", "data/cd/3", "data/cd/4"} {
		if err := s.Put(t.Context(), name, []byte("1234")); err != nil {
			t.Fatal(err)
		}
	}
	return faulty.Wrap(s, faulty.Options{Faults: faults}), s
}

func read(s storage.Storage, name string) string {
	data, err := storage.ReadAll(context.Background(), s, name, 100)
	if err != nil {
		return "error"
	}
	return string(data)
}

func count(s storage.Storage, prefix string) (n int, err error) {
	err = s.List(context.Background(), prefix, func(string, int64) error {
		n++
		return nil
	})
	return n, err
}

func TestPut(t *testing.T) {
	for _, c := range []struct {
		effect faulty.Effect
		want   string
	}{{faulty.Nothing, "1234"}, {faulty.Torn, "567"}, {faulty.Done, "567890"}} {
		for _, want := range []error{nil, syscall.ENOSPC} {
			s, under := wrap(t, faulty.Fault{Method: faulty.Put, Effect: c.effect, Err: want})
			if err := s.Put(t.Context(), "config", []byte("567890")); !errors.Is(err, want) {
				t.Errorf("effect %d: got %v, want %v", c.effect, err, want)
			}
			if got := read(under, "config"); got != c.want {
				t.Errorf("effect %d with %v: stored %q, want %q", c.effect, want, got, c.want)
			}
		}
	}
}

func TestGet(t *testing.T) {
	for _, c := range []struct {
		effect faulty.Effect
		err    error
		bytes  string
	}{
		{faulty.Nothing, syscall.EIO, ""}, {faulty.Done, syscall.EIO, ""}, {faulty.Torn, syscall.EIO, "12"},
		{faulty.Nothing, nil, ""}, {faulty.Torn, nil, "12"},
	} {
		s, _ := wrap(t, faulty.Fault{Method: faulty.Get, Effect: c.effect, Err: c.err})
		var got []byte
		r, err := s.Get(t.Context(), "config", 0, -1)
		if err == nil {
			got, err = io.ReadAll(r)
			r.Close()
		}
		if string(got) != c.bytes || !errors.Is(err, c.err) {
			t.Errorf("%+v: got %q and %v", c, got, err)
		}
	}
}

func TestList(t *testing.T) {
	for _, c := range []struct {
		effect faulty.Effect
		err    error
		n      int
	}{{faulty.Nothing, syscall.EIO, 0}, {faulty.Torn, syscall.EIO, 2}, {faulty.Torn, nil, 2}, {faulty.Nothing, nil, 0}} {
		s, _ := wrap(t, faulty.Fault{Method: faulty.List, Effect: c.effect, Err: c.err})
		if n, err := count(s, "data/"); n != c.n || !errors.Is(err, c.err) {
			t.Errorf("%+v: got %d and %v", c, n, err)
		}
	}
}

func TestRemove(t *testing.T) {
	for _, c := range []struct {
		effect faulty.Effect
		left   string
	}{{faulty.Nothing, "1234"}, {faulty.Torn, "error"}, {faulty.Done, "error"}} {
		s, under := wrap(t, faulty.Fault{Method: faulty.Remove, Effect: c.effect, Err: syscall.EIO})
		if err := s.Remove(t.Context(), "config"); !errors.Is(err, syscall.EIO) {
			t.Errorf("effect %d: got %v", c.effect, err)
		}
		if got := read(under, "config"); got != c.left {
			t.Errorf("effect %d: left %q, want %q", c.effect, got, c.left)
		}
	}
}

// TestWhichFail marks the failures among a fixed run of operations.
func TestWhichFail(t *testing.T) {
	run := []func(s storage.Storage) error{
		func(s storage.Storage) error { return s.Put(t.Context(), "data/ab/1", nil) },
		func(s storage.Storage) error { return s.Put(t.Context(), "index/1", nil) },
		func(s storage.Storage) error { return s.Remove(t.Context(), "data/ab/1") },
		func(s storage.Storage) error { return s.Put(t.Context(), "data/ab/2", nil) },
		func(s storage.Storage) error { _, err := count(s, "data/"); return err },
		func(s storage.Storage) error { return s.Put(t.Context(), "data/ab/3", nil) },
	}
	eio := syscall.EIO
	for _, c := range []struct {
		faults []faulty.Fault
		want   string
	}{
		{nil, "......"},
		{[]faulty.Fault{{Err: eio}}, "xxxxxx"},
		{[]faulty.Fault{{Nth: 1, Err: eio}}, "x....."},
		{[]faulty.Fault{{Nth: 6, Err: eio}}, ".....x"},
		{[]faulty.Fault{{Nth: 7, Err: eio}}, "......"},
		{[]faulty.Fault{{Nth: 3, Times: 2, Err: eio}}, "..xx.."},
		{[]faulty.Fault{{Nth: 3, Times: faulty.Forever, Err: eio}}, "..xxxx"},
		{[]faulty.Fault{{Method: faulty.Put, Nth: 3, Err: eio}}, "...x.."},
		{[]faulty.Fault{{Method: faulty.Put, Prefix: "data/", Nth: 3, Err: eio}}, ".....x"},
		{[]faulty.Fault{{Prefix: "data/", Nth: 2, Err: eio}, {Prefix: "index/", Err: eio}}, ".xx..."},
	} {
		s, _ := wrap(t, c.faults...)
		got := ""
		for _, op := range run {
			if op(s) != nil {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != c.want {
			t.Errorf("%+v: got %s, want %s", c.faults, got, c.want)
		}
	}
}

func TestLogAndCount(t *testing.T) {
	s, _ := wrap(t, faulty.Fault{Method: faulty.Put, Prefix: "index/", Err: syscall.EIO})
	s.Put(t.Context(), "data/ab/5", []byte("12345"))
	s.Put(t.Context(), "data/ab/6", nil)
	s.Put(t.Context(), "index/1", nil)
	s.Get(t.Context(), "data/ab/5", 1, 2)
	count(s, "snapshots/")
	count(s, "")
	s.Remove(t.Context(), "config")
	ops := s.Ops()
	want := []string{"put data/…", "put index/…", "get data/…", "list snapshots/…", "list ", "remove config"}
	if got := faulty.Shape(ops); !slices.Equal(got, want) {
		t.Errorf("shape: got %q, want %q", got, want)
	}
	if ops[0].Size != 5 || ops[3].Off != 1 || ops[3].Size != 2 || ops[0].Err != nil || !errors.Is(ops[2].Err, syscall.EIO) {
		t.Errorf("got %+v", ops)
	}
	for m, want := range map[faulty.Method]int{faulty.Any: 7, faulty.Put: 3, faulty.Get: 1, faulty.List: 2, faulty.Remove: 1} {
		if got := s.Count(m); got != want {
			t.Errorf("%v: counted %d, want %d", m, got, want)
		}
	}
}

func TestHooks(t *testing.T) {
	var seen []string
	under := memory.New()
	s := faulty.Wrap(under, faulty.Options{
		Before: func(_ context.Context, op faulty.Op) error {
			seen = append(seen, "before "+op.String())
			if op.Method == faulty.Remove {
				return syscall.EPERM
			}
			return nil
		},
		After: func(_ context.Context, op faulty.Op) { seen = append(seen, fmt.Sprintf("after %v: %v", op, op.Err)) },
	})
	if err := s.Put(t.Context(), "config", []byte("1")); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), "config"); !errors.Is(err, syscall.EPERM) {
		t.Errorf("got %v", err)
	}
	if read(under, "config") != "1" {
		t.Error("an operation that Before stopped took effect")
	}
	want := []string{"before put config", "after put config: <nil>", "before remove config", "after remove config: " + syscall.EPERM.Error()}
	if !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
}

func Example() {
	ctx := context.Background()
	s := faulty.Wrap(memory.New(), faulty.Options{Faults: []faulty.Fault{
		{Method: faulty.Put, Prefix: "index/", Nth: 1, Err: storage.ErrFull},
	}})
	for _, name := range []string{"data/ab/1", "data/ab/2", "index/1", "index/1", "snapshots/1"} {
		if err := s.Put(ctx, name, []byte("sealed")); err != nil {
			fmt.Println(err)
		}
	}
	for _, line := range faulty.Shape(s.Ops()) {
		fmt.Println(line)
	}
	// Output:
	// put index/1: the storage is full
	// put data/…
	// put index/…
	// put snapshots/…
}
