//go:build linux && !(mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64)

package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// ownerSuffix is what the file that marks a snapshot has behind the snapshot's name.
const ownerSuffix = ".owner"

// markSizeMax bounds what is read of a mark: a line that names the owner, a line with the UUID of the origin.
const markSizeMax = 256

// writeMark writes the mark of the snapshot name. It gets its name when it is whole, so that a crash leaves no half of one.
func writeMark(folder *os.File, name string, origin uuid) error {
	self, err := fssnap.Self()
	if err != nil {
		return err
	}
	path := filepath.Join(folder.Name(), name+ownerSuffix)
	fd, err := unix.Openat(int(folder.Fd()), ".", unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("mark a snapshot: %w", &os.PathError{Op: "create", Path: path, Err: err})
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s\n%s\n", self, origin); err != nil {
		return fmt.Errorf("mark a snapshot: %w", err)
	}
	whole := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := unix.Linkat(unix.AT_FDCWD, whole, int(folder.Fd()), name+ownerSuffix, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("mark a snapshot: %w", &os.PathError{Op: "link", Path: path, Err: err})
	}
	return nil
}

// readMark returns the owner and the origin's UUID, as text, that the mark of a snapshot names.
func readMark(folder *os.File, name string) (owner fssnap.Owner, origin string, err error) {
	fd, err := unix.Openat(int(folder.Fd()), name+ownerSuffix, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return owner, "", &os.PathError{Op: "open", Path: filepath.Join(folder.Name(), name+ownerSuffix), Err: err}
	}
	f := os.NewFile(uintptr(fd), name+ownerSuffix)
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, markSizeMax))
	if err != nil {
		return owner, "", err
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 3 || lines[2] != "" {
		return owner, "", errors.New("the mark is damaged")
	}
	owner, err = fssnap.ParseOwner(lines[0])
	return owner, lines[1], err
}

func removeMark(folder *os.File, name string) error {
	err := unix.Unlinkat(int(folder.Fd()), name+ownerSuffix, 0)
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove the mark of %s: %w", name, err)
	}
	return nil
}

// doubt says why the entry name of a folder is not proven to be a snapshot by tarn of the subvolume origin; empty if it is. The
// error wraps fs.ErrNotExist if there is no such entry.
func doubt(folder *os.File, name string, origin uuid) (string, error) {
	top, err := openDirAt(folder, name)
	if err != nil {
		return "", err
	}
	defer top.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return "", err
	}
	if st.Ino != topInode {
		return "it is a folder, not a subvolume", nil
	}
	info, err := infoOf(top)
	if err != nil {
		return "", err
	}
	_, marked, err := readMark(folder, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it has no mark", nil
	case err != nil:
		return "its mark can't be read: " + err.Error(), nil
	case info.parentUUID.isZero() || info.parentUUID != origin:
		return "it is not a snapshot of the subvolume around it", nil
	case marked != origin.String():
		return "its mark names another origin", nil
	case !info.receivedUUID.isZero():
		return "it was received from elsewhere", nil
	}
	return "", nil
}

// remove deletes the snapshot name and its mark, having proven it to be tarn's snapshot of origin. What is gone already is no error.
func remove(folder *os.File, name string, origin uuid) error {
	why, err := doubt(folder, name, origin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return removeMark(folder, name)
	case err != nil:
		return err
	case why != "":
		return fmt.Errorf("%w: %s", fssnap.ErrDoubt, why)
	}
	if !fssnap.Root() {
		top, err := openDirAt(folder, name)
		if err != nil {
			return err
		}
		err = makeWritable(top)
		top.Close()
		if err != nil {
			return fmt.Errorf("make %s writable: %w", name, err)
		}
	}
	if err := destroy(folder, name); err != nil && err != unix.ENOENT {
		return fmt.Errorf("delete subvolume %s: %w", name, err)
	}
	return removeMark(folder, name)
}

// Leftovers looks into this user's folder for snapshots at the top of each subvolume that is mounted, or nested in one that is. What
// can't be looked into, perhaps since it was unmounted meanwhile, keeps no other from being looked into.
func (Provider) Leftovers(ctx context.Context, mounts []fssnap.Mount) (list []fssnap.Leftover, err error) {
	seen := make(map[uuid]bool)
	var errs []error
	for _, m := range mounts {
		if m.FSType != "btrfs" {
			continue
		}
		at, err := locate(m, m.Point)
		if err != nil {
			continue // bind mounts of files, and mounts that are hidden by others, hold no folder of ours
		}
		nested, err := Nested(ctx, at.top)
		errs = append(errs, err)
		for _, s := range append(nested, Subvolume{Path: at.top}) {
			found, err := leftoversIn(s.Path, seen)
			list = append(list, found...)
			if err != nil {
				errs = append(errs, fmt.Errorf("btrfs: list leftovers in %s: %w", s.Path, err))
			}
		}
	}
	return list, errors.Join(errs...)
}

// leftoversIn lists the leftovers at the top of one subvolume, unless it was seen before.
func leftoversIn(path string, seen map[uuid]bool) (list []fssnap.Leftover, err error) {
	top, err := openDir(path)
	if err != nil {
		return nil, nil // not ours to read, so we left nothing there
	}
	defer top.Close()
	info, err := infoOf(top)
	if err != nil || seen[info.uuid] {
		return nil, err
	}
	seen[info.uuid] = true
	dir, err := openFolder(top)
	if err != nil {
		return nil, nil // none there, or one that this user did not make
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	names := make(map[fssnap.Name]bool)
	for _, e := range entries {
		name, err := fssnap.ParseName(strings.TrimSuffix(e.Name(), ownerSuffix))
		if err != nil || names[name] {
			continue
		}
		names[name] = true
		l, err := describe(dir, path, name, info.uuid)
		if err != nil {
			return list, err
		}
		list = append(list, l)
	}
	return list, nil
}

// describe makes the leftover of one name: a snapshot, or a mark that was left alone.
func describe(dir *os.File, top string, name fssnap.Name, origin uuid) (fssnap.Leftover, error) {
	l := fssnap.Leftover{Kind: fssnap.Btrfs, Name: name, Where: filepath.Join(dir.Name(), name.String())}
	why, err := doubt(dir, name.String(), origin)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	l.Doubt = why
	if owner, _, err := readMark(dir, name.String()); err == nil {
		l.Life = owner.Life()
	}
	l.Destroy = func(context.Context) error {
		above, err := openDir(top)
		if err != nil {
			return err
		}
		defer above.Close()
		dir, err := openFolder(above)
		if err != nil {
			return err
		}
		defer dir.Close()
		return remove(dir, name.String(), origin)
	}
	return l, nil
}
