package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// Symlinks in the target are replaced, never followed.
func TestSymlinksInTarget(t *testing.T) {
	m, outside := newMemory(), tempDir(t)
	write(t, "precious", outside, "file")
	before := describe(t, outside)
	root := m.dir(t, "", m.dir(t, "folder", m.file(t, "file", "restored")), m.file(t, "link", "restored"), m.file(t, "z", ""))
	for _, mode := range []restore.Overwrite{restore.OverwriteAlways, restore.OverwriteIfChanged, restore.OverwriteNever} {
		target := tempDir(t)
		must(t, os.Symlink(outside, filepath.Join(target, "folder")))
		must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(target, "link")))
		must(t, os.Symlink(outside, filepath.Join(target, "extra")))
		run(t, m, root, target, restore.Options{Overwrite: mode, Delete: true, Compare: restore.CompareContent})
		if d := diff(before, describe(t, outside)); d != "" {
			t.Errorf("mode %d changed what is outside:\n%s", mode, d)
		}
		absent(t, target, "extra")
		if mode != restore.OverwriteNever {
			if info, err := os.Lstat(filepath.Join(target, "folder")); err != nil || !info.IsDir() {
				t.Errorf("mode %d: folder is %v, %v", mode, info, err)
			}
			if got := read(t, target, "link"); got != "restored" {
				t.Errorf("mode %d: link: %q", mode, got)
			}
		}
	}
}

// Somebody who may write in the target swaps folders for symlinks while the restore runs.
func TestSwappedFolders(t *testing.T) {
	m, outside, target := newMemory(), tempDir(t), tempDir(t)
	var folders []snapshot.Node
	for i := range 300 {
		folders = append(folders, m.dir(t, fmt.Sprintf("d%03d", i), m.file(t, "escaped", "x"), m.dir(t, "escaped-too")))
	}
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(target, fmt.Sprintf("d%03d", i%300))
			if os.Rename(name, name+".moved") == nil || os.Symlink(outside, name) == nil {
				_ = os.Symlink(outside, name)
			}
		}
	})
	for range 3 {
		_, err := restore.Run(context.Background(), m, m.dir(t, "", folders...), target, restore.Options{Overwrite: restore.OverwriteAlways}, nil)
		if err != nil && !errors.Is(err, restore.ErrIncomplete) {
			t.Error(err)
		}
	}
	close(stop)
	swaps.Wait()
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside the target: %v, %v", names, err)
	}
}

// swapper swaps a folder for a symlink as soon as it is restored.
type swapper struct{ path, target string }

func (s swapper) Wrote(uint64) {}

func (s swapper) Event(e restore.Event) {
	if e.Path == filepath.Base(s.path) && e.Action == restore.Made {
		if err := errors.Join(os.Rename(s.path, s.path+".moved"), os.Symlink(s.target, s.path)); err != nil {
			panic(err)
		}
	}
}

// What comes back to a folder later, the making of links and the verifying, does not follow a symlink that took its place.
func TestSwappedLater(t *testing.T) {
	m, outside, target := newMemory(), tempDir(t), tempDir(t)
	write(t, "one", outside, "one")
	write(t, "two", outside, "two")
	before := describe(t, outside)
	one, far := m.file(t, "one", "one"), m.file(t, "one", "one")
	one.Link, far.Link = snapshot.LinkKey{1}, snapshot.LinkKey{1}
	var between []snapshot.Node // so that the folder is left before the second name comes
	for i := range 1000 {
		between = append(between, m.file(t, fmt.Sprint(10000+i), ""))
	}
	root := m.dir(t, "", m.dir(t, "d", one, m.file(t, "two", "two")), m.dir(t, "e", between...), m.dir(t, "f", far))
	for _, verify := range []bool{false, true} {
		sum, err := restore.Run(context.Background(), m, root, filepath.Join(target, fmt.Sprint(verify)), restore.Options{Workers: 1, Verify: verify},
			swapper{filepath.Join(target, fmt.Sprint(verify), "d"), outside})
		if verify != errors.Is(err, restore.ErrIncomplete) {
			t.Errorf("verify %t: %v", verify, err)
		}
		if sum.Lost[restore.AspectLink].Count != 1 {
			t.Errorf("verify %t: lost %+v", verify, sum.Lost)
		}
	}
	if d := diff(before, describe(t, outside)); d != "" {
		t.Errorf("outside the target:\n%s", d)
	}
}

// A file in the target that is one inode with a file outside is replaced: neither content nor metadata of the other name change.
func TestHardLinkToOutside(t *testing.T) {
	m, dir := newMemory(), tempDir(t)
	outside, target := filepath.Join(dir, "outside"), filepath.Join(dir, "target")
	key := snapshot.LinkKey{1}
	for _, linked := range []bool{false, true} {
		for _, mode := range []restore.Overwrite{restore.OverwriteAlways, restore.OverwriteIfChanged} {
			path := write(t, "content", outside, "file")
			must(t, os.Chtimes(path, time.Time{}, time.Unix(someTime.Sec, int64(someTime.Nsec))))
			must(t, os.MkdirAll(target, 0o755))
			must(t, os.Link(path, filepath.Join(target, "file")))
			before := describe(t, outside)
			n := m.file(t, "file", "content")
			n.Mode = 0o600 // metadata that differs
			if linked {
				n.Link = key
			}
			run(t, m, m.dir(t, "", n), target, restore.Options{Overwrite: mode})
			for i, line := range describe(t, outside) {
				if want := strings.Replace(before[i], ` links 2 first "./file"`, "", 1); line != want {
					t.Errorf("mode %d, link key %t: outside is\n%s, was\n%s", mode, linked, line, want)
				}
			}
			must(t, os.RemoveAll(target))
			must(t, os.RemoveAll(outside))
		}
	}
}

// A tree deeper than there are descriptors is cut off where they end, told, and the rest is restored.
func TestTooDeep(t *testing.T) {
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	less := unix.Rlimit{Cur: 600, Max: limit.Max}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &less))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	const levels = 303
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "bottom", "x")
	for range levels {
		n = m.dir(t, "d", n)
	}
	sum, err := restore.Run(context.Background(), m, m.dir(t, "", n, m.file(t, "z", "good")), target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || !strings.Contains(err.Error(), "deep") {
		t.Errorf("%.300s ... %.300s, %d failed", err, err.Error()[max(0, len(err.Error())-300):], sum.Failed.Count)
	}
	read(t, target, "z")
}

// Two names of one inode that a forged snapshot has as different things do not become one.
func TestForgedLinks(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	a, b, c := m.file(t, "a", "1"), m.file(t, "b", "22"), symlink("c", "a")
	a.Link, b.Link, c.Link = snapshot.LinkKey{9}, snapshot.LinkKey{9}, snapshot.LinkKey{9}
	sum := run(t, m, m.dir(t, "", a, b, c), target, restore.Options{Workers: 1})
	if got := read(t, target, "b"); got != "22" || sum.Lost[restore.AspectLink].Count != 2 {
		t.Errorf("b: %q, lost %+v", got, sum.Lost)
	}
}
