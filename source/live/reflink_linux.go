package live

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	extentsMax = 2000       // more than that, and a clone takes long and makes a bad layout worse
	noCow      = 0x00800000 // FS_NOCOW_FL: Btrfs clones between files only that agree on it
	fiemap     = 0xc020660b // FS_IOC_FIEMAP
)

// worn reports whether the file has too many extents to be cloned lightly.
func (f *File) worn() bool {
	const headWords, extentWords = 4, 7 // struct fiemap and struct fiemap_extent, in 64-bit words
	buf := make([]uint64, headWords+(extentsMax+1)*extentWords)
	head := (*struct {
		start, length                  uint64
		flags, mapped, count, reserved uint32
	})(unsafe.Pointer(&buf[0]))
	head.length, head.count = ^uint64(0), extentsMax+1
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), fiemap, uintptr(unsafe.Pointer(&buf[0])))
	return errno == 0 && head.mapped > extentsMax
}

// cloneAtRest clones the file when it has rested. It reports whether that could be done. Cloning keeps writers out,
// perhaps for long, so the time that counts is that before it: a file that was emptied may stay so because of us.
func (f *File) cloneAtRest(ctx context.Context) (bool, error) {
	for {
		now := f.c.now()
		if !f.clone() {
			return false, nil
		}
		f.rung, f.sum = onClone, nil
		var after Stat
		if err := fstat(f.fd, &after); err != nil {
			return false, fmt.Errorf("stat %q: %w", f.name, err)
		}
		if after.Ctim != f.first.Ctim {
			now = ctimeOf(&after) // just changed, whatever the clock says
		}
		short := f.unrest(&after, now)
		f.cut = f.isCut(&after, now)
		if short <= 0 {
			return true, nil
		}
		if waited, err := f.putOff(ctx, short); err != nil || !waited {
			return err == nil, err
		}
		f.closeSource()
	}
}

// clone makes Read read a clone of the file as it is now. It reports whether that could be done.
func (f *File) clone() bool {
	fd, err := f.cloneFile()
	if err != nil {
		return false
	}
	var st Stat
	if err := fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return false
	}
	f.src, f.size = fd, st.Size
	return true
}

// cloneFile returns a clone without a name. The look at the original comes before it: if that is written in between, the
// next backup finds a later ctime than the one recorded, and reads the file again.
func (f *File) cloneFile() (int, error) {
	// Cloning writes dirty pages back while it keeps all writers out. Done before, it keeps them out for a moment only.
	_ = retry(func() error { return syncPages(f.fd) })
	if err := fstat(f.fd, &f.first); err != nil {
		return -1, err
	}
	fd, err := cloneIn(f.dirfd, ".", f.fd)
	for _, dir := range f.c.clones {
		if !noPlace(err) {
			break
		}
		fd, err = cloneIn(unix.AT_FDCWD, dir, f.fd)
	}
	if noPlace(err) {
		top, topErr := topOf(f.dirfd)
		if topErr != nil {
			return -1, topErr
		}
		defer unix.Close(top)
		fd, err = cloneIn(top, ".", f.fd)
	}
	return fd, err
}

// noPlace reports whether another folder could do what this one couldn't.
func noPlace(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EROFS)
}

// cloneIn clones fd into a file without a name, in a folder on the same file system.
func cloneIn(dirfd int, dir string, fd int) (clone int, err error) {
	clone, err = unnamed(dirfd, dir)
	if err != nil {
		return -1, err
	}
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = setNoCow(clone, flags&noCow)
	}
	if err == nil {
		err = retry(func() error { return unix.IoctlFileClone(clone, fd) })
	}
	if err != nil {
		_ = unix.Close(clone)
		return -1, fmt.Errorf("clone: %w", err)
	}
	return clone, nil
}

// setNoCow makes the flag of an empty file what it should be; it may have got its folder's.
func setNoCow(fd int, want uint32) error {
	have, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || have&noCow == want {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(have&^noCow|want))
}

// unnamed makes a file that no one can see, and that is gone when it is closed.
func unnamed(dirfd int, dir string) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dirfd, dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd, err
}

// topOf opens the topmost folder above dirfd that is on the same device.
func topOf(dirfd int) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	top, err := unix.Openat(dirfd, ".", flags, 0)
	if err != nil {
		return -1, err
	}
	var here, above Stat
	if err := fstat(top, &here); err != nil {
		_ = unix.Close(top)
		return -1, err
	}
	for {
		up, err := unix.Openat(top, "..", flags, 0)
		if err != nil {
			return top, nil
		}
		if err := fstat(up, &above); err != nil || above.Dev != here.Dev || above.Ino == here.Ino {
			_ = unix.Close(up)
			return top, nil
		}
		_ = unix.Close(top)
		top, here = up, above
	}
}
