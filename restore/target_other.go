//go:build !linux

package restore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
)

// handle is an open folder of the target. os.Root keeps each name below it, whatever is swapped meanwhile.
type handle struct{ root *os.Root }

// status is what stat says of an entry.
type status struct {
	typ    snapshot.Type
	mode   uint16
	size   uint64
	mtime  snapshot.Time
	nlink  uint64 // not known: 1
	device uint64 // not known: 0
	info   fs.FileInfo
}

func (s *status) sameInode(t *status) bool { return os.SameFile(s.info, t.info) }

func (s *status) inode() inodeID { return inodeID{} } // not known; nlink is 1, and nobody asks

func statusOf(info fs.FileInfo) status {
	types := map[fs.FileMode]snapshot.Type{0: snapshot.File, fs.ModeDir: snapshot.Dir, fs.ModeSymlink: snapshot.Symlink,
		fs.ModeNamedPipe: snapshot.FIFO, fs.ModeSocket: snapshot.Socket}
	t := info.ModTime()
	return status{typ: types[info.Mode().Type()], mode: uint16(info.Mode().Perm()), size: uint64(info.Size()),
		mtime: snapshot.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}, nlink: 1, info: info}
}

func openTarget(path string) (handle, error) {
	root, err := os.OpenRoot(path)
	return handle{root}, err
}

// openDir opens a folder. OpenRoot follows a symlink that stays below the root, so what was opened is compared with what the
// name itself is.
func (h handle) openDir(name string) (handle, error) {
	st, err := h.stat(name)
	if err != nil {
		return handle{}, err
	}
	root, err := h.root.OpenRoot(name)
	if err != nil {
		return handle{}, err
	}
	below := handle{root}
	if now, err := below.self(); err != nil || st.typ != snapshot.Dir || !st.sameInode(&now) {
		below.close()
		return handle{}, errors.New("not a folder")
	}
	return below, nil
}

func (h handle) forceDir(name string) (handle, error) { return h.openDir(name) }

func (h handle) openPath(name string) (handle, error) { return h.openDir(name) }

func (h handle) again() (handle, error) {
	root, err := h.root.OpenRoot(".")
	return handle{root}, err
}

func (h handle) close() { _ = h.root.Close() } // a folder: nothing can be lost

func (h handle) self() (status, error) {
	info, err := h.root.Stat(".")
	if err != nil {
		return status{}, err
	}
	return statusOf(info), nil
}

func (h handle) stat(name string) (status, error) {
	info, err := h.root.Lstat(name)
	if err != nil {
		return status{}, err
	}
	return statusOf(info), nil
}

func (h handle) mkdir(name string) error                           { return h.root.Mkdir(name, 0o700) }
func (h handle) remove(name string) error                          { return h.root.Remove(name) }
func (h handle) rmdir(name string) error                           { return h.root.Remove(name) }
func (h handle) rename(from, to string) error                      { return h.root.Rename(from, to) }
func (h handle) readlink(name string) (string, error)              { return h.root.Readlink(name) }
func (h handle) link(handle, string, string) error                 { return errors.ErrUnsupported }
func (h handle) thawing(_ string, fn func() error) error           { return fn() }
func (h handle) thawSelf() uint32                                  { return 0 }
func (h handle) freezeSelf(uint32) error                           { return nil }
func (h handle) heritage() heritage                                { return heritage{} }
func (h handle) sameDevice(handle) bool                            { return true }
func (h handle) sync() error                                       { return nil }
func (r *run) flagsFirst(object, *snapshot.Node, heritage)         {}
func (r *run) flagsLast(object, *folder, *snapshot.Node, flagRest) {}
func (r *run) freezes(*snapshot.Node) bool                         { return false }

// flagRest is of use on Linux only.
type flagRest struct{ exact, thaw bool }

func (h handle) names() ([]string, error) {
	f, err := h.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (h handle) special(name string, n *snapshot.Node) error {
	if n.Type == snapshot.Symlink {
		return h.root.Symlink(n.Target, name)
	}
	return errors.New("a " + n.Type.String() + " can't be made on this system")
}

// file is an open regular file.
type file struct {
	f    *os.File
	dir  handle
	name string
}

func (h handle) create(name string) (file, error) {
	f, err := h.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return file{f, h, name}, err
}

func (h handle) open(name string) (file, error) {
	st, err := h.stat(name)
	if err != nil {
		return file{}, err
	}
	if st.typ != snapshot.File {
		return file{}, errors.New("not a regular file")
	}
	f, err := h.root.Open(name)
	if err != nil {
		return file{}, err
	}
	opened := file{f, h, name}
	if now, err := opened.stat(); err != nil || !now.sameInode(&st) {
		_ = f.Close()
		return file{}, errors.New("not a regular file")
	}
	return opened, nil
}

func (f file) stat() (status, error) {
	info, err := f.f.Stat()
	if err != nil {
		return status{}, err
	}
	return statusOf(info), nil
}

func (f file) close() error { return f.f.Close() }
func (f file) forget()      {}

func (f file) writeAt(p []byte, off uint64) error {
	_, err := f.f.WriteAt(p, int64(off))
	return err
}

func (f file) readAt(p []byte, off uint64) error {
	n, err := f.f.ReadAt(p, int64(off))
	if n < len(p) && err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if n == len(p) {
		return nil
	}
	return err
}

func (f file) nextData(off uint64) uint64 { return off }

func (f file) truncate(size uint64) error { return f.f.Truncate(int64(size)) }

// system is what a run knows about the system.
type system struct{ me caller }

// object is what metadata is set on.
type object struct {
	dir  handle
	name string
	file *os.File
}

func (f file) object() object          { return object{dir: f.dir, name: f.name, file: f.f} }
func (h handle) object() object        { return object{dir: h, name: "."} }
func (h handle) at(name string) object { return object{dir: h, name: name} }

func (o object) chmod(mode uint32) error {
	if o.file != nil {
		return o.file.Chmod(fs.FileMode(mode & 0o777))
	}
	return o.dir.root.Chmod(o.name, fs.FileMode(mode&0o777))
}

func (o object) thaw() {}

// heritage is of use on Linux only.
type heritage struct{ flags bool }

// origin is of use on Linux only.
type origin struct {
	found *status
	ours  bool
	heritage
}

// apply sets mode and modification time of files and folders, and counts all else that n has.
func (r *run) apply(_ context.Context, o object, dir *folder, n *snapshot.Node, _ origin) error {
	lost := func(a Aspect, err error) { r.ledger.lost(dir.join(n.Name), n.Type, a, err) }
	if r.o.Owner != OwnerNever && (caller{n.UID, n.GID}) != r.me {
		lost(AspectOwner, errors.ErrUnsupported)
	}
	for i := range n.Xattrs {
		if r.o.Xattrs == nil || r.o.Xattrs(n.Xattrs[i].Name) {
			lost(AspectXattr, errors.ErrUnsupported)
			break
		}
	}
	if r.o.holes(n) && runtime.GOOS == "windows" {
		lost(AspectHoles, errors.ErrUnsupported)
	}
	if !r.o.NoFlags && n.Flags != 0 {
		lost(AspectFlags, errors.ErrUnsupported)
	}
	if n.Type == snapshot.Symlink {
		lost(AspectTimes, errors.ErrUnsupported)
		return nil
	}
	if n.Mode&0o7000 != 0 {
		lost(AspectMode, errors.New("only permissions are restored on this system"))
	}
	mtime := time.Unix(n.ModTime.Sec, int64(n.ModTime.Nsec))
	if err := o.dir.root.Chtimes(o.name, time.Time{}, mtime); err != nil { // before the mode, which may make it read-only
		lost(AspectTimes, err)
	}
	if err := o.chmod(uint32(n.Mode)); err != nil {
		lost(AspectMode, err)
	}
	return nil
}

// differs reports whether mode or time are not the node's.
func (r *run) differs(_ context.Context, _ object, n *snapshot.Node, now *status) (bool, error) {
	return n.Type != snapshot.Symlink && (now.mode != n.Mode&0o777 || now.mtime != n.ModTime), nil
}

// fatal reports whether err would meet every further entry too. The errors of a full disk have no common name on these systems.
func fatal(error) bool { return false }

// isNotEmpty takes any error of rmdir for one: what is then tried fails for the same reason.
func isNotEmpty(error) bool { return true }

// levelsMax bounds the depth of folders: each level holds one descriptor open.
func levelsMax() int { return 512 }

// caller is who we are.
type caller struct{ uid, gid uint32 }

func whoami() caller { return caller{uint32(os.Geteuid()), uint32(os.Getegid())} }

func (caller) owns(*status) bool { return true }

// isRoot reports whether h is the root of all paths, or on Windows of the current drive.
func isRoot(h handle) bool {
	st, err := h.self()
	root, err2 := os.Stat(string(os.PathSeparator))
	return err == nil && err2 == nil && os.SameFile(st.info, root)
}
