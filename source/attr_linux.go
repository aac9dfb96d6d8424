package source

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sys/unix"
)

// xattrValueMax is the largest value of an extended attribute that Linux allows in bytes (xattr(7)).
const xattrValueMax = 64 << 10

// flagsKept are the chattr flags that a user can set and a restore may: ioctl_iflags(2) names them. Those that describe how a
// file system stores a file (extents, inline data, encryption) are none of them.
const flagsKept = 0x1 | 0x2 | 0x4 | // secure deletion, undelete, compressed
	0x8 | 0x10 | 0x20 | // synchronous, immutable, append only
	0x40 | 0x80 | // no dump, no atime
	0x4000 | 0x8000 | 0x10000 | 0x20000 | // data journal, no tail merging, synchronous folder, top of a folder hierarchy
	0x800000 | 0x20000000 // no copy on write, inherit the project

// FileAttr reads the extended attributes and the chattr flags of an open file or folder. What the file system has none of is no error.
func FileAttr(fd int) (xattrs []snapshot.Xattr, flags uint32, err error) {
	xattrs, err = readXattrs(
		func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
	if v, e := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); e == nil {
		flags = uint32(v) & flagsKept
	} else if !unsupported(e) {
		err = errors.Join(err, fmt.Errorf("chattr flags: %w", e))
	}
	return xattrs, flags, err
}

// Attr reads the extended attributes of an entry that can't be opened: a symbolic link, a device, a FIFO, a socket.
func (d *Dir) Attr(name string) ([]snapshot.Xattr, error) {
	path := "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + name
	return readXattrs(
		func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) },
		func(name string, buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
}

var nameBuffers = sync.Pool{New: func() any { return new([1024]byte) }}

func unsupported(err error) bool {
	return err == unix.ENOTSUP || err == unix.ENOTTY || err == unix.EINVAL || err == unix.ENOSYS
}

func readXattrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]snapshot.Xattr, error) {
	small := nameBuffers.Get().(*[1024]byte) // most files have none, or a label
	defer nameBuffers.Put(small)
	names := small[:]
	n, err := list(names)
	for err == unix.ERANGE {
		if n, err = list(nil); err == nil {
			names = make([]byte, n+256)
			n, err = list(names)
		}
	}
	if err != nil {
		if unsupported(err) || err == unix.ENODATA {
			return nil, nil
		}
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	var xattrs []snapshot.Xattr
	var failed error
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		value, err := readXattr(name, get)
		switch {
		case err == nil:
			xattrs = append(xattrs, snapshot.Xattr{Name: name, Value: value})
		case err == unix.ENODATA || unsupported(err): // removed meanwhile, or made up by the file system
		default:
			failed = errors.Join(failed, fmt.Errorf("extended attribute %q: %w", name, err))
		}
	}
	slices.SortFunc(xattrs, func(a, b snapshot.Xattr) int { return strings.Compare(a.Name, b.Name) })
	xattrs = slices.CompactFunc(xattrs, func(a, b snapshot.Xattr) bool { return a.Name == b.Name }) // what made-up file systems say is not to be relied on
	return xattrs, failed
}

func readXattr(name string, get func(string, []byte) (int, error)) (string, error) {
	for size := 256; ; size = xattrValueMax {
		buf := make([]byte, size)
		n, err := get(name, buf)
		if err == unix.ERANGE && size < xattrValueMax {
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}
