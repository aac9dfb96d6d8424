package dir_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestFullDisk fills a real file system of 4 MiB.
func TestFullDisk(t *testing.T) {
	mountpoint := t.TempDir()
	if err := unix.Mount("tarn-test", mountpoint, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("mount a tmpfs: %v (run as root)", err)
	}
	t.Cleanup(func() { fssnaptest.Unmount(t, mountpoint) })
	d := createIn(t, mountpoint)
	put(t, d, "config", "x")
	before, err := d.Space()
	if err != nil || before.Total != 4<<20 {
		t.Errorf("space: got %+v and %v", before, err)
	}
	err = d.Put(t.Context(), "data/ab/1", make([]byte, 5<<20))
	if !errors.Is(err, storage.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"data/ab/1", "5242880 bytes", d.Path(), "bytes are free"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
	if l, err := d.Leftovers(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("it left %v and %v", l, err)
	}
	if got := names(t, d); len(got) != 1 {
		t.Errorf("list: got %v", got)
	}
	if err := d.Put(t.Context(), "data/ab/1", make([]byte, 3<<20)); err != nil {
		t.Errorf("the room was not given back: %v", err)
	}
	if err := d.Remove(t.Context(), "data/ab/1"); err != nil {
		t.Errorf("remove on a nearly full disk: %v", err)
	}
}

// newFS makes a file system of 512 MiB in a file and mounts it for the time of the test.
func newFS(t *testing.T, kind string) (mountpoint string) {
	t.Helper()
	d := t.TempDir()
	mountpoint, image := filepath.Join(d, "mnt"), filepath.Join(d, "image")
	if err := errors.Join(os.Mkdir(mountpoint, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs."+kind, "-q", image).CombinedOutput(); err != nil {
		t.Skipf("make a file system: %v: %s (apt-get install btrfs-progs xfsprogs e2fsprogs)", err, out)
	}
	// Power cuts are not the matter here, so the disk below need not be waited for.
	options := map[string]string{"xfs": "loop", "ext4": "loop,nobarrier", "btrfs": "loop,nobarrier"}
	if out, err := exec.Command("mount", "-o", options[kind], image, mountpoint).CombinedOutput(); err != nil {
		t.Skipf("mount a file system: %v: %s (run as root)", err, out)
	}
	t.Cleanup(func() { fssnaptest.Unmount(t, mountpoint) })
	return mountpoint
}

// TestStorageOnBtrfs is there since Btrfs moves a file to the end of its folder when it is renamed over another.
func TestStorageOnBtrfs(t *testing.T) {
	t.Parallel()
	mountpoint := newFS(t, "btrfs")
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		folder, err := os.MkdirTemp(mountpoint, "")
		if err != nil {
			t.Fatal(err)
		}
		return createIn(t, folder)
	})
}

// TestPastTheCache puts objects of lengths and at addresses that a direct write takes or not, and looks which are in the page cache.
func TestPastTheCache(t *testing.T) {
	const page = 4 << 10
	random := rand.New(rand.NewPCG(1, 2))
	source := make([]byte, 40<<20)
	for i := 0; i < len(source); i += 8 {
		binary.LittleEndian.PutUint64(source[i:], random.Uint64())
	}
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			d := createIn(t, newFS(t, kind))
			for _, c := range []struct {
				from, size int
				past       bool // the page cache, but for the last page
			}{
				{0, 4<<20 - 1, false}, {0, 4 << 20, true}, {0, 4<<20 + 1, true}, {0, 8<<20 + page, true}, {0, 8<<20 + page - 1, true},
				{page, 33<<20 + 12345, true}, {512, 9 << 20, false}, {1, 9 << 20, false},
			} {
				want := source[c.from:][:c.size]
				if err := d.Put(t.Context(), "data/ab/1", want); err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
				path := filepath.Join(d.Path(), "data/ab/1")
				cached := cachedPages(t, path)
				switch all := uint64(c.size+page-1) / page; {
				case kind == "btrfs": // as it likes
				case c.past && cached > 1:
					t.Errorf("%+v: %d of %d pages are in the cache", c, cached, all)
				case !c.past && cached < all/2: // all of them, if the kernel needs no memory
					t.Errorf("%+v: %d of %d pages are in the cache: was it written as the test thinks?", c, cached, all)
				}
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%+v: it holds something else; %v", c, err)
				}
			}
			err := d.Put(t.Context(), "data/ab/2", make([]byte, 600<<20))
			if !errors.Is(err, storage.ErrFull) {
				t.Errorf("more than fits: %v", err)
			}
			if l, err := d.Leftovers(t.Context()); err != nil || len(l) != 0 {
				t.Errorf("it left %v and %v", l, err)
			}
		})
	}
}

// cachedPages asks the kernel how many pages of a file are in its cache.
func cachedPages(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all unix.CachestatRange
	var stat unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &all, &stat, 0); err != nil {
		t.Skipf("ask for the pages in the cache: %v (from Linux 6.5 on)", err)
	}
	return stat.Cache
}

// TestFIFO opens a FIFO that somebody put under an object's name: nobody writes to it, so a plain open would never return.
func TestFIFO(t *testing.T) {
	d := create(t)
	if err := unix.Mkfifo(filepath.Join(d.Path(), "config"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Get(t.Context(), "config", 0, -1); err == nil {
		r.Close()
		t.Error("no error")
	}
	if got := names(t, d); len(got) != 0 {
		t.Errorf("list: got %v", got)
	}
}

// TestForcedUnmount is the reason for holding the folder open: below a mount point there is often an empty folder, which must not
// be taken for the repository.
func TestForcedUnmount(t *testing.T) {
	mountpoint := t.TempDir()
	if err := unix.Mount("tarn-test", mountpoint, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("mount a tmpfs: %v (run as root)", err)
	}
	d := createIn(t, mountpoint)
	put(t, d, "config", "x")
	if err := unix.Unmount(mountpoint, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(mountpoint, "repo"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d); len(got) != 1 {
		t.Errorf("list: got %v, want what is in the folder that was opened", got)
	}
}
