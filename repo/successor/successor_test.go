package successor_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/repo/successor"
	"github.com/tarn-backup/tarn/snapshot"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(p repo.Purpose) repo.WriterOptions {
	return repo.WriterOptions{Session: repo.NewSession(p, "host", "user", "test")}
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// twoBackups is a repository of which one snapshot of one file was forgotten, after another session began that still may refer to it.
func twoBackups(t *testing.T) (*repo.Repo, *repo.Writer) {
	t.Helper()
	r := must(repo.Init(t.Context(), memory.New(), []byte("p"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Now: time.Unix(1, 0)}))(t)
	first := must(r.NewWriter(t.Context(), options(repo.PurposeBackup)))(t)
	old := must(backup(t, r, first)())(t)
	second := must(r.NewWriter(t.Context(), options(repo.PurposeBackup)))(t)
	if err := r.RemoveSnapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	runPrune(t, r)
	return r, second
}

// backup saves a file. What it returns stores the snapshot.
func backup(t *testing.T, r *repo.Repo, w *repo.Writer) func() (blob.Name, error) {
	t.Helper()
	lane, meta := w.Lane(), r.MetaChunker()
	lists := snapshot.Lists{Saver: lane, Cutter: meta, Max: meta.Params().Max}
	id := must(lane.Save(t.Context(), blob.Data, []byte("hello")))(t)
	tree := lists.NewTreeBuilder()
	n := &snapshot.Node{Name: "file", Type: snapshot.File, Size: 5, Content: snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: 5}}}}
	if err := tree.Add(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	rec := snapshot.Record{Time: time.Unix(2, 0), Host: "host", Paths: []string{"/"}, Session: w.Session(),
		Root: snapshot.Node{Type: snapshot.Dir, Content: must(tree.Finish(t.Context()))(t)}}
	return func() (blob.Name, error) { return w.Commit(t.Context(), rec.Encode()) }
}

func runPrune(t *testing.T, r *repo.Repo) prune.Result {
	t.Helper()
	return must(prune.Run(t.Context(), r, prune.Options{Session: repo.NewSession(repo.PurposePrune, "host", "user", "test"), MaxUnused: prune.Limit{Bounded: true}}))(t)
}

// put makes a successor with a tag, and has read nothing before. meanwhile comes between the view of its session and its snapshot.
func put(t *testing.T, r *repo.Repo, old blob.Name, meanwhile func()) (blob.Name, error) {
	t.Helper()
	return successor.Put(t.Context(), must(r.Fresh())(t), successor.Options{Old: old, Writer: func() repo.WriterOptions { return options(repo.PurposeTag) },
		Record: func(_ context.Context, _ *repo.Writer, rec *snapshot.Record) error {
			rec.Tags = []string{"new"}
			meanwhile()
			return nil
		}})
}

// expect looks at the snapshots and all that is stored.
func expect(t *testing.T, r *repo.Repo, want ...blob.Name) {
	t.Helper()
	if got := must(r.SnapshotNames(t.Context()))(t); len(got) != len(want) || slices.ContainsFunc(want, func(n blob.Name) bool { return !slices.Contains(got, n) }) {
		t.Errorf("snapshots %v, want %v", got, want)
	}
	_, err := check.Run(t.Context(), must(r.Fresh())(t), check.Options{ReadData: true, Workers: 1}, func(f check.Finding) {
		if f.Severity == check.Error {
			t.Error(f)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOldIsInTrash makes a successor of a snapshot all of which is in trash. Before it is stored a prune takes that trash.
func TestOldIsInTrash(t *testing.T) {
	r, w := twoBackups(t)
	old := must(backup(t, r, w)())(t)
	var removed int
	name := must(put(t, r, old, func() { removed = runPrune(t, r).Removed.Packs }))(t)
	if removed == 0 {
		t.Error("the prune removed nothing")
	}
	expect(t, r, old, name)
}

// TestOldIsForgotten does the same, and the old snapshot is forgotten meanwhile: what the successor needs is gone before it is stored, or just there still.
func TestOldIsForgotten(t *testing.T) {
	for what, gone := range map[string]bool{"before": true, "after": false} {
		t.Run(what, func(t *testing.T) {
			r, w := twoBackups(t)
			old := must(backup(t, r, w)())(t)
			forget := func() {
				if err := r.RemoveSnapshot(t.Context(), old); err != nil {
					t.Fatal(err)
				}
				if gone {
					runPrune(t, r)
				}
			}
			name, err := put(t, r, old, forget)
			if gone {
				if !errors.Is(err, repo.ErrNoBlob) {
					t.Errorf("got %v", err)
				}
				expect(t, r)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			runPrune(t, r)
			expect(t, r, name)
		})
	}
}

// TestOldIsGone makes a successor of a snapshot that was forgotten before the session began.
func TestOldIsGone(t *testing.T) {
	r, w := twoBackups(t)
	old := must(backup(t, r, w)())(t)
	if err := r.RemoveSnapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, r, old, func() {}); !errors.Is(err, successor.ErrGone) {
		t.Errorf("got %v", err)
	}
	expect(t, r)
}

// TestOldIsUnconfirmed wants no confirmed successor of a snapshot that lacks something because its session was evicted. No prune minds it.
func TestOldIsUnconfirmed(t *testing.T) {
	r, w := twoBackups(t)
	store := backup(t, r, w)
	if err := r.Evict(t.Context(), w.Session()); err != nil {
		t.Fatal(err)
	}
	if runPrune(t, r).Removed.Packs == 0 {
		t.Error("the prune removed nothing")
	}
	old, err := store()
	if !errors.Is(err, repo.ErrEvicted) {
		t.Fatal(err)
	}
	if _, err := put(t, r, old, func() {}); !errors.Is(err, repo.ErrNoBlob) {
		t.Errorf("got %v", err)
	}
	expect(t, r, old)
	runPrune(t, r)
}
