package bench

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Workload is a recipe for a folder, and for how it changes.
type Workload struct {
	Name    string
	About   string
	Changes int // how often it changes, one after the other

	make   func(ctx context.Context, p *Prepared) error
	change func(ctx context.Context, p *Prepared, n int) error
	reset  func(p *Prepared) error
}

// Workloads are those that have a name.
func Workloads() []Workload {
	edits := func(w Workload) Workload {
		w.Changes, w.change, w.reset = 1, edit, unedit
		return w
	}
	return []Workload{
		edits(Workload{Name: "linux", About: "the Linux source of Debian's linux-source package, or Go's own where there is none", make: makeLinux}),
		edits(Workload{Name: "small", About: "200,000 pieces of 1 to 4 KiB of the texts in it, none used twice", make: makeSmall}),
		edits(Workload{Name: "media", About: "5,000 incompressible files, 700 MB", make: makeMedia}),
		{Name: "versions", About: "four releases of k8s.io/kubernetes, one in the place of the other", Changes: len(releases()) - 1,
			make: makeVersions, change: nextVersion, reset: firstVersion},
		{Name: "vm", About: "an ext4 image of 2 GiB that holds the Linux source; then files are added to it and removed", Changes: 1, make: makeVM, change: changeVM, reset: unedit},
		edits(Workload{Name: "million", About: "a million files, one in ten of a few bytes and the others empty", make: makeMillion(1_000_000)}),
	}
}

// workloadOf finds a workload by its name; any other name is a folder.
func workloadOf(name string) (Workload, error) {
	for _, w := range Workloads() {
		if w.Name == name {
			return w, nil
		}
	}
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return Workload{}, fmt.Errorf("workload %q: neither a folder nor one of linux, small, media, versions, vm, million", name)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return Workload{}, err
	}
	sum := fnv.New32a()
	sum.Write([]byte(path))
	return Workload{Name: fmt.Sprintf("%s-%08x", filepath.Base(path), sum.Sum32()), About: "a copy of " + path, Changes: 1, change: edit, reset: unedit,
		make: func(ctx context.Context, p *Prepared) error {
			_, err := Measure(ctx, Command{Args: []string{"cp", "-a", path + "/.", p.Tree}})
			return err
		}}, nil
}

// Prepared is a workload that lies on the disk. It stays there for the next run.
type Prepared struct {
	Workload
	Tree  string // what is backed up
	Files int
	Bytes int64

	dir     string // all of it
	undo    string // what stood where something was changed
	what    string // what it was made of
	changed bool
	touched time.Time
}

// settle is how long to wait after a workload was changed: programs read anew what changed in the moments before.
const settle = 3 * time.Second

// next changes the workload for the nth time, from 1 on.
func (p *Prepared) next(ctx context.Context, n int) error {
	p.changed = true
	err := p.change(ctx, p, n)
	p.touched = time.Now()
	return err
}

// restart takes all changes back.
func (p *Prepared) restart() error {
	if !p.changed {
		return nil
	}
	err := p.reset(p)
	p.changed, p.touched = err != nil, time.Now()
	return err
}

// rest reads all files, so that they are in the system's memory for whoever reads them first, and waits until the last change is some time ago.
func (p *Prepared) rest(ctx context.Context) error {
	if err := p.warm(ctx); err != nil {
		return err
	}
	select {
	case <-time.After(time.Until(p.touched.Add(settle))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// doneFile says that a workload is complete, and of what it was made.
const doneFile = "done"

// prepare makes a workload below dir, if it is not there yet.
func prepare(ctx context.Context, w Workload, dir string) (*Prepared, error) {
	p := &Prepared{Workload: w, dir: filepath.Join(dir, "workloads", w.Name)}
	p.Tree, p.undo = filepath.Join(p.dir, "tree"), filepath.Join(p.dir, "undo")
	done := filepath.Join(p.dir, doneFile)
	what, err := os.ReadFile(done)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.RemoveAll(p.dir); err != nil { // what an interrupted run left
			return nil, err
		}
		if err = os.MkdirAll(p.Tree, 0o755); err != nil {
			return nil, err
		}
		if err = w.make(ctx, p); err != nil {
			return nil, fmt.Errorf("make workload %s: %w", w.Name, err)
		}
		what = []byte(p.what)
		err = os.WriteFile(done, what, 0o644)
	}
	if err != nil {
		return nil, err
	}
	if p.what = strings.TrimSpace(string(what)); p.what != "" {
		p.About += " (" + p.what + ")"
	}
	p.changed = true // perhaps: the last run may have been interrupted
	if err := p.restart(); err != nil {
		return nil, fmt.Errorf("reset workload %s: %w", w.Name, err)
	}
	p.Files, p.Bytes, err = count(ctx, p.Tree)
	return p, err
}

// other prepares a workload that this one is made of.
func (p *Prepared) other(ctx context.Context, name string) (*Prepared, error) {
	w, err := workloadOf(name)
	if err != nil {
		return nil, err
	}
	return prepare(ctx, w, filepath.Dir(filepath.Dir(p.dir)))
}

// files goes through the regular files below a folder, in order.
func files(ctx context.Context, dir string, fn func(path string, d fs.DirEntry) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return fn(path, d)
	})
}

// count is how many files there are below a folder, and what they hold.
func count(ctx context.Context, dir string) (n int, size int64, err error) {
	err = files(ctx, dir, func(path string, d fs.DirEntry) error {
		info, err := d.Info()
		if err != nil {
			return err
		}
		n++
		size += info.Size()
		return nil
	})
	return n, size, err
}

func (p *Prepared) warm(ctx context.Context) error {
	buf := make([]byte, 256<<10)
	return files(ctx, p.Tree, func(path string, d fs.DirEntry) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		return err
	})
}

// edit changes one in a hundred files: it replaces a line in the middle, and adds one at the end. The old files go to undo, inodes and all.
func edit(ctx context.Context, p *Prepared, n int) error {
	var paths []string
	err := files(ctx, p.Tree, func(path string, d fs.DirEntry) error {
		paths = append(paths, path)
		return nil
	})
	if err != nil {
		return err
	}
	sort.Slice(paths, func(i, j int) bool { return order(paths[i]) < order(paths[j]) })
	for _, path := range paths[:(len(paths)+99)/100] {
		if err := p.editFile(path, n); err != nil {
			return fmt.Errorf("change %s: %w", path, err)
		}
	}
	return nil
}

// order puts paths into an order that has nothing to do with where they are.
func order(path string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(path))
	return sum.Sum64()
}

func (p *Prepared) editFile(path string, n int) error {
	old, err := p.putAside(path)
	if err != nil {
		return err
	}
	if err := copyFile(path, old); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		line := fmt.Sprintf("\nchange %d of %s\n", n, filepath.Base(path))
		if info.Size() > int64(2*len(line)) {
			_, err = f.WriteAt([]byte(line), info.Size()/2)
		}
		if err == nil {
			_, err = f.WriteAt([]byte(line), info.Size())
		}
	}
	return errors.Join(err, f.Close())
}

// putAside moves a file to undo and returns where it is there.
func (p *Prepared) putAside(path string) (old string, err error) {
	rel, err := filepath.Rel(p.Tree, path)
	if err != nil {
		return "", err
	}
	old = filepath.Join(p.undo, rel)
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		return "", err
	}
	return old, os.Rename(path, old)
}

// copyFile makes a copy with the same mode; long zeros become holes.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); err == nil; {
		var n int
		n, err = io.ReadFull(in, buf)
		if n > 0 && string(buf[:n]) != string(zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		off += int64(n)
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = out.Truncate(info.Size())
	}
	return errors.Join(err, out.Close())
}

// unedit puts back what was put aside.
func unedit(p *Prepared) error {
	err := filepath.WalkDir(p.undo, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.undo, path)
		if err != nil {
			return err
		}
		return os.Rename(path, filepath.Join(p.Tree, rel))
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(p.undo)
}
