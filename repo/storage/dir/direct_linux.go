package dir

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directAlign is what offset, length and address of a direct write are multiples of, in bytes: the largest block of most disks.
const directAlign = 4 << 10

// direct writes a file past the page cache (O_DIRECT of open(2)). The zero value is for a file that nothing was written to yet.
type direct struct {
	asked, on bool
}

// write writes as much of p at off, the end of the file, as can go past the cache, and returns how much that was. The rest, which is
// less than directAlign or all of it, has to be written as usual, and so has all that comes after it.
func (d *direct) write(f *os.File, p []byte, off int64) (n int, err error) {
	if !d.asked {
		d.asked = true
		d.on = len(p) >= stepSize && paysDirect(f) && setDirect(f, true)
	}
	if !d.on {
		return 0, nil
	}
	if off%directAlign == 0 && uintptr(unsafe.Pointer(unsafe.SliceData(p)))%directAlign == 0 {
		n, err = f.Write(p[:len(p)&^(directAlign-1)])
	}
	if errors.Is(err, unix.EINVAL) {
		err = nil // a disk with larger blocks
	}
	if err == nil && n < len(p) {
		d.on = false
		setDirect(f, false)
	}
	return n, err
}

// paysDirect reports whether the file is on a file system where this was measured to be faster. Btrfs copies all the same, so that
// its sums are of what does not change, and over a network each piece would be waited for.
func paysDirect(f *os.File) (pays bool) {
	control(f, func(fd uintptr) {
		var st unix.Statfs_t
		err := unix.Fstatfs(int(fd), &st)
		pays = err == nil && (st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC)
	})
	return pays
}

// setDirect reports whether it could switch O_DIRECT on or off.
func setDirect(f *os.File, on bool) (done bool) {
	control(f, func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil {
			return
		}
		flags &^= unix.O_DIRECT
		if on {
			flags |= unix.O_DIRECT
		}
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
		done = err == nil
	})
	return done
}

// control calls fn with the descriptor of a file, unless it is closed.
func control(f *os.File, fn func(fd uintptr)) {
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Control(fn)
	}
}
