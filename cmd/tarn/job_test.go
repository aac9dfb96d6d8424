package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// evictor is a store in which somebody evicts every session as soon as it stores a snapshot, a number of times.
type evictor struct {
	storage.Storage
	left    atomic.Int32
	session atomic.Value // of string: who began last
	evicted func()       // called after an eviction, if it is not nil
}

func (e *evictor) Put(ctx context.Context, name string, data []byte) error {
	if id, ok := strings.CutPrefix(name, "sessions/"); ok {
		e.session.Store(id)
	}
	if strings.HasPrefix(name, "snapshots/") && e.left.Add(-1) >= 0 {
		id := e.session.Load().(string)
		if err := e.Storage.Put(ctx, "evictions/"+id, []byte("evicted\n")); err != nil {
			return err
		}
		if err := e.Storage.Remove(ctx, "sessions/"+id); err != nil {
			return err
		}
		if e.evicted != nil {
			e.evicted()
		}
	}
	return e.Storage.Put(ctx, name, data)
}

func newJob(t *testing.T, s storage.Storage) *backupJob {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	a := &app{quiet: true}
	a.stderr = stream{Writer: bufio.NewWriter(io.Discard)}
	kdf := seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}
	r, err := repo.Init(t.Context(), s, []byte("secret"), repo.InitOptions{KDF: kdf, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "file"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := backup.Options{Paths: []string{src}, Data: r.DataChunker(), Meta: r.MetaChunker(),
		Record: snapshot.Record{Time: time.Now(), Host: "h", User: "u", Paths: []string{src}}}
	j := &backupJob{app: a, repo: r, options: o}
	j.hooks = &hooks{holdFlags: &holdFlags{modes: snapshotModes{all: source.Off}}, job: j}
	return j
}

// A backup whose session is evicted begins again, and removes the unconfirmed snapshot after the good one is there.
func TestEvicted(t *testing.T) {
	for _, c := range []struct {
		evictions int32
		good      bool
	}{{0, true}, {1, true}, {2, true}, {3, false}} {
		e := &evictor{Storage: memory.New()}
		j := newJob(t, e)
		e.left.Store(c.evictions)
		s, err := j.run(t.Context())
		if good := err == nil; good != c.good {
			t.Fatalf("%d evictions: %v", c.evictions, err)
		}
		if !c.good {
			continue
		}
		names, err := j.repo.SnapshotNames(t.Context())
		if err != nil || len(names) != 1 || names[0] != s.Name {
			t.Errorf("%d evictions: snapshots %v, %v, want %v alone", c.evictions, names, err, s.Name)
		}
		sum, err := check.Run(t.Context(), j.repo, check.Options{ReadData: true}, func(f check.Finding) { t.Errorf("%d evictions: %v", c.evictions, f) })
		if err != nil || sum.Snapshots != 1 {
			t.Errorf("check: %+v, %v", sum, err)
		}
	}
}

// The session of a stream is evicted when its snapshot is stored, and the list of its parts is in a pack that goes to the trash meanwhile: an
// older stream had the same parts. A prune that looked at the snapshots before this one was there removes the pack. Nothing of the stream is missing then.
func TestEvictedStream(t *testing.T) {
	e := &evictor{Storage: memory.New()}
	j := newJob(t, e)
	var parts []byte // more than a node has room for, and each ends where zeros begin
	random := rand.NewChaCha8([32]byte{2})
	for range 40 {
		part := make([]byte, 640<<10)
		random.Read(part[:320<<10])
		parts = append(parts, part...)
	}
	stream := func(name string) (saved, error) {
		j.options.Paths, j.options.Record.Paths = nil, []string{name}
		j.options.Stdin = &backup.Stdin{Name: name, Reader: bytes.NewReader(parts)}
		return j.run(t.Context())
	}
	first, err := stream("/first")
	if err != nil {
		t.Fatal(err)
	}
	lists := metaPacks(t, j.repo)
	e.left.Store(1)
	e.evicted = func() {
		if err := j.repo.PutTrash(t.Context(), lists); err != nil {
			t.Error(err)
		}
	}
	second, err := stream("/second")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.repo.RemoveSnapshot(t.Context(), first.Name); err != nil {
		t.Fatal(err)
	}
	for _, name := range lists {
		if err := j.repo.RemovePack(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := check.Run(t.Context(), j.repo, check.Options{Snapshots: []blob.Name{second.Name}}, func(f check.Finding) {
		if f.Severity == check.Error {
			t.Error(f)
		}
	})
	if err != nil || sum.Snapshots != 1 {
		t.Errorf("check: %+v, %v", sum, err)
	}
}

// metaPacks are the packs that hold nothing but metadata.
func metaPacks(t *testing.T, r *repo.Repo) (names []blob.Name) {
	t.Helper()
	v, err := r.TakeView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for info, rows := range v.Index.Blobs() {
		if !slices.ContainsFunc(rows, func(row index.Entry) bool { return !row.Kind.Meta() }) {
			names = append(names, info.Name)
		}
	}
	if len(names) == 0 {
		t.Fatal("no pack holds metadata alone")
	}
	return names
}

// Snapshots of the way go when the final one is there, unless somebody prunes.
func TestPartials(t *testing.T) {
	for _, purpose := range []repo.Purpose{"", repo.PurposePrune, repo.PurposeBackup} {
		store := memory.New()
		j := newJob(t, store)
		j.options.Record.Partial = true
		partial, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if purpose != "" {
			if _, err := j.repo.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(purpose, "x", "y", "z")}); err != nil {
				t.Fatal(err)
			}
		}
		j.options.Record.Partial = false
		j.options.Parent = &backup.Parent{Name: partial.Name, Record: partial.Record, Loader: j.repo}
		if _, err := j.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := 1
		if purpose == repo.PurposePrune {
			want = 2
		}
		if names, err := j.repo.SnapshotNames(t.Context()); err != nil || len(names) != want {
			t.Errorf("with a session of purpose %q: %d snapshots, %v, want %d", purpose, len(names), err, want)
		}
	}
}

// What is named as the parent and is an unfinished snapshot of something else stays: the backup does not take its place.
func TestPartialsOfOthers(t *testing.T) {
	for name, change := range map[string]func(*snapshot.Record){
		"other paths": func(r *snapshot.Record) { r.Paths = []string{"/elsewhere"} },
		"more paths":  func(r *snapshot.Record) { r.Paths = append(r.Paths, "/elsewhere") },
		"other host":  func(r *snapshot.Record) { r.Host = "other" },
	} {
		j := newJob(t, memory.New())
		mine := j.options.Record
		j.options.Record.Partial = true
		change(&j.options.Record)
		partial, err := j.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		j.options.Record = mine
		j.options.Parent = &backup.Parent{Name: partial.Name, Record: partial.Record, Loader: j.repo}
		if _, err := j.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if names, err := j.repo.SnapshotNames(t.Context()); err != nil || !slices.Contains(names, partial.Name) {
			t.Errorf("%s: snapshots %v, %v, want %v among them", name, names, err, partial.Name)
		}
	}
}

// The context of the reading ends when all is read; packs that are still being uploaded must not end with it.
func TestUploadsOutliveTheReading(t *testing.T) {
	slow := &slowStore{Storage: memory.New(), begun: make(chan struct{})}
	j := newJob(t, slow)
	w, err := j.repo.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "h", "u", "p")})
	if err != nil {
		t.Fatal(err)
	}
	reading, end := context.WithCancel(t.Context())
	lane := sessionStore{w, j}.Lane()
	slow.until = reading
	block := make([]byte, 4<<20)
	random := rand.NewChaCha8([32]byte{1})
	for range 16 { // a pack is less than 64 MiB
		random.Read(block)
		if _, err := lane.Save(reading, blob.Data, block); err != nil {
			t.Fatal(err)
		}
		if slow.putting() {
			break
		}
	}
	end()
	if err := w.Flush(t.Context()); err != nil {
		t.Errorf("an upload ended with the reading: %v", err)
	}
}

// slowStore holds packs back until a context ends.
type slowStore struct {
	storage.Storage
	until context.Context
	begun chan struct{}
	once  atomic.Bool
}

func (s *slowStore) putting() bool {
	select {
	case <-s.begun:
		return true
	default:
		return false
	}
}

func (s *slowStore) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, "data/") {
		if s.once.CompareAndSwap(false, true) {
			close(s.begun)
		}
		<-s.until.Done()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return s.Storage.Put(ctx, name, data)
}
