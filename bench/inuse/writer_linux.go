package inuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is a way of saving a file.
type Kind string

// The kinds. Those of the first group close the file after each save, those of the second never do.
const (
	InPlace  Kind = "inplace"  // open, overwrite in four writes, close
	Truncate Kind = "truncate" // open and empty, four writes, close
	Rename   Kind = "rename"   // another file, renamed over it
	Append   Kind = "append"   // open, one record at the end, close
	Mmap     Kind = "mmap"     // open, map, store from front to back, unmap, close
	Pair     Kind = "pair"     // one file, then another that goes with it
	Move     Kind = "move"     // moved to another folder, and back
	SQLiteWL Kind = "wal"      // transfers in a database with a write-ahead log
	SQLiteRB Kind = "rollback" // transfers in a database with a rollback journal

	HeldWrite Kind = "heldwrite" // overwritten in one write
	HeldMmap  Kind = "heldmmap"  // stored to from front to back
	HeldLog   Kind = "heldlog"   // one record at the end
)

// Closing returns the kinds that close their files.
func Closing() []Kind {
	return []Kind{InPlace, Truncate, Rename, Append, Mmap, Pair, Move, SQLiteWL, SQLiteRB}
}

// Held returns the kinds that never close their files.
func Held() []Kind { return []Kind{HeldWrite, HeldMmap, HeldLog} }

func (k Kind) isHeld() bool     { return k == HeldWrite || k == HeldMmap || k == HeldLog }
func (k Kind) isLog() bool      { return k == Append || k == HeldLog }
func (k Kind) isDatabase() bool { return k == SQLiteWL || k == SQLiteRB }

// writer saves one file, or what goes with it.
type writer interface {
	save(gen uint64) error
	close() error
}

// place is where the files of a writer are, below the workload's folder. Walks come to a first, then to what nobody writes to, then to z.
func place(k Kind, i int) (names []string, file uint32) {
	dir := [...]string{"a", "z"}[i%2]
	base := fmt.Sprintf("%s-%02d", k, i)
	for n, kind := range append(Closing(), Held()...) {
		if kind == k {
			file = uint32(n)<<16 | uint32(i)
		}
	}
	switch k {
	case Pair:
		return []string{filepath.Join(dir, base+"-first"), filepath.Join(dir, base+"-second")}, file
	case Move:
		return []string{filepath.Join("a", base), filepath.Join("z", base)}, file
	}
	return []string{filepath.Join(dir, base)}, file
}

// newWriter returns the i-th writer of a kind. The file is as it was saved for the first time.
func (w *Workload) newWriter(k Kind, i int) (writer, error) {
	names, file := place(k, i)
	paths := make([]string, len(names))
	for n := range names {
		paths[n] = filepath.Join(w.Dir, names[n])
	}
	if k.isDatabase() {
		return newDatabase(paths[0], k)
	}
	f := fileWriter{path: paths[0], file: file, size: w.Size}
	var s writer = &savings{f, k}
	switch k {
	case Pair:
		s = &pairWriter{f, fileWriter{path: paths[1], file: file, size: w.Size}}
	case Move:
		s = &mover{f, [2]string{paths[0], paths[1]}}
	case HeldWrite, HeldMmap, HeldLog:
		return openHeld(f, k)
	}
	return s, s.save(1)
}

// fileWriter knows what to write where.
type fileWriter struct {
	path string
	file uint32
	size int
}

// write writes data in some parts, and closes the file.
func (f *fileWriter) write(path string, flags int, data []byte, parts int) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o644)
	if err != nil {
		return err
	}
	for n := (len(data) + parts - 1) / parts; len(data) > 0 && err == nil; data = data[min(n, len(data)):] {
		_, err = file.Write(data[:min(n, len(data))])
	}
	return errors.Join(err, file.Close())
}

// savings saves one file and closes it.
type savings struct {
	fileWriter
	kind Kind
}

func (s *savings) close() error { return nil }

func (s *savings) save(gen uint64) error {
	switch s.kind {
	case Truncate:
		return s.write(s.path, os.O_TRUNC, content(s.file, gen, s.size), 4)
	case Rename:
		next := filepath.Join(filepath.Dir(s.path), "."+filepath.Base(s.path)+".part")
		if err := s.write(next, os.O_TRUNC, content(s.file, gen, s.size), 4); err != nil {
			return err
		}
		return os.Rename(next, s.path)
	case Append:
		return s.write(s.path, os.O_APPEND, record(s.file, gen), 1)
	case Mmap:
		file, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return errors.Join(store(file, s.file, gen, s.size), file.Close())
	}
	return s.write(s.path, 0, content(s.file, gen, s.size), 4)
}

// store maps a file, stores to it, and unmaps it.
func store(f *os.File, file uint32, gen uint64, size int) error {
	if err := f.Truncate(int64(size)); err != nil {
		return err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	fill(memory, file, gen)
	return unix.Munmap(memory)
}

// fill stores each word as one, from front to back. The machine is a little-endian one, as all that this was run on.
func fill(memory []byte, file uint32, gen uint64) {
	for i := range len(memory) / wordLen {
		var word [wordLen]byte
		binary.LittleEndian.PutUint64(word[:], pad(file, i)+gen)
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&memory[i*wordLen])), binary.NativeEndian.Uint64(word[:]))
	}
}

type pairWriter struct{ first, second fileWriter }

func (p *pairWriter) close() error { return nil }

func (p *pairWriter) save(gen uint64) error {
	for _, f := range []*fileWriter{&p.first, &p.second} {
		if err := f.write(f.path, 0, content(f.file, gen, f.size), 1); err != nil {
			return err
		}
	}
	return nil
}

type mover struct {
	fileWriter
	paths [2]string
}

func (m *mover) close() error { return nil }

func (m *mover) save(gen uint64) error {
	if gen == 1 {
		return m.write(m.paths[1], 0, content(m.file, 1, m.size), 1)
	}
	return os.Rename(m.paths[(gen+1)%2], m.paths[gen%2])
}

// heldWriter keeps its file open.
type heldWriter struct {
	fileWriter
	kind   Kind
	open   *os.File
	memory []byte
}

func openHeld(f fileWriter, k Kind) (*heldWriter, error) {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	h := &heldWriter{fileWriter: f, kind: k, open: file}
	if k == HeldMmap {
		if err := file.Truncate(int64(f.size)); err != nil {
			return nil, errors.Join(err, h.close())
		}
		if h.memory, err = unix.Mmap(int(file.Fd()), 0, f.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	return h, h.save(1)
}

func (h *heldWriter) close() error {
	var err error
	if h.memory != nil {
		err = unix.Munmap(h.memory)
	}
	return errors.Join(err, h.open.Close())
}

func (h *heldWriter) save(gen uint64) error {
	switch h.kind {
	case HeldMmap:
		fill(h.memory, h.file, gen)
		return nil
	case HeldLog:
		_, err := h.open.WriteAt(record(h.file, gen), int64(gen-1)*recordLen)
		return err
	}
	_, err := h.open.WriteAt(content(h.file, gen, h.size), 0)
	return err
}
