package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/dir"
)

// failing is a disk that asks a function before each operation whether it fails.
type failing struct {
	dir.Disk
	fault func(op string) error
}

func (d failing) Open(name string) (fs.File, error) {
	if err := d.fault("open"); err != nil {
		return nil, err
	}
	return d.Disk.Open(name)
}

func (d failing) Create(name string) (dir.File, error) {
	if err := d.fault("create"); err != nil {
		return nil, err
	}
	f, err := d.Disk.Create(name)
	return failingFile{f, d.fault}, err
}

func (d failing) Mkdir(name string) error {
	return orElse(d.fault("mkdir"), func() error { return d.Disk.Mkdir(name) })
}

func (d failing) Place(from, to string) error {
	return orElse(d.fault("place"), func() error { return d.Disk.Place(from, to) })
}

func (d failing) Rename(from, to string) error {
	return orElse(d.fault("rename"), func() error { return d.Disk.Rename(from, to) })
}

func (d failing) Remove(name string) error {
	return orElse(d.fault("remove"), func() error { return d.Disk.Remove(name) })
}

func (d failing) SyncFile(name string) error {
	return orElse(d.fault("fsync old"), func() error { return d.Disk.SyncFile(name) })
}

func (d failing) SyncFolder(name string) error {
	return orElse(d.fault("fsync folder"), func() error { return d.Disk.SyncFolder(name) })
}

func (d failing) Stat(name string) (fs.FileInfo, error) {
	if err := d.fault("stat"); err != nil {
		return nil, err
	}
	return d.Disk.Stat(name)
}

type failingFile struct {
	dir.File
	fault func(op string) error
}

// Write writes half of what it should before it fails.
func (f failingFile) Write(p []byte) (int, error) {
	if err := f.fault("write"); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f failingFile) Sync() error { return orElse(f.fault("fsync"), f.File.Sync) }

func (f failingFile) Close() error { return errors.Join(f.fault("close"), f.File.Close()) }

func orElse(err error, op func() error) error {
	if err != nil {
		return err
	}
	return op()
}

// TestEachOperationFails lets each operation of a Put fail in turn, once and for all that come after it, with each error.
func TestEachOperationFails(t *testing.T) {
	old, data := object(1000, 1), object(3000, 2)
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES} {
		for _, rest := range []string{"once", "from then on"} {
			failed := map[string]bool{}
			for nth := 1; ; nth++ {
				ops, broken := 0, true
				disk := newSimDisk()
				s := dir.Over(failing{disk, func(op string) error {
					ops++
					if broken && (ops == nth || ops > nth && rest == "from then on") {
						failed[op] = true
						return errno
					}
					return nil
				}})
				err := s.Put(t.Context(), "data/ab/1", data)
				whole := wantOneOf(disk, "data/ab/1", nil, data)
				if ops < nth {
					break
				}
				broken = false
				what := fmt.Sprintf("operation %d fails with %v %s", nth, errno, rest)
				if whole != nil {
					t.Errorf("%s: %v", what, whole)
				}
				if err == nil {
					err = wantOneOf(disk.afterCut(keepNothing, nil), "data/ab/1", data) // a failed look for an old object is no failure
				} else if !errors.Is(err, errno) {
					t.Errorf("%s: got %v", what, err)
				} else if full := errno == syscall.ENOSPC || errno == syscall.EDQUOT; errors.Is(err, storage.ErrFull) != full {
					t.Errorf("%s: got %v", what, err)
				} else {
					err = nil
				}
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if l, err := s.Leftovers(t.Context()); rest == "once" && (err != nil || len(l) != 0) {
					t.Errorf("%s: it left %v and %v", what, l, err)
				}
				for _, data := range [][]byte{data, old} {
					if err := s.Put(t.Context(), "data/ab/1", data); err != nil {
						t.Errorf("%s, then another put: %v", what, err)
					}
					if err := wantOneOf(disk.afterCut(keepNothing, nil), "data/ab/1", data); err != nil {
						t.Errorf("%s, then another put and a power cut: %v", what, err)
					}
				}
			}
			for _, op := range []string{"open", "create", "mkdir", "write", "fsync", "close", "stat", "place", "fsync folder"} {
				if !failed[op] {
					t.Errorf("%s never failed", op)
				}
			}
		}
	}
}

// wantOneOf returns an error unless an object has the bytes of one of versions, nil for no object.
func wantOneOf(disk *simDisk, name string, versions ...[]byte) error {
	got, err := storage.ReadAll(context.Background(), dir.Over(disk), name, 1<<20)
	if err != nil && !errors.Is(err, storage.ErrNotExist) {
		return err
	}
	for _, want := range versions {
		if string(got) == string(want) && (got == nil) == (want == nil) {
			return nil
		}
	}
	return fmt.Errorf("%s has %d bytes that nobody put", name, len(got))
}

// TestInterrupted lets every operation but close be interrupted once before it works, as network mounts do (restic #2659).
func TestInterrupted(t *testing.T) {
	t.Parallel()
	disk, interrupted := newSimDisk(), map[string]int{}
	again := false
	s := dir.Over(failing{disk, func(op string) error {
		if op == "close" || op == "stat" {
			return nil
		}
		if again = !again; again {
			interrupted[op]++
			return &fs.PathError{Op: op, Path: "somewhere", Err: syscall.EINTR}
		}
		return nil
	}})
	data := object(9<<20, 1)
	for _, data := range [][]byte{object(100, 2), data, data} { // the last finds it there
		if err := s.Put(t.Context(), "data/ab/1", data); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := storage.ReadAll(t.Context(), s, "data/ab/1", 10<<20); err != nil || string(got) != string(data) {
		t.Errorf("got %d bytes and %v", len(got), err)
	}
	if got := names(t, s); len(got) != 1 {
		t.Errorf("list: got %v", got)
	}
	if err := s.Remove(t.Context(), "data/ab/1"); err != nil {
		t.Error(err)
	}
	if l, err := s.Leftovers(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("it left %v and %v", l, err)
	}
	t.Log(interrupted)
	for _, op := range []string{"open", "create", "mkdir", "write", "fsync", "fsync old", "place", "rename", "fsync folder", "remove"} {
		if interrupted[op] == 0 {
			t.Errorf("%s was never interrupted", op)
		}
	}
}

// losesBytes is a disk that says it has written all, and keeps less, as some network mounts do (restic #1999).
type losesBytes struct{ dir.Disk }

type losingFile struct{ dir.File }

func (d losesBytes) Create(name string) (dir.File, error) {
	f, err := d.Disk.Create(name)
	return losingFile{f}, err
}

func (f losingFile) Write(p []byte) (int, error) {
	if _, err := f.File.Write(p[:len(p)-1]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func TestDiskThatKeepsLess(t *testing.T) {
	disk := newSimDisk()
	s := dir.Over(losesBytes{disk})
	if err := s.Put(t.Context(), "config", object(100, 1)); err == nil || !strings.Contains(err.Error(), "kept 99 of 100 bytes") {
		t.Errorf("got %v", err)
	}
	if got := names(t, s); len(got) != 0 {
		t.Errorf("list: got %v", got)
	}
	if l, err := s.Leftovers(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("it left %v and %v", l, err)
	}
}

// TestTemporariesCarryTheSession looks into tmp/ while a Put is at work, and takes its temporary away.
func TestTemporariesCarryTheSession(t *testing.T) {
	disk := newSimDisk()
	var s *dir.Dir
	var seen []storage.Leftover
	s = dir.Over(failing{disk, func(op string) error {
		if op != "place" {
			return nil
		}
		var err error
		seen, err = s.RemoveLeftovers(context.Background(), func(l storage.Leftover) bool { return l.Session == "5e55" })
		return err
	}})
	err := s.WithSession("5e55").Put(t.Context(), "config", object(100, 1))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a put whose temporary was removed: got %v", err)
	}
	if len(seen) != 1 || seen[0].Session != "5e55" || seen[0].Size != 100 {
		t.Errorf("got %+v", seen)
	}
	if err := s.WithSession("aaaa").Put(t.Context(), "config", object(100, 1)); err != nil {
		t.Errorf("a put of another session: %v", err)
	}
	if err := s.Put(t.Context(), "config", object(100, 2)); err != nil {
		t.Errorf("a put of no session: %v", err)
	}
}

// TestEvictedPut lets a prune remove the temporary file at each step of a Put, as it does if the session was evicted while its program
// was stopped: the Put begins again.
func TestEvictedPut(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"write", "fsync", "close", "stat", "place"} {
		disk := newSimDisk()
		pruner, removed := dir.Over(disk), 0
		s := dir.Over(failing{disk, func(op string) error {
			if op == at && removed == 0 {
				gone, err := pruner.RemoveLeftovers(t.Context(), func(storage.Leftover) bool { return true })
				if removed = len(gone); err != nil {
					t.Error(err)
				}
			}
			return nil
		}})
		data := object(3000, 2)
		if err := s.Put(t.Context(), "data/ab/1", data); err != nil || removed != 1 {
			t.Errorf("%d temporary files were removed at the %s: got %v", removed, at, err)
		}
		if err := wantOneOf(disk.afterCut(keepNothing, nil), "data/ab/1", data); err != nil {
			t.Errorf("after a power cut: %v", err)
		}
	}
}

// TestGivenUpPut ends the context at each operation of a Put: it has no effect or the whole one, and leaves nothing behind.
func TestGivenUpPut(t *testing.T) {
	t.Parallel()
	data := object(9<<20, 1)
	gaveUp := 0
	for at := 1; ; at++ {
		ctx, cancel := context.WithCancel(t.Context())
		ops := 0
		disk := newSimDisk()
		s := dir.Over(failing{disk, func(string) error {
			if ops++; ops == at {
				cancel()
			}
			return nil
		}})
		err := s.Put(ctx, "config", data)
		cancel()
		if ops < at {
			break
		}
		got := names(t, s)
		switch {
		case err == nil && len(got) == 1:
		case errors.Is(err, context.Canceled) && len(got) == 0:
			gaveUp++
		default:
			t.Errorf("ended at operation %d: got %v and the objects %v", at, err, got)
		}
		if l, err := s.Leftovers(t.Context()); err != nil || len(l) != 0 {
			t.Errorf("ended at operation %d: it left %v and %v", at, l, err)
		}
	}
	if gaveUp < 5 {
		t.Errorf("only %d puts gave up", gaveUp)
	}
}

// TestSameObjectAtOnce lets a second client put an object when a first one is about to give it its name. The first one
// must leave it where it is: see TestEqualPutLeavesTheFile.
func TestSameObjectAtOnce(t *testing.T) {
	for what, c := range map[string]struct {
		second  []byte
		renames int
	}{"same bytes": {object(100, 1), 0}, "other bytes": {object(100, 2), 1}} {
		disk, renames := newSimDisk(), 0
		second := dir.Over(disk)
		first := dir.Over(failing{disk, func(op string) error {
			switch op {
			case "place":
				return second.Put(t.Context(), "evictions/1", c.second)
			case "rename":
				renames++
			}
			return nil
		}})
		if err := first.Put(t.Context(), "evictions/1", object(100, 1)); err != nil || renames != c.renames {
			t.Errorf("%s: got %v and %d renames, want %d", what, err, renames, c.renames)
		}
		if err := wantOneOf(disk.afterCut(keepNothing, nil), "evictions/1", object(100, 1)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if l, err := first.Leftovers(t.Context()); err != nil || len(l) != 0 {
			t.Errorf("%s: it left %v and %v", what, l, err)
		}
	}
}
