package live_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// readDuring captures a file that is overwritten while it is read.
func readDuring(t *testing.T, c *live.Capturer, dir, name string) ([]byte, live.Result) {
	t.Helper()
	file := writing(t, filepath.Join(dir, name))
	f, err := c.Open(t.Context(), openDir(t, dir), name, live.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	finish := func(scribbleAt int64) ([]byte, live.Result) {
		scribble(t, file, scribbleAt)
		data, err := readAll(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return data, r
	}
	data, r := finish(8000)
	if r.Again {
		if err := f.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		data, r = finish(16000)
	}
	return data, r
}

func wantClone(t *testing.T, data []byte, r live.Result, want []byte) {
	t.Helper()
	if r.State != snapshot.Whole || r.Method != snapshot.MethodReflink || string(data) != string(want) {
		t.Errorf("%d bytes of %d, %+v", len(data), len(want), r)
	}
}

// TestClones makes clones where they are difficult.
func TestClones(t *testing.T) {
	for _, disk := range []string{"xfs", "btrfs"} {
		t.Run(disk, func(t *testing.T) {
			dir := mount(t, disk)
			c := newCapturer(t, live.Options{Now: inAnHour})
			t.Run("plain", func(t *testing.T) {
				fresh(t, dir, "plain")
				data, r := readDuring(t, c, dir, "plain")
				wantClone(t, data, r, generation(1))
			})
			t.Run("folder that can't be written", func(t *testing.T) {
				sub := filepath.Join(dir, "sub")
				if err := os.Mkdir(sub, 0o700); err != nil {
					t.Fatal(err)
				}
				fresh(t, sub, "file")
				setFlag(t, sub, unix.STATX_ATTR_IMMUTABLE)
				data, r := readDuring(t, c, sub, "file")
				wantClone(t, data, r, generation(1))
				setFlag(t, sub, 0)
			})
			t.Run("without copy on write", func(t *testing.T) {
				const noCow = 0x00800000
				if disk != "btrfs" {
					t.Skip("Btrfs only")
				}
				path := filepath.Join(dir, "nocow")
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				setFlag(t, path, noCow)
				fresh(t, dir, "nocow")
				data, r := readDuring(t, c, dir, "nocow")
				wantClone(t, data, r, generation(1))
			})
			t.Run("fragments", func(t *testing.T) {
				want := fragments(t, filepath.Join(dir, "fragments"))
				f, err := c.Open(t.Context(), openDir(t, dir), "fragments", live.Second)
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				_ = writing(t, filepath.Join(dir, "fragments"))
				data, r, err := capture(t.Context(), c, openDir(t, dir), "fragments", live.Second)
				if err != nil || r.Method != snapshot.MethodStable || string(data) != string(want) {
					t.Errorf("at rest: %d bytes, %+v, %v", len(data), r, err)
				}
				data, r = readDuring(t, c, dir, "fragments")
				copy(want[8000:], "scribble")
				wantClone(t, data, r, want)
			})
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 3 && disk == "xfs" || len(left) != 4 && disk == "btrfs" {
				t.Errorf("clones have left something: %v %v", left, err)
			}
		})
	}
}

// setFlag sets one of the flags that chattr sets, and clears the others.
func setFlag(t *testing.T, path string, flag int) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flag); err != nil {
		t.Fatal(err)
	}
}

// fragments writes a file of many extents: every second block is a hole.
func fragments(t *testing.T, path string) []byte {
	t.Helper()
	const extents = 2100
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data := make([]byte, 2*extents*blockLen)
	for i := range uint64(extents) {
		b := block(1, i)
		copy(data[2*i*blockLen:], b)
		if _, err := file.WriteAt(b, int64(2*i*blockLen)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Truncate(int64(len(data))), file.Sync()); err != nil {
		t.Fatal(err)
	}
	return data
}
