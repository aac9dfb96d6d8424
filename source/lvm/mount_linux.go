package lvm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mount mounts a snapshot volume read-only, on a folder if it has to be, and opens its top.
func (p Provider) mount(v volume, fsType string) (root *os.File, point string, err error) {
	for _, options := range mountOptions(fsType) {
		if p.Folder == "" {
			root, err = mountNowhere(v.Path, fsType, options)
		}
		if p.Folder != "" || errors.Is(err, unix.ENOSYS) {
			root, point, err = mountOn(filepath.Join(cmp.Or(p.Folder, folderLegacy), v.Name), v.Path, fsType, options)
		}
		if err == nil {
			return root, point, nil
		}
	}
	return nil, "", err
}

// mountNowhere mounts a device without a place: the mount lasts as long as the file.
func mountNowhere(device, fsType string, options []string) (*os.File, error) {
	fs, err := fsopen(fsType)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", device, err)
	}
	defer unix.Close(fs)
	err = unix.FsconfigSetString(fs, "source", device)
	for _, option := range append([]string{"ro"}, options...) {
		err = errors.Join(err, unix.FsconfigSetFlag(fs, option))
	}
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w%s", device, err, complaint(fs))
	}
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC |
		unix.MOUNT_ATTR_NOATIME
	mount, _, errno := unix.Syscall(unix.SYS_FSMOUNT, uintptr(fs), unix.FSMOUNT_CLOEXEC, attributes)
	if errno != 0 {
		return nil, fmt.Errorf("mount %s: %w", device, errno)
	}
	// The descriptor of a mount is one of those that only name a place (O_PATH), and does all that is needed of it here.
	return os.NewFile(mount, device), nil
}

func fsopen(fsType string) (int, error) {
	name, err := unix.BytePtrFromString(fsType)
	if err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_FSOPEN, uintptr(unsafe.Pointer(name)), unix.FSOPEN_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// complaint returns what the file system has to say about a mount that it refused.
func complaint(fs int) string {
	buf := make([]byte, 1024)
	n, err := unix.Read(fs, buf)
	if err != nil || n <= 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(buf[:n]))
}

// mountOn mounts a device on a folder that it makes.
func mountOn(point, device, fsType string, options []string) (*os.File, string, error) {
	if err := os.MkdirAll(point, 0o700); err != nil {
		return nil, "", err
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME
	if err := unix.Mount(device, point, fsType, flags, strings.Join(options, ",")); err != nil {
		os.Remove(point)
		return nil, "", fmt.Errorf("mount %s on %s: %w", device, point, err)
	}
	root, err := os.OpenFile(point, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", errors.Join(err, unmount(context.Background(), point))
	}
	return root, point, nil
}

// unmount unmounts a folder and removes it. A file that was just closed may keep it busy for a moment.
func unmount(ctx context.Context, point string) error {
	err := insist(context.WithoutCancel(ctx), func() error { return unix.Unmount(point, unix.UMOUNT_NOFOLLOW) })
	if err != nil {
		return fmt.Errorf("unmount %s: %w", point, err)
	}
	return os.Remove(point)
}
