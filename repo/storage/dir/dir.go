package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/tarn-backup/tarn/repo/storage"
)

const (
	fileMode   = 0o600
	folderMode = 0o700
	tempFolder = "tmp"
)

// Dir is a storage.Storage in a folder. Many goroutines and processes may use it at once.
type Dir struct {
	path    string
	session string // label for the names of temporaries, or empty
	disk    disk
	folders *folders // shared by all that WithSession returned
}

// Create makes the folder, with its parents, unless it is there, and opens it. An interrupted Create can be repeated.
func Create(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := makePath(path, syncPath); err != nil {
		return nil, fmt.Errorf("create folder %s: %w", path, err)
	}
	return Open(path)
}

// Open opens a folder, which must be there: an error that wraps storage.ErrNotExist says that it is not. It changes nothing, so a
// repository that can't be written to can be opened and read.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return over(rootDisk{root}, path), nil
}

// over returns a Dir on any disk. The tests have a simulated one.
func over(d disk, path string) *Dir {
	return &Dir{path: path, disk: d, folders: &folders{}}
}

// Path returns the absolute path of the folder.
func (d *Dir) Path() string { return d.path }

// Close closes the folder, for all that WithSession returned too. Their methods fail from then on.
func (d *Dir) Close() error { return d.disk.Close() }

// WithSession returns the same store; its temporaries carry label. See storage.Cleaner.
func (d *Dir) WithSession(label string) storage.Storage {
	if !storage.ValidLabel(label) {
		panic(fmt.Sprintf("dir: session label %q", label))
	}
	with := *d
	with.session = label
	return &with
}

// folders remembers which folders are known to be durable: made, and their parents synced by this process since then.
type folders struct {
	mu      sync.Mutex
	durable map[string]struct{}
}

func (f *folders) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.durable[name]
	return ok
}

func (f *folders) add(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.durable == nil {
		f.durable = make(map[string]struct{})
	}
	f.durable[name] = struct{}{}
}

func (f *folders) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable = nil
}

// makePath makes the folder at an absolute path and the parents that are missing, and calls sync for each folder that got a new
// entry, or may have got one by an earlier call, from the top down.
func makePath(path string, sync func(folder string) error) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	case err == nil:
		// Maybe an interrupted Create made it and came no further. A parent that we may not read is somebody else's care.
		if err := sync(filepath.Dir(path)); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makePath(parent, sync); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return sync(parent)
}

func syncPath(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	return rootDisk{root}.SyncFolder(".")
}

// retry calls op until it is not interrupted by a signal. Go's runtime interrupts system calls with signals of its own;
// package os begins most calls again, but not all of them, and network mounts return EINTR where local file systems never
// do.
func retry(op func() error) error {
	for {
		if err := op(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// check returns what stands in the way of an operation before it has begun.
func check(ctx context.Context, invalid error) error {
	if invalid != nil {
		return invalid
	}
	return ctx.Err()
}
