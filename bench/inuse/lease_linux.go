package inuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/live"
)

// Spent is what something took.
type Spent struct {
	Wall time.Duration `json:"wall_ns"`
	CPU  time.Duration `json:"cpu_ns"`
}

// LeaseCost is what one round found out.
type LeaseCost struct {
	Files  int   `json:"files"`
	Plain  Spent `json:"plain"`  // to read and hash all files
	Leased Spent `json:"leased"` // the same, each under a lease
	Backup Spent `json:"backup"` // a first backup of them
}

// Shares are the parts of a backup that leases take, of its time if nothing else is done meanwhile, and of the processors.
func (c *LeaseCost) Shares() (wall, cpu float64) {
	return float64(c.Leased.Wall-c.Plain.Wall) / float64(c.Backup.Wall), float64(c.Leased.CPU-c.Plain.CPU) / float64(c.Backup.CPU)
}

// sourceFolder is a folder of a tree, with its regular files.
type sourceFolder struct {
	path  string
	names []string
}

// listTree lists all folders of a tree.
func listTree(tree string) (folders []sourceFolder, files int, err error) {
	index := map[string]int{}
	err = filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			index[path] = len(folders)
			folders = append(folders, sourceFolder{path: path})
		case d.Type().IsRegular():
			f := &folders[index[filepath.Dir(path)]]
			f.names, files = append(f.names, d.Name()), files+1
		}
		return nil
	})
	return folders, files, err
}

// MeasureLeases reads a tree that nobody writes to with leases and without, in turns, and backs it up. In a backup several files are read at
// once, so its time can grow by less than the difference.
func MeasureLeases(ctx context.Context, tree, scratch string, tool Tool, rounds int, each func(*LeaseCost)) error {
	folders, files, err := listTree(tree)
	if err != nil {
		return err
	}
	c, err := live.New(live.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	r := &treeReader{capturer: c, hash: blake3.New(), buf: make([]byte, 256<<10)}
	if _, err := r.spend(ctx, folders, r.plain); err != nil { // so that all rounds find the files in memory
		return err
	}
	for n := range rounds {
		cost := &LeaseCost{Files: files}
		first, second := r.plain, r.leased
		into := [2]*Spent{&cost.Plain, &cost.Leased}
		if n%2 == 1 {
			first, second = r.leased, r.plain
			into = [2]*Spent{&cost.Leased, &cost.Plain}
		}
		for i, read := range []func(context.Context, int, string) error{first, second} {
			if *into[i], err = r.spend(ctx, folders, read); err != nil {
				return err
			}
		}
		if cost.Backup, err = backupOnce(ctx, tool, scratch, tree); err != nil {
			return err
		}
		each(cost)
	}
	return nil
}

func backupOnce(ctx context.Context, tool Tool, scratch, tree string) (Spent, error) {
	repo, err := os.MkdirTemp(scratch, "inuse-lease-")
	if err != nil {
		return Spent{}, err
	}
	defer os.RemoveAll(repo)
	return spent(unix.RUSAGE_CHILDREN, func() error { return tool.Backup(ctx, repo, tree) })
}

// treeReader reads a tree as a backup does that only hashes.
type treeReader struct {
	capturer *live.Capturer
	hash     *blake3.Hasher
	buf      []byte
}

func (r *treeReader) spend(ctx context.Context, folders []sourceFolder, read func(context.Context, int, string) error) (Spent, error) {
	return spent(unix.RUSAGE_SELF, func() error {
		for _, f := range folders {
			dirfd, err := unix.Open(f.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %s: %w", f.path, err)
			}
			for _, name := range f.names {
				if err = read(ctx, dirfd, name); err != nil {
					err = fmt.Errorf("read %s/%s: %w", f.path, name, err)
					break
				}
			}
			if err := errors.Join(err, unix.Close(dirfd), ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *treeReader) leased(ctx context.Context, dirfd int, name string) error {
	f, err := r.capturer.Open(ctx, dirfd, name, live.First)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyBuffer(r.hash, struct{ io.Reader }{f}, r.buf); err != nil {
		return err
	}
	result, err := f.Finish(ctx)
	if err == nil && (result.Later || result.Method.String() != "lease") {
		err = fmt.Errorf("no lease: %v %s", result.Method, result.Reason)
	}
	return err
}

func (r *treeReader) plain(_ context.Context, dirfd int, name string) error {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOATIME, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	for off := int64(0); off < st.Size; {
		n, err := unix.Pread(fd, r.buf[:min(int64(len(r.buf)), st.Size-off)], off)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		_, _ = r.hash.Write(r.buf[:n])
		off += int64(n)
	}
	return nil
}

// spent measures fn; who is RUSAGE_SELF, or RUSAGE_CHILDREN for the programs that it starts.
func spent(who int, fn func() error) (Spent, error) {
	cpu := func() time.Duration {
		var u unix.Rusage
		_ = unix.Getrusage(who, &u) // fails for no who that is used here
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	wall, was := time.Now(), cpu()
	err := fn()
	return Spent{time.Since(wall), cpu() - was}, err
}

// LeaseTable prints the rounds for people.
func LeaseTable(w io.Writer, rounds []*LeaseCost) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "round\tfiles\tplain s\tleased s\tbackup s\tshare %\tplain cpu\tleased cpu\tbackup cpu\tshare %\tcpu µs a file\t")
	for i, c := range rounds {
		wall, cpu := c.Shares()
		fmt.Fprintf(t, "%d\t%d\t%.2f\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t\n", i+1, c.Files, c.Plain.Wall.Seconds(), c.Leased.Wall.Seconds(),
			c.Backup.Wall.Seconds(), 100*wall, c.Plain.CPU.Seconds(), c.Leased.CPU.Seconds(), c.Backup.CPU.Seconds(), 100*cpu,
			float64((c.Leased.CPU-c.Plain.CPU).Nanoseconds())/1e3/float64(max(c.Files, 1)))
	}
	return t.Flush()
}
