package restore_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// scanner turns a folder on disk into a snapshot in memory: the least that a backup does.
type scanner struct {
	t testing.TB
	m *memory
}

func (m *memory) scan(t testing.TB, path string) snapshot.Node {
	t.Helper()
	n := (&scanner{t, m}).node(unix.AT_FDCWD, path)
	n.Name = ""
	return n
}

func (s *scanner) node(at int, name string) snapshot.Node {
	var st unix.Stat_t
	must(s.t, unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW))
	n := snapshot.Node{Name: name, Mode: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid, ModTime: snapshot.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		sum := sha256.Sum256(fmt.Append(nil, st.Dev, st.Ino))
		copy(n.Link[:], sum[:])
	}
	path := name
	if at != unix.AT_FDCWD {
		path = fmt.Sprintf("/proc/self/fd/%d/%s", at, name)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.Type, n.Size, n.Sparse = snapshot.File, uint64(st.Size), st.Blocks*512 < st.Size
		s.open(at, &n, func(f *os.File) { n.Content = s.content(f, st.Size) })
	case unix.S_IFDIR:
		n.Type = snapshot.Dir
		s.open(at, &n, func(f *os.File) { n.Content = s.folder(f) })
	case unix.S_IFLNK:
		n.Type = snapshot.Symlink
		buf := make([]byte, unix.PathMax)
		k, err := unix.Readlinkat(at, name, buf)
		must(s.t, err)
		n.Target = string(buf[:k])
	case unix.S_IFIFO:
		n.Type = snapshot.FIFO
	case unix.S_IFSOCK:
		n.Type = snapshot.Socket
	case unix.S_IFCHR:
		n.Type = snapshot.CharDevice
	case unix.S_IFBLK:
		n.Type = snapshot.BlockDevice
	}
	if n.Type == snapshot.CharDevice || n.Type == snapshot.BlockDevice {
		n.Device = uint64(unix.Major(st.Rdev))<<32 | uint64(unix.Minor(st.Rdev))
	}
	if n.Type != snapshot.File && n.Type != snapshot.Dir {
		s.xattrs(&n, func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
			func(a string, b []byte) (int, error) { return unix.Lgetxattr(path, a, b) })
	}
	return n
}

func (s *scanner) open(at int, n *snapshot.Node, read func(*os.File)) {
	fd, err := unix.Openat(at, n.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	must(s.t, err)
	f := os.NewFile(uintptr(fd), n.Name)
	defer f.Close()
	if flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil {
		n.Flags = flags & 0x2083c0ff
	}
	s.xattrs(n, func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(a string, b []byte) (int, error) { return unix.Fgetxattr(fd, a, b) })
	read(f)
}

func (s *scanner) xattrs(n *snapshot.Node, list func([]byte) (int, error), get func(string, []byte) (int, error)) {
	buf := make([]byte, 128<<10)
	k, err := list(buf)
	if err == unix.EOPNOTSUPP || err == nil && k == 0 {
		return
	}
	must(s.t, err)
	names := strings.Split(strings.TrimSuffix(string(buf[:k]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		k, err := get(name, buf)
		must(s.t, err)
		x := snapshot.Xattr{Name: name, Value: string(buf[:k])}
		if k > snapshot.XattrInline {
			x.Value = ""
			x.Ref, _ = s.m.Save(context.Background(), blob.Data, buf[:k])
		}
		n.Xattrs = append(n.Xattrs, x)
	}
}

func (s *scanner) folder(f *os.File) snapshot.Content {
	names, err := f.Readdirnames(-1)
	must(s.t, err)
	slices.Sort(names)
	b := s.m.lists().NewTreeBuilder()
	for _, name := range names {
		n := s.node(int(f.Fd()), name)
		must(s.t, b.Add(context.Background(), &n))
	}
	c, err := b.Finish(context.Background())
	must(s.t, err)
	return c
}

func (s *scanner) content(f *os.File, size int64) snapshot.Content {
	ctx := context.Background()
	b := s.m.lists().NewContentBuilder()
	buf := make([]byte, chunk)
	for off := int64(0); off < size; {
		if data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); err == unix.ENXIO || err == nil && data/chunk*chunk > off {
			if err == unix.ENXIO {
				data = size
			}
			data = max(data/chunk*chunk, off)
			if err == unix.ENXIO {
				data = size
			}
			must(s.t, b.Add(ctx, snapshot.Element{Length: uint64(data - off)}))
			off = data
			continue
		}
		k, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			s.t.Fatal(err)
		}
		e := snapshot.Element{Length: uint64(k)}
		if string(buf[:k]) != zeros {
			e.ID, _ = s.m.Save(ctx, blob.Data, buf[:k])
		}
		must(s.t, b.Add(ctx, e))
		off += int64(k)
	}
	c, err := b.Finish(ctx)
	must(s.t, err)
	return c
}
