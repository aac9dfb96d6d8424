package backup_test

import (
	"context"
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

// badAttr is one with one extended attribute, whose value can't be read.
type badAttr struct{ oldNode }

func (*badAttr) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	const names = "security.lost\x00"
	if len(dest) < len(names) {
		return uint32(len(names)), syscall.ERANGE
	}
	return uint32(copy(dest, names)), 0
}

func (*badAttr) Getxattr(context.Context, string, []byte) (uint32, syscall.Errno) {
	return 0, syscall.EIO
}

// badAttrs is a file system in which each kind of inode is there twice: with all its attributes, and with one that can't be read.
type badAttrs struct{ fs.Inode }

func (r *badAttrs) OnAdd(ctx context.Context) {
	for kind, mode := range map[string]uint32{"file": fuse.S_IFREG, "folder": fuse.S_IFDIR, "fifo": syscall.S_IFIFO} {
		r.AddChild("bad "+kind, r.NewPersistentInode(ctx, &badAttr{}, fs.StableAttr{Mode: mode}), false)
		r.AddChild("good "+kind, r.NewPersistentInode(ctx, &oldNode{}, fs.StableAttr{Mode: mode}), false)
	}
}

// TestAttributesThatCantBeRead: they are told of, and the next backup asks for them again, though nothing has changed.
func TestAttributesThatCantBeRead(t *testing.T) {
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		t.Skip("mounting without fusermount3 needs root: sudo go test ./backup")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no FUSE here: modprobe fuse")
	}
	dir := t.TempDir()
	server, err := fs.Mount(dir, &badAttrs{}, &fs.Options{MountOptions: fuse.MountOptions{DirectMount: os.Geteuid() == 0}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
		server.Wait()
	})
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
