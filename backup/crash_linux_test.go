package backup_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// TestOrder proves the order of what is put: session, packs, index, snapshot, and the session's end last.
func TestOrder(t *testing.T) {
	s := faulty.Wrap(memory.New(), faulty.Options{})
	r, dir := create(t, s), tree(t)
	before := s.Count(faulty.Any)
	if _, _, err := save(r, nil, dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range faulty.Shape(s.Ops()[before:]) {
		if !strings.HasPrefix(op, "get ") {
			got = append(got, op)
		}
	}
	want := []string{"put sessions/…", "list trash/…", "list data/…", "list index/…", "list settings/…", "put data/…", "put index/…", "put snapshots/…",
		"list sessions/…", "list evictions/…", "remove sessions/…"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("operations\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestEveryOperationFails lets the nth operation of a backup fail, for each n, in all ways: there is never success with something
// missing, and the next backup succeeds.
func TestEveryOperationFails(t *testing.T) {
	dir := tree(t)
	total := 0
	for _, effect := range []faulty.Effect{faulty.Nothing, faulty.Torn, faulty.Done} {
		for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
			for n := 1; ; n++ {
				m := memory.New()
				create(t, m)
				s := faulty.Wrap(m, faulty.Options{Faults: []faulty.Fault{{Nth: n, Effect: effect, Err: errno}}})
				rec, err := attempt(s, dir)
				if s.Count(faulty.Any) < n {
					break
				}
				total++
				r, openErr := open(m)
				if openErr != nil {
					t.Fatalf("operation %d, %v: open afterwards: %v", n, errno, openErr)
				}
				if err == nil {
					restored(t, r, rec, dir, dir)
				}
				again, next, err := save(r, nil, dir)
				if err != nil {
					t.Fatalf("operation %d, %v: the next backup: %v", n, errno, err)
				}
				walkAll(t, r, again, next)
			}
		}
	}
	t.Logf("%d operations failed", total)
}

func attempt(s storage.Storage, dir string) (*snapshot.Record, error) {
	r, err := open(s)
	if err != nil {
		return nil, err
	}
	_, rec, err := save(r, nil, dir)
	return rec, err
}

// walkAll loads every blob of a snapshot.
func walkAll(t testing.TB, r *repo.Repo, name blob.Name, rec *snapshot.Record) {
	t.Helper()
	ctx := context.Background()
	err := snapshot.Walk(ctx, r, rec.Root, func(path string, n *snapshot.Node, err error) error {
		if err != nil || n.Type != snapshot.File {
			return err
		}
		for e, err := range snapshot.Elements(ctx, r, n.Content) {
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if !e.IsZeros() {
				if _, err := r.Load(ctx, blob.Data, e.ID); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("snapshot %s: %v", name.Short(), err)
	}
}

// TestPowerCuts cuts at every stage of every operation of two backups, and keeps nothing, all, or seeded parts of what was not
// durable. Every snapshot that is there then is complete, and one whose Commit returned is there.
func TestPowerCuts(t *testing.T) {
	dir := tree(t)
	seeds := 4
	if os.Getenv("TARN_SOAK") != "" {
		seeds = 64
	}
	cuts, states := 0, 0
	committed := map[blob.Name]bool{}
	var s *crash.Store
	active := false
	look := func(step crash.Step) {
		if !active {
			return
		}
		cuts++
		for i := range seeds + 2 {
			mode := crash.KeepSome
			if i < 2 {
				mode = []crash.Keep{crash.KeepNothing, crash.KeepEverything}[i]
			}
			states++
			afterCut(t, s.CrashClone(rand.New(rand.NewPCG(uint64(cuts), uint64(i))), mode), committed)
		}
	}
	s = crash.New(crash.Options{Step: look})
	r := create(t, s)
	active = true
	for range 2 {
		name, _, err := save(r, nil, dir)
		if err != nil {
			t.Fatal(err)
		}
		committed[name] = true
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte(name.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts, %d disk states", cuts, states)
	if cuts < 20 {
		t.Errorf("only %d cuts", cuts)
	}
}

func afterCut(t *testing.T, s storage.Storage, committed map[blob.Name]bool) {
	t.Helper()
	ctx := context.Background()
	r, err := open(s)
	if err != nil {
		t.Fatalf("open after a cut: %v", err)
	}
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[blob.Name]bool{}
	for _, name := range names {
		found[name] = true
		body, err := r.LoadSnapshot(ctx, name)
		if err != nil {
			t.Fatalf("after a cut: %v", err)
		}
		rec, err := snapshot.DecodeRecord(body)
		if err != nil {
			t.Fatal(err)
		}
		walkAll(t, r, name, rec)
	}
	for name := range committed {
		if !found[name] {
			t.Errorf("snapshot %s was committed and is gone after a cut", name.Short())
		}
	}
}

// TestEvicted evicts the session just before the commit: there must be no success.
func TestEvicted(t *testing.T) {
	m := memory.New()
	s := faulty.Wrap(m, faulty.Options{Before: func(ctx context.Context, op faulty.Op) error {
		if op.Method != faulty.Put || !strings.HasPrefix(op.Name, "snapshots/") {
			return nil
		}
		return m.List(ctx, "sessions/", func(name string, size int64) error {
			id := strings.TrimPrefix(name, "sessions/")
			return errors.Join(m.Put(ctx, "evictions/"+id, []byte("evicted")), m.Remove(ctx, name))
		})
	}})
	r := create(t, s)
	if _, _, err := save(r, nil, tree(t)); !errors.Is(err, repo.ErrEvicted) {
		t.Errorf("error %v, want ErrEvicted", err)
	}
}

// TestInterrupted loses a backup after some packs: the next one does not store again what these hold.
func TestInterrupted(t *testing.T) {
	m, dir := memory.New(), tree(t)
	time.Sleep(2100 * time.Millisecond) // what the scan record has of a file is another when it is no longer young
	create(t, m)
	s := faulty.Wrap(m, faulty.Options{Faults: []faulty.Fault{{Method: faulty.Put, Prefix: "index/", Times: faulty.Forever, Err: syscall.EIO}}})
	if _, err := attempt(s, dir); !errors.Is(err, syscall.EIO) {
		t.Fatalf("error %v, want EIO", err)
	}
	r, err := open(m)
	if err != nil {
		t.Fatal(err)
	}
	_, rec := must(t, r, nil, dir)
	if rec.Stats.Added != 0 {
		t.Errorf("%d bytes were stored again", rec.Stats.Added)
	}
	restored(t, r, rec, dir, dir)
}
