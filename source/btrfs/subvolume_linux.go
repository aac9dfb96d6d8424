//go:build linux && !(mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64)

package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// errNoTop tells that a bind mount shows a part of the subvolume, and nothing else its top.
var errNoTop = errors.New("the top of the subvolume is not mounted anywhere here")

// place is where a folder lies on its file system.
type place struct {
	top  string // a path of the subvolume's top folder
	from string // a folder that the user's paths begin with ...
	rel  string // ... and where that is below top
}

// locate finds the subvolume that holds the folder dir of m.
func locate(m fssnap.Mount, dir string) (place, error) {
	top, err := climb(m.Point, dir)
	if err == nil {
		return place{top: top, from: top}, nil
	}
	if !errors.Is(err, errNoTop) {
		return place{}, err
	}
	mounts, err := fssnap.Mounts()
	if err != nil {
		return place{}, err
	}
	for _, seen := range fssnap.Elsewhere(mounts, m, m.Point) {
		if top, err := climb(seen.Mount.Point, seen.Path); err == nil {
			rel, err := filepath.Rel(top, seen.Path)
			return place{top: top, from: m.Point, rel: rel}, err
		}
	}
	return place{}, errNoTop
}

// climb goes up from dir to the top of its subvolume, but not above the mount point.
func climb(point, dir string) (string, error) {
	var dev uint64
	for at := dir; ; at = filepath.Dir(at) {
		var sf unix.Statfs_t
		var st unix.Stat_t
		err := unix.Statfs(at, &sf)
		if err == nil {
			err = unix.Lstat(at, &st)
		}
		switch {
		case err != nil:
			return "", fmt.Errorf("look at %s: %w", at, err)
		case sf.Type != unix.BTRFS_SUPER_MAGIC || at != dir && st.Dev != dev: // each subvolume has a device number of its own
			return "", errNoTop
		case st.Ino == topInode && st.Mode&unix.S_IFMT == unix.S_IFDIR:
			return at, nil
		case at == point || at == "/":
			return "", errNoTop
		}
		dev = st.Dev
	}
}

// openDir opens a folder that is no symbolic link.
func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// openDirAt opens the folder name in dir.
func openDirAt(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

// folderOf names the folder for snapshots of a user.
func folderOf(uid int) string {
	if uid == 0 {
		return folder
	}
	return folder + "-" + strconv.Itoa(uid)
}

// openFolder opens this user's folder for snapshots at the top of a subvolume. Errors wrap fs.ErrNotExist if there is none. A
// folder that others can reach into is no place for a snapshot.
func openFolder(top *os.File) (*os.File, error) {
	f, err := openDirAt(top, folderOf(os.Geteuid()))
	if err != nil {
		return nil, err
	}
	var above, st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		err = unix.Fstat(int(top.Fd()), &above)
	}
	switch {
	case err != nil:
	case int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0:
		err = fmt.Errorf("%s: not this user's alone", f.Name())
	case st.Dev != above.Dev:
		err = fmt.Errorf("%s: not a plain folder of the subvolume", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeFolder makes the folder that openFolder opens, if need be.
func makeFolder(top *os.File) (*os.File, error) {
	err := unix.Mkdirat(int(top.Fd()), folderOf(os.Geteuid()), 0o700)
	if err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("make a folder for snapshots in %s: %w", top.Name(), err)
	}
	return openFolder(top)
}

// Nested lists the subvolumes below the folder dir that a walk of it meets, however deep, apart from tarn's own snapshots. What is
// mounted below dir shows in the mount table instead.
func Nested(ctx context.Context, dir string) ([]Subvolume, error) {
	list, err := nestedIn(dir)
	if err != nil {
		return nil, fmt.Errorf("list nested subvolumes: %w", err)
	}
	for i := 0; i < len(list); i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found, err := nestedIn(list[i].Path)
		switch {
		case errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist):
			continue // a walk does not get there either
		case err != nil:
			return nil, fmt.Errorf("list nested subvolumes: %w", err)
		}
		list = append(list, found...)
	}
	return list, nil
}

// nestedIn lists the subvolumes that stand in the same subvolume as the folder path, below it.
func nestedIn(path string) (list []Subvolume, err error) {
	f, err := openDir(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	children, err := childrenOf(f)
	if err != nil {
		return nil, err
	}
	for _, c := range children {
		if IsFolder(filepath.Base(filepath.Dir(filepath.Join(path, c.path)))) {
			continue
		}
		s := Subvolume{Path: filepath.Join(path, c.path), ID: c.id}
		f, err := openDir(s.Path)
		if errors.Is(err, fs.ErrPermission) { // a snapshot shows an empty folder there, which no walk may take for this
			list = append(list, s)
		}
		if err != nil {
			continue
		}
		info, err := infoOf(f)
		f.Close()
		// Something else may be mounted over the subvolume. Then the walk meets that, and the mount table tells of it.
		if err != nil || info.id != c.id {
			continue
		}
		s.ReadOnly, s.Snapshot = info.flags&rootReadOnly != 0, !info.parentUUID.isZero()
		list = append(list, s)
	}
	return list, nil
}
