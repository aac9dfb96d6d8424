package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
	"github.com/tarn-backup/tarn/testing/torture"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: sudo go test ./restore")
	}
}

// tempDir is a folder that is removed with its immutable files.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tarn-restore")
	must(t, err)
	t.Cleanup(func() {
		if err := torture.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A folder that is not restored itself, or without flags, keeps the flags that it has.
func TestFoldersStayImmutable(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	for _, name := range []string{"passed", "passed/in vain", "taken"} {
		must(t, os.Mkdir(filepath.Join(target, name), 0o755))
	}
	flags := func(name string, set uint32) uint32 {
		f, err := os.Open(filepath.Join(target, name))
		must(t, err)
		defer f.Close()
		if set != 0 {
			if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(set)); err != nil {
				t.Skipf("%s can't be made immutable: %v; use TMPDIR=/on/ext4", f.Name(), err)
			}
		}
		now, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		must(t, err)
		return now
	}
	const immutable = 0x10 // FS_IMMUTABLE_FL
	all := []string{"passed/in vain", "passed", "taken"}
	before := map[string]uint32{}
	for _, name := range all {
		before[name] = flags(name, flags(name, 0)|immutable)
	}
	root := m.dir(t, "", m.dir(t, "passed", m.dir(t, "in vain"), m.file(t, "x", "x")), m.dir(t, "taken", m.file(t, "x", "x")))
	o := restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true, NoFlags: true, Filter: filter{"passed": restore.Pass, "passed/in vain": restore.Pass}}
	run(t, m, root, target, o)
	read(t, target, "passed", "x")
	read(t, target, "taken", "x")
	for _, name := range all {
		if got := flags(name, 0); got != before[name] {
			t.Errorf("%s has the flags %#x, had %#x", name, got, before[name])
		}
	}
}

func describe(t testing.TB, dir string) []string {
	t.Helper()
	lines, err := torture.Describe(dir)
	must(t, err)
	return lines
}

// diff shows the lines that only one of two folders has, shortened: some paths are very long.
func diff(a, b []string) string {
	var out strings.Builder
	only := func(mark string, in, other []string) {
		for _, line := range in {
			if !slices.Contains(other, line) {
				fmt.Fprintf(&out, "%s %.300s\n", mark, line)
			}
		}
	}
	only("-", a, b)
	only("+", b, a)
	return out.String()
}

func TestTorture(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	skipped, err := torture.Make(a, torture.Options{})
	must(t, err)
	t.Log("left out: ", skipped)
	m := newMemory()
	root := m.scan(t, a)
	want := describe(t, a)

	sum := run(t, m, root, b, restore.Options{Verify: true})
	if len(sum.Lost) > 0 {
		t.Errorf("lost: %+v", sum.Lost)
	}
	if d := diff(want, describe(t, b)); d != "" {
		t.Errorf("restored folder differs:\n%s", d)
	}
	if out, err := exec.Command("../testing/torture/compare.sh", a, b).CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 2 {
			t.Skipf("%s", out)
		}
		t.Errorf("compare.sh: %v\n%s", err, out)
	}

	t.Run("again", func(t *testing.T) {
		sum := run(t, m, root, b, restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true, Sum: sumData})
		if sum.Files+sum.Others+sum.Folders+sum.Deleted > 0 || sum.Updated > 2 { // the folders with flags that forbid changes were thawed
			t.Errorf("%+v", sum)
		}
		if d := diff(want, describe(t, b)); d != "" {
			t.Errorf("differs:\n%s", d)
		}
	})
	t.Run("over another", func(t *testing.T) {
		must(t, exec.Command("sh", "-c", `cd "$1" && chattr -R -i -a flags; rm -rf special links/one && echo changed >sizes/4096 && chmod 777 modes/* &&
			setfattr -n user.more -v x xattrs/file && mkdir -p extra/below && touch extra/below/x && chown 5 owners/0 && setfacl -m u:7:rwx sizes holes/comb &&
			setfacl -d -m u:7:rwx many && rm many/entry-0000001 && chattr +i many/entry-0000002`, "sh", b).Run())
		for _, o := range []restore.Overwrite{restore.OverwriteIfChanged, restore.OverwriteAlways} {
			run(t, m, root, b, restore.Options{Overwrite: o, Delete: true})
			if d := diff(want, describe(t, b)); d != "" {
				t.Errorf("mode %d differs:\n%s", o, d)
			}
		}
	})
}

// The same on other file systems, each in a file of its own.
func TestTortureOnFileSystems(t *testing.T) {
	needRoot(t)
	for name, mkfs := range map[string]string{"xfs": "mkfs.xfs -q", "btrfs": "mkfs.btrfs -q", "tmpfs": ""} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			mount := filepath.Join(dir, "mount")
			script := `mkdir "$2" && mount -t tmpfs -o size=400m tmpfs "$2"`
			if mkfs != "" {
				script = `mkdir "$2" && truncate -s 400m "$1/image" && ` + mkfs + ` "$1/image" && mount -o loop "$1/image" "$2"`
			}
			if out, err := exec.Command("sh", "-c", script, "sh", dir, mount).CombinedOutput(); err != nil {
				t.Skipf("make and mount (apt-get install xfsprogs btrfs-progs): %v %s", err, out)
			}
			defer fssnaptest.Unmount(t, mount)
			a, b := filepath.Join(mount, "a"), filepath.Join(mount, "b")
			skipped, err := torture.Make(a, torture.Options{Entries: 100})
			must(t, err)
			t.Log("left out: ", skipped)
			m := newMemory()
			sum := run(t, m, m.scan(t, a), b, restore.Options{Verify: true})
			if len(sum.Lost) > 0 {
				t.Errorf("lost: %+v", sum.Lost)
			}
			if d := diff(describe(t, a), describe(t, b)); d != "" {
				t.Errorf("differs:\n%s", d)
			}
		})
	}
}

// A file of more than 4 GiB, most of it a hole.
func TestHuge(t *testing.T) {
	dir := tempDir(t)
	const size = 4<<30 + 4097
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	path := write(t, "start", a, "huge")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("end"), size-3)
	must(t, err)
	must(t, f.Close())
	m := newMemory()
	run(t, m, m.scan(t, a), b, restore.Options{Verify: true})
	if d := diff(describe(t, a), describe(t, b)); d != "" {
		t.Error(d)
	}
}

// A file that was changed between the captures of its two names has two contents of the same size: each name gets its own, and it is told.
func TestLinksOfDifferentContent(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	a, b, c := m.file(t, "a", "old"), m.file(t, "b", "new"), m.file(t, "c", "old")
	a.Link, b.Link, c.Link = snapshot.LinkKey{9}, snapshot.LinkKey{9}, snapshot.LinkKey{9}
	old, other := symlink("s", "old"), symlink("t", "new")
	old.Link, other.Link = snapshot.LinkKey{8}, snapshot.LinkKey{8}
	sum := run(t, m, m.dir(t, "", a, b, c, old, other), target, restore.Options{Workers: 1})
	if got, err := os.Readlink(filepath.Join(target, "t")); got != "new" || err != nil {
		t.Errorf("t leads to %q, %v", got, err)
	}
	if got := read(t, target, "a") + read(t, target, "b") + read(t, target, "c"); got != "oldnewold" {
		t.Errorf("a, b and c hold %q", got)
	}
	if sum.Lost[restore.AspectLink].Count != 2 || sum.Links != 1 {
		t.Errorf("%d links; lost %+v", sum.Links, sum.Lost)
	}
}

// Two files that are one in the target become two again, though each of their names holds what it should.
func TestLinksOfTwoFilesInOne(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	names := []string{"a", "b", "c", "d"}
	var nodes []snapshot.Node
	for i, name := range names {
		n := m.file(t, name, "same")
		n.Link = snapshot.LinkKey{byte(1 + i/2)}
		nodes = append(nodes, n)
	}
	run(t, m, m.dir(t, "", nodes...), target, restore.Options{})
	want := describe(t, target)
	for _, name := range names[1:] {
		must(t, os.Remove(filepath.Join(target, name)))
		must(t, os.Link(filepath.Join(target, "a"), filepath.Join(target, name)))
	}
	run(t, m, m.dir(t, "", nodes...), target, restore.Options{Overwrite: restore.OverwriteIfChanged})
	if d := diff(want, describe(t, target)); d != "" {
		t.Error(d)
	}
}

// If the first name of an inode can't be restored, another one is tried.
func TestLinkAfterFailure(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	a, b, c := m.file(t, "a", "bad"), m.file(t, "b", "good"), m.file(t, "c", "good")
	m.lose(a.Content.Elements[0].ID)
	a.Link, b.Link, c.Link = snapshot.LinkKey{9}, snapshot.LinkKey{9}, snapshot.LinkKey{9}
	sum, err := restore.Run(context.Background(), m, m.dir(t, "", a, b, c), target, restore.Options{Workers: 3}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || sum.Links != 1 || sum.Files != 2 {
		t.Errorf("%v, %+v", err, sum)
	}
}

func TestSparse(t *testing.T) {
	m := newMemory()
	content := zeros + zeros + "x" + zeros[1:] + "y" + zeros + zeros[:5000] + "z"
	blocks := func(mode restore.Sparse, sparse bool) int64 {
		n := m.file(t, "f", content)
		n.Sparse = sparse
		target := tempDir(t)
		run(t, m, m.dir(t, "", n), target, restore.Options{Sparse: mode, Sync: true})
		if got := read(t, target, "f"); got != content {
			t.Errorf("mode %d: content is wrong", mode)
		}
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(target, "f"), &st))
		return st.Blocks * 512
	}
	for _, c := range []struct {
		mode   restore.Sparse
		sparse bool
		holes  bool
	}{
		{restore.SparseAuto, true, true}, {restore.SparseAuto, false, false}, {restore.SparseAlways, false, true},
		{restore.SparseNever, true, false},
	} {
		if got := blocks(c.mode, c.sparse); (got < int64(len(content))) != c.holes || c.holes && got > 5*4096 {
			t.Errorf("mode %d, sparse bit %t: %d bytes on disk of %d", c.mode, c.sparse, got, len(content))
		}
	}
}

// A full disk ends the run, says so, and leaves no half file.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("mount:", err)
	}
	defer fssnaptest.Unmount(t, target)
	var nodes []snapshot.Node
	for i := range 100 {
		nodes = append(nodes, m.file(t, fmt.Sprintf("f%03d", i), randomText(chunk+i)))
	}
	nodes = append(nodes, m.file(t, "g", randomText(20<<20)))
	_, err := restore.Run(context.Background(), m, m.dir(t, "", nodes...), target, restore.Options{}, nil)
	if !errors.Is(err, unix.ENOSPC) || errors.Is(err, restore.ErrIncomplete) {
		t.Errorf("error %v", err)
	}
	names, err := os.ReadDir(target)
	must(t, err)
	for _, e := range names {
		info, err := e.Info()
		must(t, err)
		if info.Size() < chunk {
			t.Errorf("%s has %d bytes", e.Name(), info.Size())
		}
	}
}

// Deleting stops at mounts.
func TestDeleteStopsAtMounts(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	mount := filepath.Join(target, "extra", "mount")
	must(t, os.MkdirAll(mount, 0o755))
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, ""); err != nil {
		t.Skip("mount:", err)
	}
	defer fssnaptest.Unmount(t, mount)
	write(t, "precious", mount, "file")
	_, err := restore.Run(context.Background(), m, m.dir(t, ""), target, restore.Options{Overwrite: restore.OverwriteAlways, Delete: true}, nil)
	if !errors.Is(err, restore.ErrIncomplete) {
		t.Errorf("error %v", err)
	}
	read(t, mount, "file")
}
