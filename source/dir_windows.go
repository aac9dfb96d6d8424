package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tarn-backup/tarn/snapshot"
)

// Dir is a folder. On Windows it is a path.
type Dir struct{ path string }

// OpenMax is how many folders may be open at once; nothing bounds them here.
func OpenMax() int { return 1 << 20 }

// OpenDir opens a folder by its path.
func OpenDir(path string) (*Dir, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return &Dir{path}, nil
}

// Open opens a folder in d.
func (d *Dir) Open(name string) (*Dir, error) { return OpenDir(filepath.Join(d.path, name)) }

// Path is where the folder is.
func (d *Dir) Path() string { return d.path }

// FD is -1: there is no descriptor.
func (d *Dir) FD() int { return -1 }

// Hold keeps d open.
func (d *Dir) Hold() *Dir { return d }

// Release gives d back.
func (d *Dir) Release() {}

// List returns the names in the folder, ascending bytewise.
func (d *Dir) List() ([]string, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return slices.Compact(names), err
}

// Lstat says what an entry is.
func (d *Dir) Lstat(name string) (Stat, error) {
	info, err := os.Lstat(filepath.Join(d.path, name))
	if err != nil {
		return Stat{}, err
	}
	return fromInfo(info), nil
}

// Stat says what the folder itself is.
func (d *Dir) Stat() (Stat, error) {
	info, err := os.Stat(d.path)
	if err != nil {
		return Stat{}, err
	}
	return fromInfo(info), nil
}

// fromInfo has no change time and no inode, so that nothing is taken for unchanged by them.
func fromInfo(info fs.FileInfo) Stat {
	s := Stat{Mode: uint16(info.Mode().Perm()), Size: uint64(info.Size()), Links: 1,
		ModTime: snapshot.Time{Sec: info.ModTime().Unix(), Nsec: uint32(info.ModTime().Nanosecond())}}
	switch {
	case info.Mode().IsRegular():
		s.Type = snapshot.File
	case info.IsDir():
		s.Type = snapshot.Dir
	case info.Mode()&fs.ModeSymlink != 0:
		s.Type = snapshot.Symlink
	}
	return s
}

// Readlink returns a symbolic link's target.
func (d *Dir) Readlink(name string) (string, error) { return os.Readlink(filepath.Join(d.path, name)) }

// OpenFile opens a regular file for reading.
func (d *Dir) OpenFile(name string) (*os.File, error) { return os.Open(filepath.Join(d.path, name)) }

// IsGone reports whether err says that an entry went away since its folder was listed.
func IsGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Reason says what went wrong without naming the path again.
func Reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Op + ": " + p.Err.Error()
	}
	return err.Error()
}

// Lstat says what the entry at a path is.
func Lstat(path string) (Stat, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Stat{}, err
	}
	return fromInfo(info), nil
}
