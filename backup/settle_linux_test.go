package backup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
	"golang.org/x/sys/unix"
)

// TestMovedDuringTheWalk moves a file from a folder that is still to be listed to one that was: in neither listing it would be lost.
func TestMovedDuringTheWalk(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	once := false
	_, rec := must(t, r, func(o *backup.Options) {
		o.Exclude = filterFunc(func(path string, isDir bool) bool {
			if path == filepath.Join(dir, "sub/e") && !once { // sub is being listed, z comes later
				once = true
				if err := os.Rename(filepath.Join(dir, "z/last"), filepath.Join(dir, "sub/deep/moved")); err != nil {
					t.Error(err)
				}
			}
			return false
		})
	}, dir)
	if !once {
		t.Fatal("the walk did not come to sub/e")
	}
	if !rec.Settled {
		t.Error("the last look still found changes")
	}
	restored(t, r, rec, dir, dir)
}

// TestMovedAfterItWasCaptured moves a file that was captured: it must be there once, under its new name.
func TestMovedAfterItWasCaptured(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	once := false
	_, rec := must(t, r, func(o *backup.Options) {
		o.Exclude = filterFunc(func(path string, isDir bool) bool {
			if path == filepath.Join(dir, "z") && !once {
				once = true
				if err := os.Rename(filepath.Join(dir, "sub/deep/d"), filepath.Join(dir, "sub/moved")); err != nil {
					t.Error(err)
				}
			}
			return false
		})
	}, dir)
	if rec.Stats.Files != 7 {
		t.Errorf("%d files, want 7", rec.Stats.Files)
	}
	restored(t, r, rec, dir, dir)
}

// TestMovedIsCountedOnce moves files that were compared with the parent snapshot: what was counted of their old names is taken back.
func TestMovedIsCountedOnce(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	name, parent := must(t, r, nil, dir)
	if err := os.WriteFile(filepath.Join(dir, "sub/c"), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub/new"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	stirred, once := false, false
	_, rec := must(t, r, func(o *backup.Options) {
		o.Parent = &backup.Parent{Name: name, Record: parent, Loader: r}
		o.Exclude = filterFunc(func(path string, isDir bool) bool {
			var err error
			switch {
			case path == filepath.Join(dir, "z") && !stirred:
				stirred, err = true, os.Mkdir(filepath.Join(dir, "sub/stir"), 0o755) // so that sub is listed again, when all is captured
			case path == filepath.Join(dir, "sub/stir") && !once:
				once = true
				for _, moved := range []string{"c", "new", "deep/d"} {
					err = errors.Join(err, os.Rename(filepath.Join(dir, "sub", moved), filepath.Join(dir, "sub/deep", filepath.Base(moved)+".moved")))
				}
			}
			if err != nil {
				t.Error(err)
			}
			return false
		})
	}, dir)
	if !once {
		t.Fatal("nothing was moved")
	}
	if s := rec.Stats; s.Files != 8 || s.New != 3 || s.Changed != 0 || s.Unchanged != 5 {
		t.Errorf("%d files, want 8; %d new, want 3; %d changed, want 0; %d unchanged, want 5", s.Files, s.New, s.Changed, s.Unchanged)
	}
	restored(t, r, rec, dir, dir)
}

// TestCameAndWentOn has the parent snapshot know a path that the walk does not find: what is there comes in a round of the last look, and is not there
// any more in the next. It was counted as new, whatever the parent snapshot has.
func TestCameAndWentOn(t *testing.T) {
	for _, moved := range []string{"sub/c", "sub/deep"} {
		t.Run(moved, func(t *testing.T) {
			r, dir := create(t, memory.New()), tree(t)
			path, elsewhere := filepath.Join(dir, moved), filepath.Join(t.TempDir(), "elsewhere")
			if err := os.Mkdir(filepath.Join(dir, "then"), 0o755); err != nil {
				t.Fatal(err)
			}
			name, parent := must(t, r, nil, dir)
			if err := os.Rename(path, elsewhere); err != nil {
				t.Fatal(err)
			}
			came, went := false, false
			_, rec := must(t, r, func(o *backup.Options) {
				o.Parent = &backup.Parent{Name: name, Record: parent, Loader: r}
				o.Exclude = filterFunc(func(at string, isDir bool) bool {
					var err error
					switch {
					case at == filepath.Join(dir, "z") && !came: // sub and then are listed, and will be listed again
						came, err = true, errors.Join(os.Rename(elsewhere, path), os.Mkdir(filepath.Join(dir, "then/stir"), 0o755))
					case at == filepath.Join(dir, "then/stir") && !went:
						went, err = true, os.Rename(path, filepath.Join(dir, "then/moved"))
					}
					if err != nil {
						t.Error(err)
					}
					return false
				})
			}, dir)
			if !went {
				t.Fatal("nothing was moved")
			}
			if s := rec.Stats; s.Files != 7 || s.New != 1 || s.Changed != 0 || s.Unchanged != 6 {
				t.Errorf("%d files, want 7; %d new, want 1; %d changed, want 0; %d unchanged, want 6", s.Files, s.New, s.Changed, s.Unchanged)
			}
			restored(t, r, rec, dir, dir)
		})
	}
}

// TestMovedFromListedToUnlisted moves a file that was captured to a folder that is still to be listed: the walk meets it twice, and it must be
// there once.
func TestMovedFromListedToUnlisted(t *testing.T) {
	r, dir := create(t, memory.New()), tree(t)
	once := false
	_, rec := must(t, r, func(o *backup.Options) {
		o.Exclude = filterFunc(func(path string, isDir bool) bool {
			if path == filepath.Join(dir, "z") && !once {
				once = true
				if err := os.Rename(filepath.Join(dir, "sub/deep/d"), filepath.Join(dir, "z/moved")); err != nil {
					t.Error(err)
				}
			}
			return false
		})
	}, dir)
	if !once || rec.Stats.Files != 7 || rec.Capture.Whole != 7 || !rec.Settled {
		t.Errorf("%d files, want 7; capture %+v, settled %v", rec.Stats.Files, rec.Capture, rec.Settled)
	}
	restored(t, r, rec, dir, dir)
}

// during backs up dir, and calls change once: when the walk comes to z, or, if it is to be late, when all is captured and the last look at the folders
// has begun.
func during(t *testing.T, dir string, late bool, change func() error) (rec *snapshot.Record, has func(path string) bool) {
	t.Helper()
	r := create(t, memory.New())
	came, done := false, false
	_, rec = must(t, r, func(o *backup.Options) {
		o.Exclude = filterFunc(func(path string, isDir bool) bool {
			var err error
			switch {
			case path == filepath.Join(dir, "z") && !came && late:
				came, err = true, os.Mkdir(filepath.Join(dir, "sub/new"), 0o755) // so that sub is listed again
			case path == filepath.Join(dir, "z") && !came, path == filepath.Join(dir, "sub/new") && !done:
				came, done, err = true, true, change()
			}
			if err != nil {
				t.Error(err)
			}
			return false
		})
	}, dir)
	if !done {
		t.Fatal("nothing was changed")
	}
	return rec, func(path string) bool {
		_, err := snapshot.Lookup(t.Context(), r, rec.Root, filepath.Join(dir, path))
		return err == nil
	}
}

// TestFolderThatCantBeListedAgain lets no folder be opened any more when one has changed: what came to it is missing, and the snapshot says so.
func TestFolderThatCantBeListedAgain(t *testing.T) {
	dir := tree(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
	rec, has := during(t, dir, true, func() error {
		err := os.WriteFile(filepath.Join(dir, "sub/later"), []byte("later"), 0o644)
		return errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}))
	})
	if has("sub/later") || rec.Settled {
		t.Errorf("the file that came is there: %v; settled %v", has("sub/later"), rec.Settled)
	}
}

// TestFolderMoved moves a folder that was captured. If it is the same one at its new place, with all that it had, the snapshot has it there alone.
func TestFolderMoved(t *testing.T) {
	for _, k := range []struct {
		name        string
		late        bool
		change      func(dir string) error
		files       uint64
		has, hasNot string
	}{
		{"to one that is still to be listed", false, func(dir string) error {
			return os.Rename(filepath.Join(dir, "sub/deep"), filepath.Join(dir, "z/moved"))
		}, 7, "z/moved/d", "sub/deep"},
		{"to one that was listed", false, func(dir string) error {
			return os.Rename(filepath.Join(dir, "sub/deep"), filepath.Join(dir, "sub/after"))
		}, 7, "sub/after/d", "sub/deep"},
		{"during the last look", true, func(dir string) error {
			return os.Rename(filepath.Join(dir, "sub/deep"), filepath.Join(dir, "sub/after"))
		}, 7, "sub/after/d", "sub/deep"},
		{"with the folder that it is in", false, func(dir string) error {
			return os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "z/sub"))
		}, 7, "z/sub/deep/d", "sub"},
		{"and got more", false, func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "sub/deep"), filepath.Join(dir, "z/moved")),
				os.WriteFile(filepath.Join(dir, "z/moved/more"), []byte("more"), 0o644))
		}, 8, "z/moved/more", "sub/deep"},
		{"and lost what was captured", true, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "sub/deep/d")), os.Rename(filepath.Join(dir, "sub/deep"), filepath.Join(dir, "z/moved")))
		}, 7, "sub/deep/d", "z/moved/d"},
		{"removed, and another one made", true, func(dir string) error {
			err := errors.Join(os.RemoveAll(filepath.Join(dir, "sub/deep")), os.Mkdir(filepath.Join(dir, "z/other"), 0o755))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "z/other/d"), []byte("other"), 0o644))
		}, 8, "sub/deep/d", "nothing"},
	} {
		t.Run(k.name, func(t *testing.T) {
			dir := tree(t)
			rec, has := during(t, dir, k.late, func() error { return k.change(dir) })
			if !has(k.has) || has(k.hasNot) || rec.Stats.Files != k.files || rec.Capture.Whole != k.files {
				t.Errorf("has %s: %v, %s: %v; %d files, want %d; capture %+v", k.has, has(k.has), k.hasNot, has(k.hasNot), rec.Stats.Files, k.files, rec.Capture)
			}
			if !rec.Settled {
				t.Error("the last look still found changes")
			}
		})
	}
}

// TestReusedInode: numbers of inodes are given out again, so a folder with the number of one that was looked at is the same only if it was made before.
func TestReusedInode(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil { // which changes the folder
		t.Fatal(err)
	}
	birth := source.Born(dir)
	if birth.Time == (snapshot.Time{}) {
		t.Skip("this file system does not keep when an inode was made")
	}
	for _, k := range []struct {
		name          string
		ns            int64 // how long after the folder was made the one that was looked at had been changed
		young         bool
		device, inode uint64
		want          bool
	}{
		{"the same", 1, true, birth.Device, birth.Inode, true},
		{"one that was removed before", -1, false, birth.Device, birth.Inode, false},
		{"one that was new when it was looked at", 0, true, birth.Device, birth.Inode, false}, // one tick may have seen two of them
		{"one that was looked at some ticks after it was made", 0, false, birth.Device, birth.Inode, true},
		{"another one", 1, false, birth.Device, birth.Inode + 1, false},
		{"one of another file system", 1, false, birth.Device + 1, birth.Inode, false},
	} {
		at := birth.Time.Time().Add(time.Duration(k.ns))
		st := source.Stat{Device: k.device, Inode: k.inode, ChangeTime: snapshot.Time{Sec: at.Unix(), Nsec: uint32(at.Nanosecond())}}
		if got := backup.Sees(&st, k.young, dir); got != k.want {
			t.Errorf("%s: %v, want %v", k.name, got, k.want)
		}
	}
	if st := (source.Stat{Device: birth.Device, Inode: birth.Inode}); backup.Sees(&st, false, filepath.Join(dir, "nothing")) {
		t.Error("a path with nothing there is called the same folder")
	}
}

// TestFoldersThatMove moves folders to and fro all the time while backups are made.
func TestFoldersThatMove(t *testing.T) {
	const folders, runs = 12, 10
	dir := t.TempDir()
	path := func(side, i int) string { return filepath.Join(dir, [...]string{"here", "there"}[side], fmt.Sprint(i)) }
	for i := range folders {
		if err := errors.Join(os.MkdirAll(filepath.Join(path(i%2, i), "sub"), 0o755), os.MkdirAll(filepath.Dir(path(1-i%2, i)), 0o755),
			os.WriteFile(filepath.Join(path(i%2, i), "sub", "file"), []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 400 { // so that the walk takes its time
		if err := os.WriteFile(filepath.Join(dir, "here", fmt.Sprintf("z%d", i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := create(t, memory.New())
	lost, doubled := 0, 0
	for range runs {
		stop := make(chan struct{})
		var mover sync.WaitGroup
		mover.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				i := n % folders
				if err := os.Rename(path(0, i), path(1, i)); errors.Is(err, fs.ErrNotExist) {
					err = os.Rename(path(1, i), path(0, i))
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
		_, rec := must(t, r, nil, dir)
		close(stop)
		mover.Wait()
		for i := range folders {
			found := 0
			for side := range 2 {
				if _, err := snapshot.Lookup(t.Context(), r, rec.Root, filepath.Join(path(side, i), "sub", "file")); err == nil {
					found++
				}
			}
			if found == 0 {
				lost++
			} else if found == 2 {
				doubled++
			}
		}
	}
	t.Logf("of %d folders that moved, %d lost, %d doubled", folders*runs, lost, doubled)
	if doubled > 0 {
		t.Errorf("%d folders are in the snapshot twice", doubled)
	}
}
