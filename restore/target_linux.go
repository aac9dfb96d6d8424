package restore

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
)

// handle is an open folder of the target. All names given to it are single components, and none is followed if it is a symlink.
type handle struct{ fd int }

// status is what stat says of an entry.
type status struct {
	typ          snapshot.Type
	mode         uint16
	uid, gid     uint32
	size         uint64
	mtime, atime snapshot.Time
	dev, ino     uint64
	nlink        uint64
	device       uint64 // major<<32 | minor
}

func (s *status) sameInode(t *status) bool { return s.dev == t.dev && s.ino == t.ino }

func (s *status) inode() inodeID { return inodeID{s.dev, s.ino} }

func statusOf(st *unix.Stat_t) status {
	return status{
		typ: typeOf(st.Mode), mode: uint16(st.Mode & 0o7777), uid: st.Uid, gid: st.Gid, size: uint64(st.Size),
		mtime: snapshot.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}, atime: snapshot.Time{Sec: st.Atim.Sec, Nsec: uint32(st.Atim.Nsec)},
		dev: st.Dev, ino: st.Ino, nlink: uint64(st.Nlink), device: uint64(unix.Major(st.Rdev))<<32 | uint64(unix.Minor(st.Rdev)),
	}
}

func typeOf(mode uint32) snapshot.Type {
	for t := snapshot.File; t <= snapshot.BlockDevice; t++ {
		if formatOf(t) == mode&unix.S_IFMT {
			return t
		}
	}
	return 0
}

// formatOf is the S_IFMT part of a mode.
func formatOf(t snapshot.Type) uint32 {
	formats := [...]uint32{0, unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK}
	return formats[t]
}

// retry repeats a system call that a signal interrupted, as network file systems let it happen.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func openat(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0o600)
		return err
	})
	return fd, err
}

// openTarget opens the target itself; it is the only path that is followed.
func openTarget(path string) (handle, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY)
	return handle{fd}, err
}

const dirFlags = unix.O_DIRECTORY | unix.O_NOFOLLOW

func (h handle) openDir(name string) (handle, error) {
	fd, err := openat(h.fd, name, unix.O_RDONLY|dirFlags)
	return handle{fd}, err
}

// forceDir opens a folder that is to be written to or removed. As its owner it makes it accessible if it is not.
func (h handle) forceDir(name string) (handle, error) {
	below, err := h.openDir(name)
	if err == unix.EACCES && chmodAt(h.fd, name, 0o700) == nil {
		return h.openDir(name)
	}
	return below, err
}

// openPath opens a folder only to reach what is in it.
func (h handle) openPath(name string) (handle, error) {
	fd, err := openat(h.fd, name, unix.O_PATH|dirFlags)
	return handle{fd}, err
}

func (h handle) again() (handle, error) {
	fd, err := openat(h.fd, ".", unix.O_RDONLY|dirFlags)
	return handle{fd}, err
}

func (h handle) close() { _ = unix.Close(h.fd) } // a folder's descriptor: nothing can be lost

func (h handle) self() (status, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(h.fd, &st) })
	return statusOf(&st), err
}

func (h handle) stat(name string) (status, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(h.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return statusOf(&st), err
}

func (h handle) mkdir(name string) error {
	return retry(func() error { return unix.Mkdirat(h.fd, name, 0o700) })
}

func (h handle) remove(name string) error {
	return retry(func() error { return unix.Unlinkat(h.fd, name, 0) })
}

func (h handle) rmdir(name string) error {
	return retry(func() error { return unix.Unlinkat(h.fd, name, unix.AT_REMOVEDIR) })
}

func (h handle) rename(from, to string) error {
	return retry(func() error { return unix.Renameat(h.fd, from, h.fd, to) })
}

// link makes h/to a further name of from/name, which is not followed if it is a symlink.
func (h handle) link(from handle, name, to string) error {
	return retry(func() error { return unix.Linkat(from.fd, name, h.fd, to, 0) })
}

func (h handle) names() ([]string, error) {
	d, err := h.again() // a descriptor of its own, so that the position in the folder is nobody else's
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(d.fd), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

func (h handle) readlink(name string) (string, error) {
	buf := make([]byte, targetMax+1)
	n, err := unix.Readlinkat(h.fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// special makes what is neither a file nor a folder.
func (h handle) special(name string, n *snapshot.Node) error {
	if n.Type == snapshot.Symlink {
		return retry(func() error { return unix.Symlinkat(n.Target, h.fd, name) })
	}
	var dev uint64
	if n.Type == snapshot.CharDevice || n.Type == snapshot.BlockDevice {
		major, minor := uint32(n.Device>>32), uint32(n.Device)
		if dev = unix.Mkdev(major, minor); major >= 1<<12 || minor >= 1<<20 { // what the kernel's dev_t holds
			return fmt.Errorf("device number %d:%d is too large for this system", major, minor)
		}
	}
	return retry(func() error { return unix.Mknodat(h.fd, name, formatOf(n.Type)|0o600, int(dev)) })
}

// file is an open regular file. It is a bare descriptor: os.File would try to poll it, at the price of a system call per file.
type file struct{ fd int }

// create makes a file that was not there.
func (h handle) create(name string) (file, error) {
	fd, err := openat(h.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
	return file{fd}, err
}

// open opens a file for reading. What is not a regular file is refused, without waiting for the other end of a FIFO.
func (h handle) open(name string) (file, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := openat(h.fd, name, flags|unix.O_NOATIME)
	if err == unix.EPERM { // not the owner
		fd, err = openat(h.fd, name, flags)
	}
	if err != nil {
		return file{-1}, err
	}
	st, err := file{fd}.stat()
	if err == nil && st.typ != snapshot.File {
		err = errors.New("not a regular file")
	}
	if err != nil {
		_ = unix.Close(fd)
		return file{-1}, err
	}
	return file{fd}, nil
}

func (f file) stat() (status, error) { return handle(f).self() }

func (f file) close() error {
	if err := unix.Close(f.fd); err != nil && err != unix.EINTR { // Linux closes it even then
		return err
	}
	return nil
}

func (f file) writeAt(p []byte, off uint64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(f.fd, p, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		p, off = p[n:], off+uint64(n)
	}
	return nil
}

// readAt fills p.
func (f file) readAt(p []byte, off uint64) error {
	for len(p) > 0 {
		n, err := unix.Pread(f.fd, p, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		p, off = p[n:], off+uint64(n)
	}
	return nil
}

// nextData is the offset of the first byte at or after off that is in no hole.
func (f file) nextData(off uint64) uint64 {
	next, err := unix.Seek(f.fd, int64(off), unix.SEEK_DATA)
	if err == unix.ENXIO {
		return math.MaxInt64
	}
	if err != nil {
		return off
	}
	return uint64(next)
}

func (f file) truncate(size uint64) error {
	return retry(func() error { return unix.Ftruncate(f.fd, int64(size)) })
}

// forget drops the file's clean pages, so that it is read from the disk.
func (f file) forget() { _ = unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED) }

// sync waits until the whole file system is on stable storage.
func (h handle) sync() error { return retry(func() error { return unix.Syncfs(h.fd) }) }

// fatal reports whether err would meet every further entry too.
func fatal(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isNotEmpty reports whether err is what rmdir says of a folder with entries.
func isNotEmpty(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) }

// sameDevice reports whether both folders are of one file system.
func (h handle) sameDevice(other handle) bool {
	a, err := h.self()
	b, err2 := other.self()
	return err == nil && err2 == nil && a.dev == b.dev
}

// levelsMax bounds the depth of folders: each level holds one descriptor open.
func levelsMax() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(limit.Cur/2, 16384))
}

// caller is who we are.
type caller struct{ uid, gid uint32 }

func whoami() caller { return caller{uint32(unix.Geteuid()), uint32(unix.Getegid())} }

// owns reports whether what is made in a folder with this status is certain to belong to us: the folder does, and is ours
// alone to hand its group down. Otherwise the file system or the folder's set-group-id bit may give it to somebody else.
func (c caller) owns(st *status) bool { return st.uid == c.uid && st.gid == c.gid }

// isRoot reports whether h is the root of all paths.
func isRoot(h handle) bool {
	st, err := h.self()
	var root unix.Stat_t
	if err2 := unix.Stat("/", &root); err != nil || err2 != nil {
		return false
	}
	return st.dev == root.Dev && st.ino == root.Ino
}
