package live_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/live"
)

const benchFiles = 1000

func benchFolder(b *testing.B) (dirfd int, names []string) {
	dir := b.TempDir()
	for i := range benchFiles {
		name := fmt.Sprint(i)
		if err := os.WriteFile(filepath.Join(dir, name), block(1, 0), 0o600); err != nil {
			b.Fatal(err)
		}
		names = append(names, name)
	}
	return openDir(b, dir), names
}

// BenchmarkCapture opens, reads and closes a small file that nobody has open.
func BenchmarkCapture(b *testing.B) {
	dirfd, names := benchFolder(b)
	c := newCapturer(b, live.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	buf := make([]byte, 2*blockLen)
	for i := 0; b.Loop(); i++ {
		f, err := c.Open(b.Context(), dirfd, names[i%benchFiles], live.First)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := f.Read(buf); n != blockLen {
			b.Fatal(n, err)
		}
		if r, err := f.Finish(b.Context()); err != nil || r.Later {
			b.Fatal(r, err)
		}
		f.Close()
	}
}

// BenchmarkPlain does the same and nothing for proof: its difference to BenchmarkCapture is what a lease costs.
func BenchmarkPlain(b *testing.B) {
	dirfd, names := benchFolder(b)
	buf := make([]byte, 2*blockLen)
	for i := 0; b.Loop(); i++ {
		fd, err := unix.Openat(dirfd, names[i%benchFiles], unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
		if err != nil {
			b.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			b.Fatal(err)
		}
		if n, err := unix.Pread(fd, buf, 0); n != blockLen {
			b.Fatal(n, err)
		}
		unix.Close(fd)
	}
}
