package backup_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// firstSave is a store that calls change before the first data is saved: all of a small folder was listed then, and nothing of it was read but
// for its first file.
type firstSave struct {
	store
	once   *sync.Once
	change func()
}

type firstSaveLane struct {
	backup.Lane
	store *firstSave
}

func (s *firstSave) Lane() backup.Lane { return &firstSaveLane{s.store.Lane(), s} }

func (l *firstSaveLane) Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	if kind == blob.Data {
		l.store.once.Do(l.store.change)
	}
	return l.Lane.Save(ctx, kind, plain)
}

// whenListed backs up dir, and calls change when all of it was listed.
func whenListed(t *testing.T, r *repo.Repo, dir string, change func()) *snapshot.Record {
	t.Helper()
	ctx := context.Background()
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	o := backup.Options{Paths: []string{dir}, Data: r.DataChunker(), Meta: r.MetaChunker(), Capture: live.Options{Settle: 10 * time.Second}, Readers: 1,
		Record: snapshot.Record{Time: time.Now(), Host: "host", Session: w.Session(), Paths: []string{dir}}}
	rec, err := backup.Run(ctx, &firstSave{store{w}, new(sync.Once), change}, o, new(backup.Progress))
	if err == nil {
		_, err = w.Commit(ctx, rec.Encode())
	}
	if err != nil {
		t.Fatal(err)
	}
	sound(t, r)
	return rec
}

// linkOf is the link key of a path.
func linkOf(t *testing.T, r *repo.Repo, rec *snapshot.Record, path string) snapshot.LinkKey {
	t.Helper()
	n, err := snapshot.Lookup(t.Context(), r, rec.Root, path)
	if err != nil {
		t.Fatal(err)
	}
	return n.Link
}

// TestLinkReplaced saves one of two names of a file as an editor does, by renaming a new file, between the look at it and its capture. The name is
// that of another file now.
func TestLinkReplaced(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	one, two := filepath.Join(dir, "sub/one"), filepath.Join(dir, "z/two")
	if err := os.WriteFile(one, []byte("as it was"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(one, two); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	rec := whenListed(t, r, dir, func() {
		if err := os.WriteFile(fresh, []byte("is now so"), 0o644); err != nil {
			t.Error(err)
		}
		if err := os.Rename(fresh, one); err != nil {
			t.Error(err)
		}
	})
	if key := linkOf(t, r, rec, one); !key.IsZero() {
		t.Errorf("the new file has the link key %x of the old one", key)
	}
	restored(t, r, rec, dir, dir)
}

// TestLinkMoved moves one of two names of a file to a folder that was listed: it stays a name of that file. A third one, which is made meanwhile,
// is another.
func TestLinkMoved(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	one, two := filepath.Join(dir, "sub/one"), filepath.Join(dir, "z/two")
	if err := os.WriteFile(one, []byte("several names"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(one, two); err != nil {
		t.Fatal(err)
	}
	moved, third := filepath.Join(dir, "sub/moved"), filepath.Join(dir, "sub/deep/third")
	rec := whenListed(t, r, dir, func() {
		if err := os.Rename(two, moved); err != nil {
			t.Error(err)
		}
		if err := os.Link(one, third); err != nil {
			t.Error(err)
		}
	})
	want := linkOf(t, r, rec, one)
	for _, path := range []string{moved, third} {
		if got := linkOf(t, r, rec, path); got != want {
			t.Errorf("%s has the link key %x, want %x", path, got, want)
		}
	}
}
