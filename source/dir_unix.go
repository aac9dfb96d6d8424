//go:build unix

package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dir is an open folder. It is counted: Hold and Release may be called by several goroutines, the last Release closes it.
type Dir struct {
	fd   int
	path string // for messages and for what has no call relative to a descriptor
	refs atomic.Int32

	listed bool // by List on Linux, which leaves the descriptor at its end
}

const openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NONBLOCK

// OpenMax is how many folders may be open at once, such that there are descriptors left for all else.
func OpenMax() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 128 // half of the least that systems allow
	}
	return int(min(uint64(limit.Cur)/2, 1<<20))
}

// OpenDir opens a folder by its path. The last element may be a symbolic link, as the user gave it.
func OpenDir(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, openDir, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return newDir(fd, path), nil
}

// Open opens a folder in d. It fails if that is a symbolic link.
func (d *Dir) Open(name string) (*Dir, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(d.fd, name, openDir|unix.O_NOFOLLOW, 0) })
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return newDir(fd, join(d.path, name)), nil
}

func newDir(fd int, path string) *Dir {
	d := &Dir{fd: fd, path: path}
	d.refs.Store(1)
	return d
}

// Path is where the folder was when it was opened.
func (d *Dir) Path() string { return d.path }

// FD is the folder's descriptor.
func (d *Dir) FD() int { return d.fd }

// Hold keeps d open until one more Release.
func (d *Dir) Hold() *Dir { d.refs.Add(1); return d }

// Release gives d back.
func (d *Dir) Release() {
	if d.refs.Add(-1) == 0 {
		unix.Close(d.fd)
	}
}

// Lstat says what an entry is.
func (d *Dir) Lstat(name string) (s Stat, err error) {
	var st unix.Stat_t
	for {
		err = unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return s, d.fail("stat", name, err)
	}
	fillStat(&s, &st)
	return s, nil
}

// Stat says what the folder itself is.
func (d *Dir) Stat() (s Stat, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return s, &fs.PathError{Op: "stat", Path: d.path, Err: err}
	}
	fillStat(&s, &st)
	return s, nil
}

// Readlink returns a symbolic link's target.
func (d *Dir) Readlink(name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := retry(func() (int, error) { return unix.Readlinkat(d.fd, name, buf) })
		if err != nil {
			return "", d.fail("readlink", name, err)
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// OpenFile opens a regular file for reading; it never waits for a writer or follows a link.
func (d *Dir) OpenFile(name string) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), join(d.path, name)), nil
}

func (d *Dir) fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: join(d.path, name), Err: err}
}

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// retry calls again what a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// IsGone reports whether err says that an entry went away, or is no longer what it was, since its folder was listed.
func IsGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}

// Reason says what went wrong without naming the path again.
func Reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Sprintf("%s: %v", p.Op, p.Err)
	}
	return err.Error()
}

// Lstat says what the entry at a path is.
func Lstat(path string) (s Stat, err error) {
	var st unix.Stat_t
	for {
		if err = unix.Lstat(path, &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return s, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	fillStat(&s, &st)
	return s, nil
}
