package backup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// history backs up a tree, and again with one more file in each folder, so that the second snapshot needs the packs of the first for what they
// hold, but not for its folders. It returns the second one as a parent, after lose.
func history(t *testing.T, m *memory.Store, dir string, lose bool) (*repo.Repo, func(*backup.Options)) {
	t.Helper()
	r := create(t, m)
	time.Sleep(raceTime)
	name, rec := must(t, r, nil, dir)
	first := objects(t, m, "data/")
	for _, d := range []string{"new", "sub/new", "sub/deep/new"} {
		if err := os.WriteFile(filepath.Join(dir, d), []byte(d), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	parent := func(o *backup.Options) { o.Parent = &backup.Parent{Name: name, Record: rec, Loader: r} }
	name, rec = must(t, r, parent, dir)
	if lose {
		for pack := range first {
			if err := m.Remove(context.Background(), pack); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := open(m)
	if err != nil {
		t.Fatal(err)
	}
	return r, parent
}

// raceTime is how old a file must be for the next backup to trust that it did not change.
const raceTime = 2100 * time.Millisecond

// needs returns what a snapshot refers to and the repository does not have.
func needs(t *testing.T, r *repo.Repo, rec *snapshot.Record) (missing []string) {
	t.Helper()
	v, err := r.TakeView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	look := func(path string, id blob.ID) {
		if _, ok := v.Index.Lookup(id); !ok && !id.IsZero() {
			missing = append(missing, path)
		}
	}
	err = snapshot.Walk(t.Context(), r, rec.Root, func(path string, n *snapshot.Node, err error) error {
		if err != nil {
			missing = append(missing, path)
			return nil
		}
		for _, x := range n.Xattrs {
			look(path+" "+x.Name, x.Ref)
		}
		for _, e := range n.Content.Elements {
			look(path, e.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return missing
}

// TestLostAttribute loses the value of an attribute of a folder that did not change since: the next backup stores it again.
func TestLostAttribute(t *testing.T) {
	m, dir := memory.New(), tree(t)
	if err := unix.Setxattr(filepath.Join(dir, "sub/deep"), "user.long", []byte(strings.Repeat("long", 800)), 0); err != nil {
		t.Skipf("the file system of the tests keeps no attributes: %v", err)
	}
	r, parent := history(t, m, dir, true)
	_, rec, err := save(r, parent, dir)
	if err != nil {
		t.Fatal(err)
	}
	if missing := needs(t, r, rec); len(missing) > 0 {
		t.Errorf("the snapshot refers to what is gone: %q", missing)
	}
}

// saveAsNobody backs up as a user who owns nothing.
func saveAsNobody(t *testing.T, r *repo.Repo, prepare func(*backup.Options), dir string) *snapshot.Record {
	t.Helper()
	if err := syscall.Seteuid(65534); err != nil { // root may read everything
		t.Skipf("this needs root: %v", err)
	}
	_, rec, err := save(r, prepare, dir)
	if err := errors.Join(err, syscall.Seteuid(0)); err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestCarried makes a file and a folder unreadable. What the last snapshot has stands in their place, unless some of that is gone: a snapshot must
// not refer to it.
func TestCarried(t *testing.T) {
	for _, lost := range []bool{false, true} {
		m, dir := memory.New(), tree(t)
		r, parent := history(t, m, dir, lost)
		for path, mode := range map[string]os.FileMode{"../..": 0o755, "sub/c": 0, "sub/deep": 0} {
			if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
				t.Fatal(err)
			}
		}
		rec := saveAsNobody(t, r, parent, dir)
		if err := os.Chmod(filepath.Join(dir, "sub/deep"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, fileErr := snapshot.Lookup(t.Context(), r, rec.Root, filepath.Join(dir, "sub/c"))
		_, belowErr := snapshot.Lookup(t.Context(), r, rec.Root, filepath.Join(dir, "sub/deep/d"))
		if (fileErr != nil) != lost || (belowErr != nil) != lost {
			t.Errorf("lost %t: file %v, below the folder %v, problems %+v", lost, fileErr, belowErr, rec.Problems)
		}
		if missing := needs(t, r, rec); len(missing) > 0 {
			t.Errorf("lost %t: the snapshot refers to what is gone: %q", lost, missing)
		}
	}
}
