//go:build linux

package fssnaptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How a kind of writer saves. The name stands in the file's name, so that the checker knows what to expect.
const (
	inPlace  = "inplace"  // one write over the old content
	chunks   = "chunks"   // many writes over the old content, front to back
	truncate = "truncate" // emptied, then one write
	rename   = "rename"   // a new file, renamed over the old one
	mapped   = "mapped"   // stores to a shared mapping, front to back
	grow     = "append"   // numbers 1, 2, 3 and so on, added at the end
	pair     = "pair"     // two files: the first is written before the second
	move     = "move"     // a file that goes to and fro between two folders
)

// Writers are programs that save while a snapshot is taken.
type Writers struct {
	// Dir is where they write.
	Dir string
	// Size of each file in bytes, a multiple of 8.
	Size int
	// Each is how many writers of each kind there are.
	Each int
	// Rest is the longest pause between two saves. Each pause is somewhere between none and this.
	Rest time.Duration
	// Seed chooses the pauses.
	Seed uint64
}

// Start starts the writers. Each has saved once when it returns. They end with the test, or when stop is called.
func (w Writers) Start(t testing.TB) (stop func()) {
	t.Helper()
	ends := make(chan struct{})
	var running, saved sync.WaitGroup
	for _, dir := range []string{"here", "there"} {
		if err := os.MkdirAll(filepath.Join(w.Dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range w.Each {
		for k, kind := range []string{inPlace, chunks, truncate, rename, mapped, grow, pair, move} {
			save, closeAll, err := w.writer(kind, i)
			if err != nil {
				t.Fatal(err)
			}
			running.Add(1)
			saved.Add(1)
			random := rand.New(rand.NewPCG(w.Seed, uint64(i*100+k)))
			go func() {
				defer running.Done()
				defer closeAll()
				for g := uint64(1); ; g++ {
					if err := save(g); err != nil {
						t.Errorf("writer %s %d: %v", kind, i, err)
					}
					if g == 1 {
						saved.Done()
					}
					select {
					case <-ends:
						return
					case <-time.After(time.Duration(random.Int64N(int64(w.Rest) + 1))):
					}
				}
			}()
		}
	}
	saved.Wait()
	stop = sync.OnceFunc(func() { close(ends); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// writer returns what saves generation g of the file, or files, of one writer.
func (w Writers) writer(kind string, i int) (save func(g uint64) error, closeAll func() error, err error) {
	path := filepath.Join(w.Dir, fmt.Sprintf("%s-%d", kind, i))
	whole := func(path string, flags int) func(uint64) error {
		return func(g uint64) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o644)
			if err != nil {
				return err
			}
			_, err = f.Write(content(g, w.Size))
			return errors.Join(err, f.Close())
		}
	}
	nothing := func() error { return nil }
	switch kind {
	case inPlace:
		return whole(path, 0), nothing, nil
	case truncate:
		return whole(path, os.O_TRUNC), nothing, nil
	case rename:
		save := whole(path+".new", 0)
		return func(g uint64) error { return errors.Join(save(g), os.Rename(path+".new", path)) }, nothing, nil
	case pair:
		first, second := whole(path+"-a", 0), whole(path+"-b", 0)
		return func(g uint64) error { return errors.Join(first(g), second(g)) }, nothing, nil
	case move:
		names := [2]string{filepath.Join(w.Dir, "here", filepath.Base(path)), filepath.Join(w.Dir, "there", filepath.Base(path))}
		return func(g uint64) error {
			if g == 1 {
				return whole(names[1], 0)(1)
			}
			return os.Rename(names[(g-1)%2], names[g%2])
		}, nothing, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case chunks:
		return func(g uint64) error {
			data := content(g, w.Size)
			for at := 0; at < len(data); at += len(data) / 8 {
				if _, err := f.WriteAt(data[at:min(at+len(data)/8, len(data))], int64(at)); err != nil {
					return err
				}
			}
			return nil
		}, f.Close, nil
	case grow:
		return func(g uint64) error { _, err := f.Write(binary.NativeEndian.AppendUint64(nil, g)); return err }, f.Close, nil
	}
	if err := f.Truncate(int64(w.Size)); err != nil {
		return nil, nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, w.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), w.Size/8)
	return func(g uint64) error {
		for i := range words {
			words[i] = g
		}
		return nil
	}, func() error { return errors.Join(unix.Munmap(memory), f.Close()) }, nil
}

func content(g uint64, size int) []byte {
	b := make([]byte, 0, size)
	for len(b) < size {
		b = binary.NativeEndian.AppendUint64(b, g)
	}
	return b
}
