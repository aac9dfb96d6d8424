package torture_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/testing/torture"
)

func make2(t *testing.T) (a, b string) {
	t.Helper()
	dir := t.TempDir()
	a, b = filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, path := range []string{a, b} {
		skipped, err := torture.Make(path, torture.Options{Entries: 20, Levels: 25})
		if err != nil {
			t.Fatal(err)
		}
		t.Log("left out: ", skipped)
		t.Cleanup(func() {
			if err := torture.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
	return a, b
}

// changes are single steps away from equality; each must be seen.
var changes = map[string]func(dir string) error{
	"content":    func(d string) error { return keepTime(d+"/sizes/4096", flipByte) },
	"name":       func(d string) error { return os.Rename(d+"/order/A", d+"/order/B") },
	"missing":    func(d string) error { return os.Remove(d + "/links/empty 2") },
	"mode":       func(d string) error { return os.Chmod(d+"/modes/file-0600", 0o601) },
	"owner":      func(d string) error { return os.Lchown(d+"/owners/symlink", 1234, 4322) },
	"nanosecond": func(d string) error { return touch(d + "/times/nanosecond") },
	"xattr":      func(d string) error { return unix.Setxattr(d+"/xattrs/file", "user.text", []byte("Text"), 0) },
	"acl":        func(d string) error { return unix.Removexattr(d+"/acls/folder", "system.posix_acl_default") },
	"capability": func(d string) error { return unix.Removexattr(d+"/capabilities/v2", "security.capability") },
	"flag":       func(d string) error { return exec.Command("chattr", "-d", d+"/flags/file-d").Run() },
	"target":     func(d string) error { return retarget(d + "/symlinks/dangling") },
	"hole":       func(d string) error { return keepTime(d+"/holes/all hole", fill) },
	"link":       func(d string) error { return unlinkCopy(d + "/links/two") },
	"device":     func(d string) error { return renumber(d + "/special/null") },
	"deep":       func(d string) error { return deepChange(d + "/deep") },
	"root":       func(d string) error { return os.Chmod(d, 0o700) },
}

func flipByte(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 1000)
	b[0] ^= 1
	_, err2 := f.WriteAt(b, 1000)
	return errors.Join(err, err2, f.Close())
}

func fill(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 1<<20), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// keepTime undoes what fn does to the modification time.
func keepTime(path string, fn func(string) error) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return errors.Join(err, fn(path), unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

func keepFolderTime(path string, fn func(string) error) error {
	return keepTime(filepath.Dir(path), func(string) error { return fn(path) })
}

func touch(path string) error {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	st.Mtim.Nsec++
	return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, 0))
}

func retarget(path string) error {
	return keepFolderTime(path, func(path string) error {
		var st unix.Stat_t
		err := errors.Join(unix.Lstat(path, &st), os.Remove(path), os.Symlink("No such thing", path))
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
	})
}

func unlinkCopy(path string) error {
	return keepFolderTime(path, func(path string) error {
		b, err := os.ReadFile(path)
		var st unix.Stat_t
		err = errors.Join(err, unix.Stat(path, &st), os.Remove(path), os.WriteFile(path, b, 0o644))
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, 0))
	})
}

func renumber(path string) error {
	return keepFolderTime(path, func(path string) error {
		var st unix.Stat_t
		err := errors.Join(unix.Stat(path, &st), os.Remove(path), unix.Mknod(path, st.Mode, int(unix.Mkdev(1, 4))), os.Chmod(path, 0o666))
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, 0))
	})
}

// deepChange changes the file at the bottom, past PATH_MAX.
func deepChange(path string) error {
	script := `touch -r "$1" ../time; echo x >"$1"; touch -r ../time "$1"; rm ../time`
	return exec.Command("find", path, "-name", "bottom", "-execdir", "sh", "-c", script, "sh", "{}", ";").Run()
}

// A comparison that can't fail proves nothing.
func TestEveryChangeIsSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo go test ./testing/torture")
	}
	compare := func(a, b string) (string, bool) {
		out, err := exec.Command("./compare.sh", a, b).CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 2 {
			t.Skipf("%s", out)
		}
		return string(out), err == nil
	}
	describe := func(dir string) []string {
		lines, err := torture.Describe(dir)
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	a, b := make2(t)
	if out, same := compare(a, b); !same {
		t.Fatalf("two new folders differ:\n%s", out)
	}
	if x, y := describe(a), describe(b); !slices.Equal(x, y) {
		t.Fatalf("two new folders are described differently:\n%.3000s\n%.3000s", strings.Join(x, "\n"), strings.Join(y, "\n"))
	}
	want := describe(a)
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := filepath.Join(dir, "b")
			if _, err := torture.Make(b, torture.Options{Entries: 20, Levels: 25}); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := torture.Remove(b); err != nil {
					t.Error(err)
				}
			}()
			if err := change(b); err != nil {
				t.Fatal(err)
			}
			if _, same := compare(a, b); same {
				t.Error("compare.sh sees no difference")
			}
			if slices.Equal(want, describe(b)) {
				t.Error("Describe sees no difference")
			}
		})
	}
}
