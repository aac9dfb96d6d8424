package dir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// disk is what Dir does to a file system, one method for each step that a power cut can come between. Names are relative to the
// store's folder, with slashes; "." is that folder itself. Files that Open returns are io.ReaderAt, folders fs.ReadDirFile.
type disk interface {
	fs.StatFS // Stat does not follow links
	io.Closer
	// Create makes a new file, and fails if there is one.
	Create(name string) (file, error)
	// SyncFile makes the bytes of a file durable that others may have written.
	SyncFile(name string) error
	// Place renames a file to a name that is free; it wraps fs.ErrExist if it is not, and errors.ErrUnsupported where there
	// is no such call.
	Place(from, to string) error
	// Rename renames a file, also over another.
	Rename(from, to string) error
	Mkdir(name string) error
	// SyncFolder makes durable which names a folder has.
	SyncFolder(name string) error
	// Remove removes a file, never a folder.
	Remove(name string) error
}

// file is a file that is being written.
type file interface {
	io.WriteCloser
	Sync() error
}

// rootDisk is the real disk, below an open folder.
type rootDisk struct{ root *os.Root }

func (d rootDisk) Close() error { return d.root.Close() }

func (d rootDisk) Open(name string) (fs.File, error) {
	f, err := d.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err // not f, which would be a nil pointer in an interface
	}
	return f, nil
}

func (d rootDisk) Stat(name string) (fs.FileInfo, error) {
	return d.root.Lstat(filepath.FromSlash(name))
}

func (d rootDisk) Create(name string) (file, error) {
	f, err := d.root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	return &rootFile{File: f}, nil
}

func (d rootDisk) SyncFile(name string) error {
	f, err := d.root.OpenFile(filepath.FromSlash(name), syncFileFlags, 0)
	if err != nil {
		return err
	}
	return errors.Join(syncFile(f), f.Close())
}

func (d rootDisk) Place(from, to string) error {
	return renameToFree(d.root, filepath.FromSlash(from), filepath.FromSlash(to))
}

func (d rootDisk) Rename(from, to string) error {
	return d.root.Rename(filepath.FromSlash(from), filepath.FromSlash(to))
}

func (d rootDisk) Mkdir(name string) error { return d.root.Mkdir(filepath.FromSlash(name), folderMode) }

func (d rootDisk) SyncFolder(name string) error { return syncFolder(d.root, filepath.FromSlash(name)) }

func (d rootDisk) Remove(name string) error {
	// os.Root removes empty folders as well, but a folder is no object.
	info, err := d.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	return d.root.Remove(filepath.FromSlash(name))
}

// rootFile is a file that is written past the page cache where that pays, and else begun to be written before it is synced.
type rootFile struct {
	*os.File
	direct direct
	off    int64
}

func (f *rootFile) Write(p []byte) (int, error) {
	past, err := f.direct.write(f.File, p, f.off)
	f.off += int64(past)
	if err != nil || past == len(p) {
		return past, err
	}
	n, err := f.File.Write(p[past:])
	if n >= stepSize { // a small object is not worth a call
		startWriteback(f.File, f.off, int64(n))
	}
	f.off += int64(n)
	return past + n, err
}

func (f *rootFile) Sync() error { return syncFile(f.File) }

// noFolderSync reports whether an fsync of a folder failed because the file system has none, which is no failure.
func noFolderSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}
