package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/filter"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// quietApp is a program that says nothing.
func quietApp() *app {
	a := &app{quiet: true}
	a.stdout = stream{Writer: bufio.NewWriter(io.Discard)}
	a.stderr = stream{Writer: bufio.NewWriter(io.Discard)}
	return a
}

func openStore(t *testing.T, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Open(t.Context(), s, func() ([]byte, error) { return []byte("secret"), nil }, repo.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// texts are the contents of all files of all snapshots that can be read, each "path=content".
func texts(t *testing.T, r *repo.Repo) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	names, err := r.SnapshotNames(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s, err := loadSnapshot(t.Context(), r, name)
		if errors.Is(err, storage.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		err = snapshot.Walk(t.Context(), r, s.Record.Root, func(path string, n *snapshot.Node, err error) error {
			if err != nil || n.Type != snapshot.File {
				return err
			}
			text := ""
			for e, err := range snapshot.Elements(t.Context(), r, n.Content) {
				if err != nil {
					return err
				}
				data, err := r.Load(t.Context(), blob.Data, e.ID)
				if err != nil {
					return err
				}
				text += string(data)
			}
			found[path[strings.LastIndexByte(path, '/')+1:]+"="+text] = true
			return nil
		})
		if err != nil {
			t.Errorf("snapshot %s: %v", name.Short(), err)
		}
	}
	return found
}

// strike is what happens at one operation.
type strike struct {
	at     int
	effect faulty.Effect
	err    error // nil: everything ends there
}

// struckStore strikes at the nth operation that changes the storage, counted from now on.
type struckStore struct {
	*faulty.Store
	mu    sync.Mutex // guards what follows
	s     strike
	count int
}

func newStruckStore(under storage.Storage, s strike) *struckStore {
	k := &struckStore{s: s}
	k.Store = faulty.Wrap(under, faulty.Options{Before: k.before, After: k.after})
	return k
}

func (k *struckStore) before(_ context.Context, op faulty.Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if op.Method == faulty.Put || op.Method == faulty.Remove {
		if k.s.err != nil || k.count < k.s.at {
			k.count++
		}
		if k.count == k.s.at && k.s.err != nil {
			return k.s.err
		}
	}
	if k.s.err == nil && k.count >= k.s.at && k.s.effect == faulty.Nothing {
		return syscall.EIO
	}
	return nil
}

func (k *struckStore) after(_ context.Context, op faulty.Op) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count >= k.s.at && k.s.effect == faulty.Done {
		k.s.effect = faulty.Nothing
	}
}

func (k *struckStore) struck() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count >= k.s.at
}

// strikes goes through all operations of a command: killed before and after each, and each failing with several errors. run is the command; after
// it sound looks at what is in storage.
func strikes(t *testing.T, run func(s storage.Storage, under *memory.Store) error, start *memory.Store, sound func(at string, under *memory.Store, err error)) {
	t.Helper()
	states := 0
	for _, s := range []strike{{effect: faulty.Nothing}, {effect: faulty.Done}, {err: syscall.EIO}, {err: storage.ErrFull}, {err: syscall.EDQUOT}, {err: io.ErrShortWrite}} {
		for s.at = 1; ; s.at++ {
			under := start.Clone()
			k := newStruckStore(under, s)
			err := run(k, under)
			if !k.struck() {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			states++
			sound(fmt.Sprintf("operation %d, %v %v", s.at, s.effect, s.err), under, err)
		}
	}
	t.Logf("%d states", states)
	if states < 20 {
		t.Errorf("only %d states", states)
	}
}

// wholeStore is a repository with one snapshot of two files.
func wholeStore(t *testing.T) (*memory.Store, saved) {
	t.Helper()
	s := memory.New()
	j := newJob(t, s)
	j.options.Record.Tags = []string{"old"}
	first, err := j.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, first
}

// noErrors expects that a check finds nothing but warnings.
func noErrors(t *testing.T, at string, r *repo.Repo) {
	t.Helper()
	_, err := check.Run(t.Context(), r, check.Options{ReadData: true, Workers: 1}, func(f check.Finding) {
		if f.Severity == check.Error {
			t.Errorf("%s: %v", at, f)
		}
	})
	if err != nil {
		t.Errorf("%s: check: %v", at, err)
	}
}

// TestTagAnywhere ends or fails tag at every operation: the file is always in a snapshot, and exit 0 means that the new tags are there.
func TestTagAnywhere(t *testing.T) {
	start, first := wholeStore(t)
	strikes(t, func(s storage.Storage, under *memory.Store) error {
		return quietApp().replaceSnapshot(t.Context(), openStore(t, s), first.Name, replaceOld, retag(first.Name, []string{"new"}))
	}, start, func(at string, under *memory.Store, err error) {
		r := openStore(t, under)
		if got := texts(t, r); !got["file=hello"] {
			t.Errorf("%s: the file is in no snapshot", at)
		}
		noErrors(t, at, r)
		list, lerr := quietApp().loadSnapshots(t.Context(), r, criteria{tags: []string{"new"}})
		if lerr != nil || err == nil && len(list) != 1 {
			t.Errorf("%s: %d new snapshots, %v", at, len(list), lerr)
		}
	})
}

// TestRewriteAnywhere ends or fails rewrite at every operation.
func TestRewriteAnywhere(t *testing.T) {
	start, first := wholeStore(t)
	rules, err := filter.Parse([]string{"nothing-of-that-name", "*.none"}, filter.Exact)
	if err != nil {
		t.Fatal(err)
	}
	strikes(t, func(s storage.Storage, under *memory.Store) error {
		r := openStore(t, s)
		return quietApp().replaceSnapshot(t.Context(), r, first.Name, replaceOld, func(ctx context.Context, w *repo.Writer, rec *snapshot.Record) error {
			p := &purge{app: quietApp(), rules: rules, meta: r.MetaChunker()}
			without, err := p.record(ctx, r, w.Lane(), first)
			if err == nil {
				*rec = *without
			}
			return err
		})
	}, start, func(at string, under *memory.Store, err error) {
		r := openStore(t, under)
		if got := texts(t, r); !got["file=hello"] {
			t.Errorf("%s: the file is in no snapshot", at)
		}
		noErrors(t, at, r)
	})
}

// TestCopyAnywhere ends or fails copy at every operation, and then runs it again to its end.
func TestCopyAnywhere(t *testing.T) {
	source, first := wholeStore(t)
	from := openStore(t, source)
	target := memory.New()
	kdf := seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}
	if _, err := repo.Init(t.Context(), target, []byte("secret"), repo.InitOptions{KDF: kdf, Now: time.Now(), CutLike: from}); err != nil {
		t.Fatal(err)
	}
	run := func(s storage.Storage) error {
		j := &copyJob{app: quietApp(), from: from, to: openStore(t, s), here: map[blob.Name]bool{}, known: map[blob.Name]blob.Name{}}
		list, err := j.loadSnapshots(t.Context(), j.to, criteria{partial: true})
		if err != nil {
			return err
		}
		for _, have := range list {
			j.known[have.Record.Origin.Name] = have.Name
		}
		_, err = j.copy(t.Context(), first)
		return err
	}
	strikes(t, func(s storage.Storage, under *memory.Store) error { return run(s) }, target, func(at string, under *memory.Store, err error) {
		r := openStore(t, under)
		noErrors(t, at, r)
		if got := texts(t, r); err == nil && !got["file=hello"] {
			t.Errorf("%s: success, and the file is not there", at)
		}
		if err := run(under); err != nil {
			t.Errorf("%s: again: %v", at, err)
		}
		r = openStore(t, under)
		if got := texts(t, r); !got["file=hello"] || len(got) != 1 {
			t.Errorf("%s: again: %v", at, slices.Collect(maps.Keys(got)))
		}
		noErrors(t, at+", again", r)
	})
}

// TestEvictedSuccessor has the session of a tag evicted when its snapshot is stored: it begins again, and one snapshot is left.
func TestEvictedSuccessor(t *testing.T) {
	start, first := wholeStore(t)
	e := &evictor{Storage: start}
	e.left.Store(2)
	r := openStore(t, e)
	if err := quietApp().replaceSnapshot(t.Context(), r, first.Name, replaceOld, retag(first.Name, []string{"new"})); err != nil {
		t.Fatal(err)
	}
	list, err := quietApp().loadSnapshots(t.Context(), r, criteria{})
	if err != nil || len(list) != 1 || list[0].Record.Tags[0] != "new" {
		t.Errorf("%v, %v", list, err)
	}
}

// TestTooManyTags asks of a successor what is asked of a backup: that there is room for what the user gave.
func TestTooManyTags(t *testing.T) {
	start, first := wholeStore(t)
	r := openStore(t, start)
	err := quietApp().replaceSnapshot(t.Context(), r, first.Name, replaceOld, retag(first.Name, []string{strings.Repeat("x", snapshot.GivenSizeMax)}))
	if err == nil || !strings.Contains(err.Error(), "1 tags") {
		t.Errorf("got %v", err)
	}
	names, err := r.SnapshotNames(t.Context())
	if err != nil || len(names) != 1 || names[0] != first.Name {
		t.Errorf("left: %v, %v", names, err)
	}
	if sessions, err := r.SessionIDs(t.Context()); err != nil || len(sessions) != 0 {
		t.Errorf("sessions: %v, %v", sessions, err)
	}
}

// TestSuccessorWhileSomebodyPrunes leaves the old snapshot: a list that is just being made might have neither.
func TestSuccessorWhileSomebodyPrunes(t *testing.T) {
	start, first := wholeStore(t)
	r := openStore(t, start)
	if _, err := r.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposePrune, "x", "y", "z")}); err != nil {
		t.Fatal(err)
	}
	if err := quietApp().replaceSnapshot(t.Context(), r, first.Name, replaceOld, retag(first.Name, []string{"new"})); err != nil {
		t.Fatal(err)
	}
	if names, err := r.SnapshotNames(t.Context()); err != nil || len(names) != 2 {
		t.Errorf("%d snapshots, %v", len(names), err)
	}
}
