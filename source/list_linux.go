package source

import (
	"encoding/binary"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// List returns the names in the folder, ascending bytewise, without "." and "..". The names of one call to the kernel share a string,
// so that a folder of a million entries costs a few hundred allocations (getdents64(2)). What is removed and made again meanwhile may come twice from
// there; here it is there once.
func (d *Dir) List() ([]string, error) {
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	if d.listed {
		if _, err := unix.Seek(d.fd, 0, 0); err != nil {
			return nil, &fs.PathError{Op: "list", Path: d.path, Err: err}
		}
	}
	d.listed = true
	var names []string
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(d.fd, *buf) })
		if err != nil {
			return nil, &fs.PathError{Op: "list", Path: d.path, Err: err}
		}
		if n == 0 {
			break
		}
		names = appendNames(names, (*buf)[:n])
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// appendNames takes the names out of a run of struct linux_dirent64: inode 8, offset 8, length 2, type 1, name.
func appendNames(names []string, entries []byte) []string {
	all := string(entries)
	for pos := 0; pos+19 < len(all); {
		size := int(binary.NativeEndian.Uint16(entries[pos+16:]))
		name := all[pos+19 : pos+size]
		if i := strings.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if name != "." && name != ".." {
			names = append(names, name)
		}
		pos += size
	}
	return names
}
