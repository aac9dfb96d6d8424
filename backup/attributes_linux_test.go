package backup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// oldNode is an empty inode that was changed long ago.
type oldNode struct{ fs.Inode }

func (*oldNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Mtime, out.Ctime = 0o755, 1e9, 1e9
	return 0
}

func (*oldNode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (*oldNode) Read(context.Context, fs.FileHandle, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(nil), 0
}

// attrs is one with extended attributes: their names as listxattr(2) lists them, the value of each, and the error that who asks for it gets.
type attrs struct {
	oldNode
	names string
	value []byte
	err   syscall.Errno
}

func (a *attrs) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return told(dest, a.names)
}

func (a *attrs) Getxattr(_ context.Context, _ string, dest []byte) (uint32, syscall.Errno) {
	if a.err != 0 {
		return 0, a.err
	}
	return told(dest, a.value)
}

// told copies an answer to where it is wanted, or says how long it is.
func told[T string | []byte](dest []byte, answer T) (uint32, syscall.Errno) {
	if len(dest) < len(answer) {
		return uint32(len(answer)), syscall.ERANGE
	}
	return uint32(copy(dest, answer)), 0
}

// badAttrs is a file system in which each kind of inode is there twice: with all its attributes, and with one that can't be read.
type badAttrs struct{ fs.Inode }

func (r *badAttrs) OnAdd(ctx context.Context) {
	for kind, mode := range map[string]uint32{"file": fuse.S_IFREG, "folder": fuse.S_IFDIR, "fifo": syscall.S_IFIFO} {
		r.AddChild("bad "+kind, r.NewPersistentInode(ctx, &attrs{names: "security.lost\x00", err: syscall.EIO}, fs.StableAttr{Mode: mode}), false)
		r.AddChild("good "+kind, r.NewPersistentInode(ctx, &oldNode{}, fs.StableAttr{Mode: mode}), false)
	}
}

// mountAttrs mounts a file system for a test, and returns where.
func mountAttrs(t *testing.T, root fs.InodeEmbedder) (dir string) {
	t.Helper()
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		t.Skip("mounting without fusermount3 needs root: sudo go test ./backup")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no FUSE here: modprobe fuse")
	}
	dir = t.TempDir()
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: os.Geteuid() == 0}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
		server.Wait()
	})
	return dir
}

// TestAttributesThatCantBeRead: they are told of, and the next backup asks for them again, though nothing has changed.
func TestAttributesThatCantBeRead(t *testing.T) {
	dir := mountAttrs(t, &badAttrs{})
	r := create(t, memory.New())
	_, rec := must(t, r, nil, dir)
	told := map[string]bool{}
	for _, p := range rec.Problems {
		told[p.Path] = p.Kind == snapshot.ProblemAttr
	}
	scan := snapshot.NewScanReader(t.Context(), r, rec.Scan)
	defer scan.Close()
	again := map[string]bool{}
	for path, seen := range scan.All() {
		again["/"+path] = seen.ChangeTime == snapshot.Time{}
	}
	for _, kind := range []string{"file", "folder", "fifo"} {
		good, bad := filepath.Join(dir, "good "+kind), filepath.Join(dir, "bad "+kind)
		if told[good] || !told[bad] {
			t.Errorf("%s: told of the good one %v, of the bad one %v", kind, told[good], told[bad])
		}
		if asks, ok := again[bad]; !ok || !asks || again[good] {
			t.Errorf("%s: looked at again: the good one %v, the bad one %v", kind, again[good], again[bad])
		}
	}
}

// many is the list of n names.
func many(n int) string {
	var names []byte
	for i := range n {
		names = fmt.Appendf(names, "security.%04x\x00", i)
	}
	return string(names)
}

// manyAttrs is a file system with inodes that have as many extended attributes as a user may give them elsewhere.
type manyAttrs struct{ fs.Inode }

func (r *manyAttrs) OnAdd(ctx context.Context) {
	for kind, mode := range map[string]uint32{"file": fuse.S_IFREG, "folder": fuse.S_IFDIR, "fifo": syscall.S_IFIFO} {
		for name, a := range map[string]*attrs{"many": {names: many(4200)}, "much": {names: many(700), value: make([]byte, 2000)},
			"long": {names: many(40), value: make([]byte, 60_000)}} {
			r.AddChild(name+" "+kind, r.NewPersistentInode(ctx, a, fs.StableAttr{Mode: mode}), false)
		}
	}
}

// TestManyAttributes: one file with very many extended attributes, or very long ones, is no reason to fail, nor to store what can't be read.
func TestManyAttributes(t *testing.T) {
	dir := mountAttrs(t, &manyAttrs{})
	r := create(t, memory.New())
	_, rec := must(t, r, nil, dir)
	problems := map[string]bool{}
	for _, p := range rec.Problems {
		problems[filepath.Base(p.Path)] = p.Kind == snapshot.ProblemAttr
	}
	for _, kind := range []string{"file", "folder", "fifo"} {
		for name, want := range map[string]int{"many": 4200, "much": 700, "long": 40} {
			n, err := snapshot.Lookup(t.Context(), r, rec.Root, dir+"/"+name+" "+kind)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(n.Xattrs); got == 0 || got > want || (got < want) != problems[name+" "+kind] || (name == "much") != problems[name+" "+kind] {
				t.Errorf("%s %s: %d attributes of %d; told of %t", name, kind, got, want, problems[name+" "+kind])
			}
		}
	}
}

// stutter is a file system that says some things twice: the name of a file, as others do if it is removed and made again while its folder is
// being read, and the name of an extended attribute.
type stutter struct{ fs.Inode }

func (r *stutter) OnAdd(ctx context.Context) {
	for _, name := range []string{"a", "b", "c"} {
		r.AddChild(name, r.NewPersistentInode(ctx, &attrs{names: "security.two\x00security.one\x00security.two\x00"}, fs.StableAttr{Mode: fuse.S_IFREG}), false)
	}
}

func (r *stutter) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for _, name := range []string{"b", "a", "c", "b", "a"} {
		list = append(list, fuse.DirEntry{Name: name, Mode: fuse.S_IFREG})
	}
	return fs.NewListDirStream(list), 0
}

// TestNamesThatComeTwice: what a folder lists twice is there once.
func TestNamesThatComeTwice(t *testing.T) {
	dir := mountAttrs(t, &stutter{})
	r := create(t, memory.New())
	_, rec := must(t, r, nil, dir)
	if rec.Stats.Files != 3 || len(rec.Problems) > 0 {
		t.Errorf("%d files of 3, problems %v", rec.Stats.Files, rec.Problems)
	}
	for _, name := range []string{"a", "b", "c"} {
		n, err := snapshot.Lookup(t.Context(), r, rec.Root, dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Xattrs) != 2 {
			t.Errorf("%s: %d attributes of 2", name, len(n.Xattrs))
		}
	}
}
