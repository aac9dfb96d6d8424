package live_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// disks are the file systems that captures are tried on.
var disks = []string{"ext4", "ext4-128", "xfs", "btrfs", "tmpfs", "overlay"}

// mount makes a file system of its own and returns a folder on it. The test is skipped where that can't be done.
func mount(t testing.TB, disk string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root: run the test with sudo")
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s: apt-get install e2fsprogs xfsprogs btrfs-progs", name)
		}
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			if strings.HasPrefix(name, "mkfs.") {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
			t.Skipf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
		}
	}
	mounted := func() { t.Cleanup(func() { fssnaptest.Unmount(t, at) }) }
	switch disk {
	case "tmpfs":
		run("mount", "-t", "tmpfs", "tmpfs", at)
		mounted()
		return at
	case "overlay":
		base := mount(t, "tmpfs")
		for _, sub := range []string{"lower", "upper", "work"} {
			if err := os.Mkdir(filepath.Join(base, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		run("mount", "-t", "overlay", "overlay", "-o",
			"lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work", at)
		mounted()
		return at
	}
	image := filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 600<<20); err != nil {
		t.Fatal(err)
	}
	switch disk {
	case "ext4-128": // inodes without room for nanoseconds
		run("mkfs.ext4", "-q", "-F", "-I", "128", image)
	case "ext4":
		run("mkfs.ext4", "-q", "-F", image)
	case "xfs":
		run("mkfs.xfs", "-q", "-f", image)
	case "btrfs":
		run("mkfs.btrfs", "-q", "-f", image)
	}
	run("mount", "-o", "loop", image, at)
	mounted()
	return at
}

func openDir(t testing.TB, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}
