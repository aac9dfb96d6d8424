package live

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// holeMin is how many bytes a hole must have to be passed over.
const holeMin = 64 << 10

// holes passes over the holes of a file. Reading one costs more than reading data that is in memory: the kernel makes a page of zeros for each 4 KiB
// of it, and keeps that in memory in the place of somebody's data. Where traits say so SEEK_DATA of lseek(2) tells
// what was written, too, if it is in memory only: what it calls a hole is one at that moment.
type holes struct {
	on   bool
	data int64 // where the next data is, as far as that was asked
}

// holesOf begins with a file of which st is a look. One that has as many blocks as it takes has no holes, as a rule.
func holesOf(t traits, st *Stat) holes {
	return holes{on: t.holes && st.Blocks*512 < st.Size && st.Size >= holeMin}
}

// zeros returns how many bytes from off on lie in a hole; 0 if so few that reading them is as good. The file ends at size at the latest.
func (h *holes) zeros(fd int, off, size int64) int64 {
	if !h.on {
		return 0
	}
	if off >= h.data {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err == unix.ENXIO { // no data is behind off; the file may be shorter by now
			data, err = unix.Seek(fd, 0, unix.SEEK_END)
		}
		if err != nil {
			h.on = false
			return 0
		}
		h.data = data
	}
	hole := min(h.data, size) - off
	if hole < holeMin {
		return 0
	}
	return hole
}

// sparse reads a file that does not change.
type sparse struct {
	file  *os.File
	holes holes
	off   int64
	size  int64
}

// PassHoles returns a reader of a file from its start that does not read holes, where that is safe. Nobody may change the file.
func PassHoles(f *os.File) io.Reader {
	var st Stat
	var fs unix.Statfs_t
	fd := int(f.Fd())
	if fstat(fd, &st) != nil || retry(func() error { return unix.Fstatfs(fd, &fs) }) != nil {
		return f
	}
	h := holesOf(traitsOf(int64(fs.Type)&0xffffffff), &st)
	if !h.on {
		return f
	}
	return &sparse{file: f, holes: h, size: st.Size}
}

func (s *sparse) zeros() int64 { return s.holes.zeros(int(s.file.Fd()), s.off, s.size) }

// SkipZeros passes over what is left of the hole that is read just now, if it is one.
func (s *sparse) SkipZeros() int64 {
	hole := s.zeros()
	s.off += hole
	return hole
}

func (s *sparse) Read(p []byte) (int, error) {
	if hole := s.zeros(); hole > 0 {
		n := int(min(hole, int64(len(p))))
		clear(p[:n])
		s.off += int64(n)
		return n, nil
	}
	n, err := s.file.ReadAt(p, s.off)
	if n > 0 && err == io.EOF {
		err = nil // the next call says so
	}
	s.off += int64(n)
	return n, err
}
