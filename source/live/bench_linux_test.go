package live_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"
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

// treeFolder is a folder of a source tree, with its files.
type treeFolder struct {
	path  string
	names []string
}

// benchTree lists a source tree: TARN_BENCH_TREE, or Go's own.
func benchTree(b *testing.B) (folders []treeFolder, files int, bytes int64) {
	root := os.Getenv("TARN_BENCH_TREE")
	if root == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			b.Skip(err)
		}
		root = filepath.Join(strings.TrimSpace(string(out)), "src")
	}
	index := map[string]int{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			index[path] = len(folders)
			folders = append(folders, treeFolder{path: path})
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			i := index[filepath.Dir(path)]
			folders[i].names = append(folders[i].names, d.Name())
			files, bytes = files+1, bytes+info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return folders, files, bytes
}

// BenchmarkTree reads and hashes a source tree, with leases and without. A backup does much more with each file; so the part of its time that
// leases take is less than the difference here.
func BenchmarkTree(b *testing.B) {
	folders, files, bytes := benchTree(b)
	c := newCapturer(b, live.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	buf, hash := make([]byte, 256<<10), blake3.New()
	leased := func(dirfd int, name string) error {
		f, err := c.Open(b.Context(), dirfd, name, live.First)
		if err != nil {
			return err
		}
		defer f.Close()
		for {
			n, err := f.Read(buf)
			hash.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		r, err := f.Finish(b.Context())
		if err == nil && r.Later {
			err = errors.New(r.Reason)
		}
		return err
	}
	plain := func(dirfd int, name string) error {
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		for off := int64(0); off < st.Size; {
			n, err := unix.Pread(fd, buf[:min(int64(len(buf)), st.Size-off)], off)
			if err != nil {
				return err
			}
			hash.Write(buf[:n])
			off += int64(n)
		}
		return nil
	}
	for _, k := range []struct {
		name string
		read func(dirfd int, name string) error
	}{{"plain", plain}, {"leased", leased}} {
		b.Run(k.name, func(b *testing.B) {
			b.SetBytes(bytes)
			begin := cpuTime(b)
			for b.Loop() {
				for _, f := range folders {
					fd, err := unix.Open(f.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
					if err != nil {
						b.Fatal(err)
					}
					for _, name := range f.names {
						if err := k.read(fd, name); err != nil {
							b.Fatal(name, err)
						}
					}
					unix.Close(fd)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "µs/file")
			b.ReportMetric(float64((cpuTime(b)-begin).Microseconds())/float64(b.N*files), "cpu-µs/file")
		})
	}
}

// cpuTime is what this process has used of the processors, which other programs change less than how long it takes.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
