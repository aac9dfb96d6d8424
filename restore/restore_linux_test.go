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
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
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
			defer func() { must(t, exec.Command("umount", mount).Run()) }()
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

// Set-user-id is not given to a file whose owner is another one than in the snapshot.
func TestSetUserIDOfAnotherOwner(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "suid", "x")
	n.Mode, n.UID = 0o4755, 1000
	sum := run(t, m, m.dir(t, "", n), target, restore.Options{Owner: restore.OwnerNever})
	info, err := os.Stat(filepath.Join(target, "suid"))
	must(t, err)
	if info.Mode()&os.ModeSetuid != 0 || sum.Lost[restore.AspectMode].Count != 1 {
		t.Errorf("mode %v, lost %+v", info.Mode(), sum.Lost)
	}
}

func TestOwnerByName(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	known, unknown := m.file(t, "known", "x"), m.file(t, "unknown", "x")
	known.UID, known.GID, known.User, known.Group = 4242, 4242, "daemon", "daemon"
	unknown.UID, unknown.GID, unknown.User, unknown.Group = 4242, 4243, "no-such-user-here", "no-such-group-here"
	run(t, m, m.dir(t, "", known, unknown), target, restore.Options{Owner: restore.OwnerByName})
	for name, want := range map[string][2]uint32{"known": {1, 1}, "unknown": {4242, 4243}} {
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(target, name), &st))
		if got := [2]uint32{st.Uid, st.Gid}; got != want {
			t.Errorf("%s belongs to %v, want %v", name, got, want)
		}
	}
}

// What a target's folder hands down to new entries (ACLs, group) is not what the snapshot has.
func TestInheritance(t *testing.T) {
	needRoot(t)
	m, dir := newMemory(), tempDir(t)
	plain, target := filepath.Join(dir, "plain"), filepath.Join(dir, "target")
	root := m.dir(t, "", m.dir(t, "d", m.dir(t, "e", m.file(t, "f", "x"))), m.file(t, "f", "x"))
	run(t, m, root, plain, restore.Options{})
	must(t, os.Mkdir(target, 0o755))
	must(t, os.Chown(target, 0, 77))
	must(t, os.Chmod(target, 0o755|os.ModeSetgid))
	if out, err := exec.Command("setfacl", "-d", "-m", "u:7:rwx", target).CombinedOutput(); err != nil {
		t.Skipf("setfacl (apt-get install acl): %v %s", err, out)
	}
	run(t, m, root, target, restore.Options{})
	if d := diff(describe(t, plain), describe(t, target)); d != "" {
		t.Error(d)
	}
}

func TestXattrFilter(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.Xattrs = []snapshot.Xattr{{Name: "user.no", Value: "1"}, {Name: "user.yes", Value: "2"}}
	run(t, m, m.dir(t, "", n), target, restore.Options{Xattrs: func(name string) bool { return name == "user.yes" }})
	path, buf := filepath.Join(target, "f"), make([]byte, 10)
	if k, err := unix.Getxattr(path, "user.yes", buf); err != nil || string(buf[:k]) != "2" {
		t.Errorf("user.yes: %q, %v", buf[:k], err)
	}
	if _, err := unix.Getxattr(path, "user.no", buf); err != unix.ENODATA {
		t.Errorf("user.no: %v", err)
	}
}

// A missing blob of an attribute does not cost the file, but is told.
func TestMissingXattrBlob(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.Xattrs = []snapshot.Xattr{{Name: "user.lost", Ref: blob.ID{1}}}
	_, err := restore.Run(context.Background(), m, m.dir(t, "", n), target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || !strings.Contains(err.Error(), "user.lost") {
		t.Errorf("error %v", err)
	}
	read(t, target, "f")
}

// What the file system can't hold is counted, and nothing is aborted.
func TestLostIsCounted(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.ModTime = snapshot.Time{Sec: 1 << 40, Nsec: 5}
	n.UID = 1<<32 - 1
	n.Flags = 0x40 | 0x800000 // no dump, which works everywhere, and no copy on write, which does not
	n.Xattrs = []snapshot.Xattr{{Name: "nonsense.x", Value: "1"}, {Name: "user.x", Value: "1"}}
	device := snapshot.Node{Name: "device", Type: snapshot.CharDevice, Device: 1 << 50, ModTime: someTime}
	sum, err := restore.Run(context.Background(), m, m.dir(t, "", device, n), target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || sum.Failed.Examples[0].Path != "device" {
		t.Errorf("error %v", err)
	}
	for _, a := range []restore.Aspect{restore.AspectOwner, restore.AspectTimes, restore.AspectXattr, restore.AspectFlags} {
		if sum.Lost[a].Count != 1 {
			t.Errorf("%v: lost %d, want 1: %v", a, sum.Lost[a].Count, sum.Lost[a].Examples)
		}
	}
	if flags := strings.Join(describe(t, target), "\n"); !strings.Contains(flags, "flags 0x40 ") {
		t.Errorf("the flag that works is not set: %s", flags)
	}
}

// A full disk ends the run, says so, and leaves no half file.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("mount:", err)
	}
	defer func() { must(t, unix.Unmount(target, 0)) }()
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
	defer func() { must(t, unix.Unmount(mount, 0)) }()
	write(t, "precious", mount, "file")
	_, err := restore.Run(context.Background(), m, m.dir(t, ""), target, restore.Options{Overwrite: restore.OverwriteAlways, Delete: true}, nil)
	if !errors.Is(err, restore.ErrIncomplete) {
		t.Errorf("error %v", err)
	}
	read(t, mount, "file")
}

func TestFlagsAreLeftAlone(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.Flags = 0x10
	run(t, m, m.dir(t, "", n), target, restore.Options{NoFlags: true})
	must(t, os.Remove(filepath.Join(target, "f")))
}

// unprivileged is the name of the variable that tells the test binary that it was started again, as nobody.
const unprivileged = "TARN_TEST_UNPRIVILEGED"

// An ordinary user gets all that he may have, and is told what he may not.
func TestUnprivileged(t *testing.T) {
	if dir := os.Getenv(unprivileged); dir != "" {
		testUnprivileged(t, dir)
		return
	}
	needRoot(t)
	dir := tempDir(t)
	must(t, os.Chmod(dir, 0o777))
	binary, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(dir, "test")
	must(t, os.WriteFile(program, binary, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "work"), 0o777))
	must(t, os.Chmod(filepath.Join(dir, "work"), 0o777))
	cmd := exec.Command(program, "-test.run=^TestUnprivileged$", "-test.v")
	cmd.Env = append(os.Environ(), unprivileged+"="+filepath.Join(dir, "work"), "HOME="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestUnprivileged") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func testUnprivileged(t *testing.T, dir string) {
	m := newMemory()
	file := m.file(t, "f", "x")
	file.Mode = 0o400
	file.Xattrs = []snapshot.Xattr{{Name: "security.x", Value: "1"}, {Name: "trusted.x", Value: "1"}, {Name: "user.x", Value: "1"}}
	foreign := m.file(t, "foreign", "x")
	foreign.Mode, foreign.UID, foreign.GID = 0o6755, 0, 0
	locked := m.dir(t, "locked", file, m.file(t, "x", "1"))
	locked.Mode = 0
	readOnly := m.dir(t, "read-only", m.dir(t, "below", file), file)
	readOnly.Mode = 0o555
	one, two := m.file(t, "one", "x"), m.file(t, "two", "x")
	one.Link, two.Link = snapshot.LinkKey{1}, snapshot.LinkKey{1}
	blind := m.dir(t, "blind", one)
	blind.Mode = 0o300
	root := m.dir(t, "", blind, foreign, locked, readOnly, two)
	target := filepath.Join(dir, "target")
	sum := run(t, m, root, target, restore.Options{Workers: 1})
	for a, want := range map[restore.Aspect]uint64{restore.AspectOwner: 1, restore.AspectMode: 1, restore.AspectXattr: 6, restore.AspectLink: 0} {
		if got := sum.Lost[a]; got.Count != want {
			t.Errorf("%v: lost %d, want %d: %v", a, got.Count, want, got.Examples)
		}
	}
	again := run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true})
	if again.Deleted != 0 || again.Failed.Count != 0 {
		t.Errorf("again: %+v", again)
	}
	run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteAlways})
	for _, o := range []restore.Options{{Overwrite: restore.OverwriteIfChanged, DryRun: true}, {Overwrite: restore.OverwriteNever}} {
		_, err := restore.Run(context.Background(), m, root, target, o, nil) // can't look into all folders, and must not make itself able to
		if !errors.Is(err, restore.ErrIncomplete) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for name, want := range map[string]os.FileMode{"locked": 0, "read-only": 0o555, "read-only/f": 0o400, "foreign": 0o755, "blind": 0o300} {
		info, err := os.Stat(filepath.Join(target, name))
		must(t, err)
		if info.Mode()&^os.ModeDir != want {
			t.Errorf("%s: mode %v, want %v", name, info.Mode(), want)
		}
	}
	device := snapshot.Node{Name: "device", Type: snapshot.CharDevice, Device: 1<<32 | 3, ModTime: someTime, UID: myUID, GID: myGID}
	if _, err := restore.Run(context.Background(), m, device, filepath.Join(dir, "devices"), restore.Options{}, nil); !errors.Is(err, restore.ErrIncomplete) {
		t.Errorf("device: %v", err)
	}
}
