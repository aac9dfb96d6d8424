package torture

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// walk calls fn for all below dir, and for dir itself, deepest first, in order of names. at and name are what system calls want, path
// is for people. It goes by open folders, so that no path is too long.
func walk(dir string, fn func(at int, name, path string, st *unix.Stat_t) error) error {
	return walkAt(unix.AT_FDCWD, dir, ".", fn)
}

func walkAt(at int, name, path string, fn func(int, string, string, *unix.Stat_t) error) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: path, Err: err}
		}
		f := os.NewFile(uintptr(fd), path)
		defer f.Close()
		names, err := f.Readdirnames(-1)
		if err != nil {
			return err
		}
		sort.Strings(names)
		for _, below := range names {
			if err := walkAt(fd, below, path+"/"+below, fn); err != nil {
				return err
			}
		}
	}
	return fn(at, name, path, &st)
}

// Remove removes a folder with everything in it, whatever its flags and modes say.
func Remove(dir string) error {
	if err := thawAll(unix.AT_FDCWD, dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return walk(dir, func(at int, name, _ string, st *unix.Stat_t) error {
		flags := 0
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			flags = unix.AT_REMOVEDIR
		}
		return unix.Unlinkat(at, name, flags)
	})
}

// thawAll takes the flags that forbid changes from files and folders, and opens the folders to their owner.
func thawAll(at int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	format := st.Mode & unix.S_IFMT
	if format == unix.S_IFDIR && st.Mode&0o700 != 0o700 {
		_ = unix.Fchmodat(at, name, 0o700, 0)
	}
	if format != unix.S_IFREG && format != unix.S_IFDIR {
		return nil
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // then it can't have been frozen by us either
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && flags&0x30 != 0 {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(int32(flags&^0x30)))
	}
	if format != unix.S_IFDIR {
		return nil
	}
	names, err := f.Readdirnames(-1)
	for _, below := range names {
		err = errors.Join(err, thawAll(fd, below))
	}
	return err
}

// Describe returns a line for each entry of dir, and for dir itself, with all that a restore must bring back: type, mode, owner, size, whether
// there are holes, modification time, device number, flags, which names are one inode, the target of a symlink, attributes, and
// a hash of the content.
func Describe(dir string) ([]string, error) {
	type inode struct{ dev, ino uint64 }
	first := map[inode]string{}
	var lines []string
	err := walk(dir, func(at int, name, path string, st *unix.Stat_t) error {
		var b strings.Builder
		format := st.Mode & unix.S_IFMT
		fmt.Fprintf(&b, "%q mode %o owner %d:%d mtime %d.%09d", path, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch format {
		case unix.S_IFCHR, unix.S_IFBLK:
			fmt.Fprintf(&b, " device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFLNK:
			buf := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(at, name, buf)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " target %q", buf[:n])
		}
		if format != unix.S_IFDIR && st.Nlink > 1 {
			id := inode{st.Dev, st.Ino}
			if first[id] == "" {
				first[id] = path
			}
			fmt.Fprintf(&b, " links %d first %q", st.Nlink, first[id])
		}
		if err := describeOpen(&b, at, name, st); err != nil {
			return &os.PathError{Op: "describe", Path: path, Err: err}
		}
		lines = append(lines, b.String())
		return nil
	})
	sort.Strings(lines)
	return lines, err
}

// describeOpen adds what is to be had of an open file, or by a path over an open folder.
func describeOpen(b *strings.Builder, at int, name string, st *unix.Stat_t) error {
	format := st.Mode & unix.S_IFMT
	if format != unix.S_IFREG && format != unix.S_IFDIR {
		path := name
		if at != unix.AT_FDCWD {
			path = fmt.Sprintf("/proc/self/fd/%d/%s", at, name)
		}
		return describeXattrs(b, func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) },
			func(name string, buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil {
		fmt.Fprintf(b, " flags %#x", flags&0x2082c0ff|flags&0x30000)
	}
	if format == unix.S_IFREG {
		sum, err := hash(fd)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, " size %d sparse %t sum %x", st.Size, st.Blocks*512 < st.Size, sum[:8])
	}
	return describeXattrs(b, func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

func describeXattrs(b *strings.Builder, list func([]byte) (int, error), get func(string, []byte) (int, error)) error {
	buf := make([]byte, 128<<10)
	n, err := list(buf)
	if err == unix.EOPNOTSUPP || n == 0 && err == nil {
		return nil
	}
	if err != nil {
		return err
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	sort.Strings(names)
	for _, name := range names {
		n, err := get(name, buf)
		if err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
		fmt.Fprintf(b, " %q=%s", name, short(buf[:n]))
	}
	return nil
}

func short(v []byte) string {
	if len(v) <= 64 {
		return fmt.Sprintf("%x", v)
	}
	sum := sha256.Sum256(v)
	return fmt.Sprintf("%d bytes, sum %x", len(v), sum[:8])
}

// hash is over the blocks that are not zero, with their offsets, so that a hole costs nothing and is equal to zeros.
func hash(fd int) (sum [32]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		next, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err == nil {
			off = next &^ 4095
		}
		n, err := unix.Pread(fd, buf, off)
		if err != nil {
			return sum, err
		}
		if n == 0 {
			break
		}
		for i := 0; i < n; i += 4096 {
			block := buf[i:min(i+4096, n)]
			if strings.Trim(string(block), "\x00") != "" {
				_ = binary.Write(h, binary.LittleEndian, off+int64(i))
				h.Write(block)
			}
		}
		off += int64(n)
	}
	return [32]byte(h.Sum(nil)), nil
}
