package dir_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

// TestFullDisk fills a real file system of 4 MiB.
func TestFullDisk(t *testing.T) {
	mountpoint := t.TempDir()
	if err := unix.Mount("tarn-test", mountpoint, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("mount a tmpfs: %v (run as root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mountpoint, 0); err != nil {
			t.Error(err)
		}
	})
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

// TestStorageOnBtrfs is there since Btrfs moves a file to the end of its folder when it is renamed over another.
func TestStorageOnBtrfs(t *testing.T) {
	t.Parallel()
	d := t.TempDir()
	mountpoint, image := filepath.Join(d, "mnt"), filepath.Join(d, "image")
	if err := errors.Join(os.Mkdir(mountpoint, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.btrfs", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("make a Btrfs: %v: %s (apt-get install btrfs-progs)", err, out)
	}
	// Power cuts are not the matter here, so the disk below need not be waited for.
	if out, err := exec.Command("mount", "-o", "loop,nobarrier", image, mountpoint).CombinedOutput(); err != nil {
		t.Skipf("mount a Btrfs: %v: %s (run as root)", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mountpoint, 0); err != nil {
			t.Error(err)
		}
	})
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		folder, err := os.MkdirTemp(mountpoint, "")
		if err != nil {
			t.Fatal(err)
		}
		return createIn(t, folder)
	})
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
