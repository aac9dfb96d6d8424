package live_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// holed makes a file of data and holes: some of the data was written, some stored to a mapping, some written into blocks that were
// allocated before. Nothing of it is on disk yet.
func holed(t *testing.T, path string) (content []byte) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	const size = 24<<20 + 333
	f, err := os.Create(path)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, size/2, size/8)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	content = make([]byte, size)
	for at := 0; at < size; at += 1 + rng.IntN(1<<20) {
		data := content[at:min(size, at+1+rng.IntN(64<<10))]
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			copy(mapped[at:], data)
		} else if _, err := f.WriteAt(data, int64(at)); err != nil {
			t.Fatal(err)
		}
		at += len(data)
	}
	return content
}

// readBytes is how many bytes this process has read by system calls.
func readBytes(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err == nil {
		_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// passOver reads like a stream that passes over the holes.
func passOver(r io.Reader) (got []byte, err error) {
	var buf [4 << 10]byte
	for {
		n, err := r.Read(buf[:])
		got = append(got, buf[:n]...)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, make([]byte, r.(chunker.ZeroSkipper).SkipZeros())...)
	}
}

// TestHoles reads files with holes, as they are while they are used and from a file system that is held still: with all bytes, and without
// reading the holes.
func TestHoles(t *testing.T) {
	for _, disk := range []string{"ext4", "xfs", "btrfs", "tmpfs"} {
		t.Run(disk, func(t *testing.T) {
			dir := mount(t, disk)
			c := newCapturer(t, live.Options{Now: inAnHour})
			both := func(name string, see func(r io.Reader)) {
				t.Helper()
				f, err := c.Open(t.Context(), openDir(t, dir), name, live.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				see(f)
				if r, err := f.Finish(t.Context()); err != nil || r.State != snapshot.Whole {
					t.Errorf("%+v, %v", r, err)
				}
				held, err := os.Open(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				defer held.Close()
				see(live.PassHoles(held))
			}
			want := holed(t, filepath.Join(dir, "holed"))
			for name, read := range map[string]func(io.Reader) ([]byte, error){"read": readAll, "passed over": passOver} {
				both("holed", func(r io.Reader) {
					if got, err := read(r); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
					}
				})
			}
			const large = 256 << 20
			err := os.WriteFile(filepath.Join(dir, "large"), []byte("data"), 0o600)
			if err == nil {
				err = os.Truncate(filepath.Join(dir, "large"), large)
			}
			if err != nil {
				t.Fatal(err)
			}
			both("large", func(r io.Reader) {
				var head [64 << 10]byte
				n, err := io.ReadFull(r, head[:])
				hole := r.(chunker.ZeroSkipper).SkipZeros()
				if more, end := r.Read(head[:]); err != nil || int64(n)+hole != large || more > 0 || end != io.EOF {
					t.Errorf("%d bytes, %v; then a hole of %d, and %d more bytes, %v", n, err, hole, more, end)
				}
			})
			both("large", func(r io.Reader) {
				before := readBytes(t)
				n, err := io.Copy(io.Discard, r)
				if err != nil || n != large {
					t.Errorf("%d bytes, %v", n, err)
				}
				if read := readBytes(t) - before; read > large/16 {
					t.Errorf("%d bytes were read", read)
				}
			})
		})
	}
}

// TestHoleCut cuts a file short while a hole of it is read: it is not filled up with zeros, but found to have changed.
func TestHoleCut(t *testing.T) {
	dir := mount(t, "ext4")
	path := filepath.Join(dir, "cut")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8<<20); err != nil {
		t.Fatal(err)
	}
	writing(t, path) // so that there is no lease, which would keep who cuts it waiting
	c := newCapturer(t, live.Options{Now: inAnHour})
	f, err := c.Open(t.Context(), openDir(t, dir), "cut", live.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	if r, err := f.Finish(t.Context()); err != nil || !r.Again && r.State == snapshot.Whole {
		t.Errorf("%+v, %v", r, err)
	}
}
