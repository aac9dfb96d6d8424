package fusefs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/fusefs"
	"github.com/tarn-backup/tarn/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func stat(t testing.TB, p string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(p, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// TestLinksOfDifferentContent mounts a file that was changed between the captures of its two names: each shows its own content.
func TestLinksOfDifferentContent(t *testing.T) {
	f := newFixture(t)
	linked := func(name, content string) tree {
		return file(name, content).with(func(n *snapshot.Node) { n.Link = snapshot.LinkKey{1} })
	}
	f.save(at(1), linked("a", "old"), linked("b", "new"), linked("c", "old"))
	m := f.mount(fusefs.Options{})
	for name, want := range map[string]string{"a": "old", "b": "new", "c": "old"} {
		if got := m.read(t, "snapshots/latest/"+name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a, c := stat(t, m.path("snapshots/latest/a")), stat(t, m.path("snapshots/latest/c")); a.Ino != c.Ino {
		t.Errorf("inodes %d and %d of the same file", a.Ino, c.Ino)
	}
}

func TestAttributes(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("n", 255)
	key := snapshot.LinkKey{1, 2, 3}
	linked := func(name string) tree {
		return file(name, "linked").with(func(n *snapshot.Node) { n.Link = key })
	}
	special := func(name string, typ snapshot.Type) tree {
		return tree{Node: snapshot.Node{Name: name, Type: typ, Mode: 0o600, Device: 259<<32 | 70000, ModTime: snapshot.Time{Sec: -5, Nsec: 7}}}
	}
	f.save(at(1), folder("dir", linked("l2"), folder("sub", linked("l3"))).with(func(n *snapshot.Node) { n.Mode = 0o1777 }),
		linked("l1"), file("\xff\n name", "raw"), file(long, "long"), file("empty", ""),
		file("suid", "x").with(func(n *snapshot.Node) { n.Mode, n.UID, n.GID = 0o4755, 1<<32-2, 7 }),
		tree{Node: snapshot.Node{Name: "link", Type: snapshot.Symlink, Mode: 0o777, Target: "to \xfe nowhere"}},
		special("fifo", snapshot.FIFO), special("socket", snapshot.Socket), special("char", snapshot.CharDevice), special("block", snapshot.BlockDevice))
	m := f.mount(fusefs.Options{})
	in := func(p string) string { return m.path("snapshots/latest/" + p) }

	if got := m.read(t, "snapshots/latest/\xff\n name"); got != "raw" {
		t.Errorf("%q", got)
	}
	if got := m.read(t, "snapshots/latest/"+long); got != "long" {
		t.Errorf("%q", got)
	}
	if target, err := os.Readlink(in("link")); target != "to \xfe nowhere" {
		t.Errorf("link to %q, %v", target, err)
	}
	for p, mode := range map[string]uint32{"dir": syscall.S_IFDIR | 0o1777, "suid": syscall.S_IFREG | 0o4755, "fifo": syscall.S_IFIFO | 0o600,
		"socket": syscall.S_IFSOCK | 0o600, "char": syscall.S_IFCHR | 0o600, "block": syscall.S_IFBLK | 0o600, "empty": syscall.S_IFREG | 0o644} {
		if st := stat(t, in(p)); st.Mode != mode {
			t.Errorf("%s has mode %o, want %o", p, st.Mode, mode)
		}
	}
	if st := stat(t, in("block")); unix.Major(st.Rdev) != 259 || unix.Minor(st.Rdev) != 70000 || st.Mtim != (syscall.Timespec{Sec: -5, Nsec: 7}) {
		t.Errorf("device %d:%d, time %v", unix.Major(st.Rdev), unix.Minor(st.Rdev), st.Mtim)
	}
	if st := stat(t, in("suid")); st.Uid != 1<<32-2 || st.Gid != 7 || st.Size != 1 || st.Mtim != (syscall.Timespec{Sec: 1e9, Nsec: 5}) {
		t.Errorf("%+v", st)
	}
	first := stat(t, in("l1"))
	for _, p := range []string{"dir/l2", "dir/sub/l3"} {
		if st := stat(t, in(p)); st.Ino != first.Ino || st.Nlink != 3 {
			t.Errorf("%s: inode %d with %d links, want %d with 3", p, st.Ino, st.Nlink, first.Ino)
		}
	}
	if stat(t, in("empty")).Nlink != 1 {
		t.Error("a file with one name has not one link")
	}
	inodes := map[string]uint64{}
	for _, p := range []string{"l1", "dir", "dir/sub", "empty"} {
		inodes[p] = stat(t, in(p)).Ino
	}
	again := f.mount(fusefs.Options{})
	for p, ino := range inodes {
		if got := stat(t, again.path("snapshots/latest/"+p)).Ino; got != ino {
			t.Errorf("%s has inode %d, in another mount %d", p, ino, got)
		}
	}
}

func TestXattrs(t *testing.T) {
	f := newFixture(t)
	acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x05\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
	f.save(at(1), file("plain", "x"), file("torn", "y").with(func(n *snapshot.Node) { n.State = snapshot.Torn }),
		file("rich", "z").with(func(n *snapshot.Node) {
			n.Mode = 0o664
			n.Xattrs = []snapshot.Xattr{{Name: "system.posix_acl_access", Value: acl}, {Name: "user.empty"}, {Name: "user.note", Value: "a\x00b"}}
		}))
	for _, other := range []bool{false, true} {
		m := f.mount(fusefs.Options{AllowOther: other})
		in := func(p string) string { return m.path("snapshots/latest/" + p) }
		get := func(p, name string) string {
			buf := make([]byte, 200)
			n, err := unix.Getxattr(in(p), name, buf)
			if err != nil {
				return err.Error()
			}
			return string(buf[:n])
		}
		for _, c := range []struct{ file, name, want string }{
			{"rich", "user.note", "a\x00b"}, {"rich", "user.empty", ""}, {"rich", "system.posix_acl_access", acl}, {"rich", "user.none", "no data available"},
			{"plain", "user.tarn.capture", "whole"}, {"torn", "user.tarn.capture", "torn"}, {"plain", "user.note", "no data available"},
		} {
			if got := get(c.file, c.name); got != c.want {
				t.Errorf("%s of %s: %q, want %q (others allowed: %v)", c.name, c.file, got, c.want, other)
			}
		}
		buf := make([]byte, 200)
		n, err := unix.Listxattr(in("rich"), buf)
		if got := string(buf[:max(n, 0)]); got != "system.posix_acl_access\x00user.empty\x00user.note\x00" {
			t.Errorf("list: %q, %v", got, err)
		}
		if n, err := unix.Listxattr(in("plain"), nil); n != 0 || err != nil {
			t.Errorf("a file without has %d bytes of them, %v", n, err)
		}
		if _, err := unix.Getxattr(in("rich"), "user.note", make([]byte, 2)); err != unix.ERANGE {
			t.Errorf("too small a buffer: %v", err)
		}
	}
}

// TestFlags asks for chattr flags as lsattr does.
func TestFlags(t *testing.T) {
	f := newFixture(t)
	const immutable, noDump = 0x10, 0x40 // linux/fs.h
	flagged := func(flags uint32) func(*snapshot.Node) { return func(n *snapshot.Node) { n.Flags = flags } }
	f.save(at(1), file("fixed", "x").with(flagged(immutable|noDump)), file("plain", "y"), folder("dir").with(flagged(noDump)))
	m := f.mount(fusefs.Options{})
	for p, want := range map[string]uint32{"snapshots": 0, "snapshots/latest/fixed": immutable | noDump, "snapshots/latest/plain": 0, "snapshots/latest/dir": noDump} {
		fd, err := unix.Open(m.path(p), unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); got != want || err != nil {
			t.Errorf("%s has flags %#x, %v, want %#x", p, got, err, want)
		}
		if _, err := unix.IoctlGetInt(fd, 0x80087601); err != unix.ENOTTY {
			t.Errorf("FS_IOC_GETVERSION, which is not answered: %v", err)
		}
		unix.Close(fd)
	}
}

// TestAllowOther reads as another user: modes count then.
func TestAllowOther(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("open", "x"), file("closed", "y").with(func(n *snapshot.Node) { n.Mode = 0o600 }))
	m := f.mount(fusefs.Options{AllowOther: true})
	for dir := m.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if dir != m.dir {
			os.Chmod(dir, 0o755)
		}
	}
	as := func(p string) error {
		cmd := exec.Command("cat", m.path("snapshots/latest/"+p))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Run()
	}
	if err := as("open"); err != nil {
		t.Error(err)
	}
	if as("closed") == nil {
		t.Error("a file of mode 0600 can be read by another user")
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

func TestContent(t *testing.T) {
	f := newFixture(t)
	var files []tree
	want := map[string]string{}
	for _, n := range []int{0, 1, 4095, 4096, 4097, chunkSize - 1, chunkSize, chunkSize + 1, 3<<20 + 17, 70 * chunkSize} { // the last has a list
		name := fmt.Sprint("f", n)
		want[name] = string(pattern(n))
		files = append(files, file(name, want[name]))
	}
	f.save(at(1), files...)
	m := f.mount(fusefs.Options{CacheSize: 1 << 20})
	for name, data := range want {
		if m.read(t, "snapshots/latest/"+name) != data {
			t.Errorf("%s differs", name)
		}
		if st := stat(t, m.path("snapshots/latest/"+name)); st.Size != int64(len(data)) || st.Blocks != int64(len(data)+511)/512 {
			t.Errorf("%s: %d bytes in %d blocks", name, st.Size, st.Blocks)
		}
		r, err := os.Open(m.path("snapshots/latest/" + name))
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int{0, 1, 4096, chunkSize - 1, chunkSize, len(data) / 2, len(data) - 1, len(data), len(data) + 10} {
			buf := make([]byte, 10000)
			n, err := r.ReadAt(buf, int64(max(off, 0)))
			part := data[min(max(off, 0), len(data)):]
			if part = part[:min(len(part), len(buf))]; string(buf[:n]) != part || (err == nil) != (n == len(buf)) {
				t.Errorf("%s at %d: %d bytes, %v", name, off, n, err)
			}
		}
		r.Close()
	}
}

func TestSparse(t *testing.T) {
	f := newFixture(t)
	data := make([]byte, 6*chunkSize)
	copy(data[2*chunkSize:], pattern(chunkSize))
	sparse := file("sparse", string(data)).with(func(n *snapshot.Node) { n.Sparse = true })
	f.save(at(1), sparse, file("full", string(data)))
	m := f.mount(fusefs.Options{})
	r, err := os.Open(m.path("snapshots/latest/sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, c := range []struct {
		off  int64
		how  int
		want int64
	}{{0, unix.SEEK_DATA, 2}, {0, unix.SEEK_HOLE, 0}, {2, unix.SEEK_HOLE, 3}, {2, unix.SEEK_DATA, 2}, {5, unix.SEEK_HOLE, 5}, {3, unix.SEEK_DATA, -1}, {6, unix.SEEK_HOLE, -1}} {
		got, err := unix.Seek(int(r.Fd()), c.off*chunkSize, c.how)
		if c.want < 0 && err != unix.ENXIO || c.want >= 0 && got != c.want*chunkSize {
			t.Errorf("seek %d from %d: %d, %v, want %d", c.how, c.off, got, err, c.want*chunkSize)
		}
	}
	if m.read(t, "snapshots/latest/sparse") != string(data) {
		t.Error("content differs")
	}
	if st := stat(t, m.path("snapshots/latest/sparse")); st.Blocks != chunkSize/512 {
		t.Errorf("%d blocks", st.Blocks)
	}
	full, err := os.Open(m.path("snapshots/latest/full"))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if got, err := unix.Seek(int(full.Fd()), 0, unix.SEEK_HOLE); got != int64(len(data)) {
		t.Errorf("a file without holes has one at %d, %v", got, err)
	}
}

// TestPushed reads many small files in order, which makes the mount give the kernel those that follow, several times over.
func TestPushed(t *testing.T) {
	f := newFixture(t)
	var dirs []tree
	for d := range 8 {
		var files []tree
		for i := range 300 {
			files = append(files, file(fmt.Sprintf("%03d", i), string(pattern(i*37+d))))
		}
		dirs = append(dirs, folder(fmt.Sprint("d", d), files...))
	}
	f.save(at(1), dirs...)
	m := f.mount(fusefs.Options{})
	for round := range 2 {
		for d := range 8 {
			p := fmt.Sprint("snapshots/latest/d", d)
			entries, err := os.ReadDir(m.path(p))
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range entries {
				if got := m.read(t, p+"/"+e.Name()); got != string(pattern(i*37+d)) {
					t.Fatalf("round %d: %s/%s differs", round, p, e.Name())
				}
			}
		}
	}
}

func TestBigFolder(t *testing.T) {
	f := newFixture(t)
	const n = 20000
	entries := make([]tree, n)
	for i := range entries {
		entries[i] = file(fmt.Sprintf("entry-%07d", i*2), "")
	}
	f.save(at(1), folder("big", entries...))
	m := f.mount(fusefs.Options{})
	for _, p := range []string{"snapshots/latest/big", "history/big"} {
		if got := strings.Count(m.names(t, p), " ") + 1; got != n {
			t.Errorf("%s has %d entries", p, got)
		}
	}
	before := f.loadedTrees()
	m.names(t, "snapshots/latest/big")
	if got := f.loadedTrees() - before; got != 0 {
		t.Errorf("a folder that was listed is loaded again: %d blobs", got)
	}
	fresh := f.mount(fusefs.Options{}) // nothing is listed yet
	if _, err := os.Stat(fresh.path("snapshots/latest/big")); err != nil {
		t.Fatal(err)
	}
	before = f.loadedTrees()
	if _, err := os.Stat(fresh.path(fmt.Sprintf("snapshots/latest/big/entry-%07d", n))); err != nil {
		t.Error(err)
	}
	if got := f.loadedTrees() - before; got == 0 || got > 6 { // by bisection of a dozen
		t.Errorf("one look-up loaded %d blobs", got)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		if _, err := os.Stat(fresh.path(fmt.Sprintf("snapshots/latest/big/entry-%07d", i*2))); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(fresh.path(fmt.Sprintf("snapshots/latest/big/entry-%07d", i*2+1))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what is not there: %v", err)
		}
	}
	d, err := os.Open(fresh.path("snapshots/latest/big")) // go back in the middle of a listing
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	first, _ := d.Readdirnames(5000)
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	all, err := d.Readdirnames(-1)
	if err != nil || len(all) != n || all[4999] != first[4999] {
		t.Errorf("%d entries after going back, %v", len(all), err)
	}
}
