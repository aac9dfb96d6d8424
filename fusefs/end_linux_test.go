package fusefs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/fusefs"
)

// TestReadOnly tries all calls that would change something.
func TestReadOnly(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("a", "one"), folder("d", file("b", "two")))
	m := f.mount(fusefs.Options{})
	outside := t.TempDir()
	for _, base := range []string{m.dir, m.path("snapshots"), m.path("snapshots/latest/"), m.path("snapshots/latest/d"), m.path("history")} {
		new, a, d := base+"/new", m.path("snapshots/latest/a"), m.path("snapshots/latest/d")
		open := func(p string, flags int) error {
			fd, err := unix.Open(p, flags, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
		r, err := unix.Open(a, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		ioctl := func(request uint, v int) error { return unix.IoctlSetPointerInt(r, request, v) }
		for name, err := range map[string]error{
			"creat": open(new, unix.O_CREAT|unix.O_WRONLY), "creat excl": open(new, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR), "tmpfile": open(base, unix.O_TMPFILE|unix.O_RDWR),
			"open write": open(a, unix.O_WRONLY), "open rdwr": open(a, unix.O_RDWR), "open append": open(a, unix.O_WRONLY|unix.O_APPEND), "open trunc": open(a, unix.O_RDONLY|unix.O_TRUNC),
			"truncate": unix.Truncate(a, 0), "mkdir": unix.Mkdir(new, 0o700), "mknod": unix.Mknod(new, unix.S_IFIFO|0o600, 0),
			"symlink": unix.Symlink("x", new), "link": unix.Link(a, new), "rename": unix.Rename(a, new), "rename dir": unix.Rename(d, new),
			"exchange": unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, d, unix.RENAME_EXCHANGE), "unlink": unix.Unlink(a), "rmdir": unix.Rmdir(d),
			"chmod": unix.Chmod(a, 0o600), "fchmod": unix.Fchmod(r, 0o600), "chown": unix.Chown(a, 1, 1), "lchown": unix.Lchown(a, 1, 1), "fchown": unix.Fchown(r, 1, 1),
			"utimes": unix.UtimesNanoAt(unix.AT_FDCWD, a, []unix.Timespec{{}, {}}, 0), "setxattr": unix.Setxattr(a, "user.x", []byte("y"), 0),
			"lsetxattr": unix.Lsetxattr(a, "user.x", []byte("y"), 0), "fsetxattr": unix.Fsetxattr(r, "user.x", []byte("y"), 0), "removexattr": unix.Removexattr(a, "user.x"),
			"lremovexattr": unix.Lremovexattr(a, "user.x"), "fremovexattr": unix.Fremovexattr(r, "user.x"), "rename noreplace": unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, new, unix.RENAME_NOREPLACE),
			"futimens": unix.Futimes(r, []unix.Timeval{{}, {}}), "chmod dir": unix.Chmod(d, 0o700), "mkfifo": unix.Mkfifo(new, 0o600), "bind": bind(new), "acl": unix.Setxattr(a, "system.posix_acl_access", nil, 0),
			"access": unix.Access(a, unix.W_OK), "setflags": ioctl(unix.FS_IOC_SETFLAGS, 0x10),
		} {
			if err != unix.EROFS {
				t.Errorf("%s in %s: %v, want EROFS", name, base, err)
			}
		}
		for name, err := range map[string]error{ // these fail earlier, since the file is not open for writing
			"fallocate": unix.Fallocate(r, 0, 0, 10), "ftruncate": unix.Ftruncate(r, 0), "write": second(unix.Write(r, []byte("x"))), "pwrite": second(unix.Pwrite(r, []byte("x"), 0)),
			"copy_file_range": second(unix.CopyFileRange(r, nil, r, nil, 3, 0)),
		} {
			if err == nil {
				t.Errorf("%s was done", name)
			}
		}
		unix.Close(r)
	}
	if err := unix.Rename(outside, m.path("snapshots/new")); err != unix.EXDEV && err != unix.EROFS {
		t.Errorf("rename from outside: %v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil || st.Flags&(unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_NOSUID|unix.ST_NODEV {
		t.Errorf("flags %#x, %v", st.Flags, err)
	}
	if err := unix.Mount("", m.dir, "", unix.MS_REMOUNT, ""); err == nil {
		if err := unix.Mkdir(m.path("new"), 0o700); err != unix.EROFS {
			t.Errorf("mkdir after somebody remounted for writing: %v", err)
		}
	}
}

// bind makes a socket.
func bind(p string) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	dir, err := unix.Open(filepath.Dir(p), unix.O_PATH, 0) // an address has room for 108 bytes
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return unix.Bind(s, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(p))})
}

func second[T any](_ T, err error) error { return err }

// notMounted reports whether nothing is mounted on a folder any more, not even something that does not answer.
func notMounted(t *testing.T, dir string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(table), " "+dir+" ") {
		t.Errorf("%s is still mounted", dir)
	}
	if names, err := os.ReadDir(dir); len(names) > 0 || err != nil {
		t.Errorf("%s has %v, %v", dir, names, err)
	}
}

// TestDetachWhileReading ends a mount that a hundred programs read from.
func TestDetachWhileReading(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("a", string(pattern(20*chunkSize))))
	m := f.mount(fusefs.Options{CacheSize: 1})
	const readers = 100
	ended := make(chan error, readers)
	var reading []io.ReadCloser
	for range readers {
		cmd := exec.Command("sh", "-c", `exec <"$1"; echo begun; while dd bs=64k iflag=direct status=none of=/dev/null count=9 && exec <"$1"; do :; done`, "sh", m.path("snapshots/latest/a"))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reading = append(reading, out)
		t.Cleanup(func() { cmd.Process.Kill() })
		go func() { ended <- cmd.Wait() }()
	}
	for _, r := range reading {
		if _, err := io.ReadFull(r, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Unmount(); !errors.Is(err, fusefs.ErrBusy) {
		t.Fatalf("a mount in use: %v", err)
	}
	if n := len(fusefs.Users(m.dir)); n < readers {
		t.Errorf("%d users, want %d", n, readers)
	}
	begin := time.Now()
	if err := m.Detach(); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	notMounted(t, m.dir)
	for range readers {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("a reader hangs")
		}
	}
	t.Logf("all gone after %v", time.Since(begin))
}

// TestUnmountedByOthers ends mounts as users do it.
func TestUnmountedByOthers(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("a", "one"))
	for _, command := range [][]string{{"umount"}, {"fusermount3", "-u"}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			t.Logf("not tried: %v (apt-get install fuse3)", err)
			continue
		}
		m := f.mount(fusefs.Options{})
		m.read(t, "snapshots/latest/a")
		if out, err := exec.Command(command[0], append(command[1:], m.dir)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", command, out)
		}
		<-m.Done()
		notMounted(t, m.dir)
	}
	m := f.mount(fusefs.Options{})
	if err := fusefs.Unmount(m.dir, fusefs.Politely); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	if err := fusefs.Unmount(m.dir, fusefs.Politely); !errors.Is(err, fusefs.ErrNotMounted) {
		t.Errorf("nothing is mounted: %v", err)
	}
}

// patience is more than any machine needs, and far less than the test may take in all.
const patience = 2 * time.Minute

// TestHang reads while the storage hangs: a signal ends the reader, and the mount can be ended.
func TestHang(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("a", string(pattern(chunkSize))), file("b", string(pattern(2*chunkSize))))
	m := f.mount(fusefs.Options{})
	if _, err := os.ReadDir(m.path("snapshots/latest/")); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.hang = make(chan struct{})
	f.mu.Unlock()
	cmd := exec.Command("cat", m.path("snapshots/latest/a"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-f.hung
	begin := time.Now()
	cmd.Process.Signal(syscall.SIGTERM) // SIGINT is ignored by what a shell without a terminal runs in the background
	cmd.Wait()
	if d := time.Since(begin); d > patience {
		t.Errorf("a reader that was interrupted ended after %v", d)
	}
	cmd = exec.Command("cat", m.path("snapshots/latest/b"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-f.hung
	begin = time.Now()
	if err := m.Unmount(); !errors.Is(err, fusefs.ErrBusy) {
		t.Errorf("unmount while somebody reads: %v", err)
	}
	if err := m.Detach(); err != nil {
		t.Error(err)
	}
	<-m.Done()
	if cmd.Wait() == nil {
		t.Error("the reader got its file")
	}
	if d := time.Since(begin); d > patience {
		t.Errorf("the mount ended after %v", d)
	}
}

func TestMountPoint(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), folder("empty"))
	m := f.mount(fusefs.Options{})
	full := t.TempDir()
	if err := os.WriteFile(full+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{full: "not empty", full + "/x": "not a directory", full + "/none": "no such file", m.dir: "not empty",
		m.path("snapshots/latest/empty"): "it lies in the mount " + m.dir} {
		if _, err := fusefs.Mount(t.Context(), f, dir, fusefs.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mount on %s: %v, want %q", dir, err, want)
		}
	}
	if _, err := fusefs.Mount(t.Context(), f, t.TempDir(), fusefs.Options{Templates: []string{"%x"}}); err == nil {
		t.Error("a bad template is taken")
	}
}

// ExampleMount shows a repository until somebody unmounts it.
func ExampleMount() {
	var repository fusefs.Repository // a *repo.Repo
	m, err := fusefs.Mount(context.Background(), repository, "/mnt/backups", fusefs.Options{Report: func(path string, err error) { fmt.Fprintln(os.Stderr, path, err) }})
	if err != nil {
		return
	}
	<-m.Done()
}
