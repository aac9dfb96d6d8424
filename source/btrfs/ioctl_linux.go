//go:build linux && !(mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64)

package btrfs

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests of linux/btrfs.h, as all machines but the excluded ones number them.
const (
	iocSnapDestroy      = 0x5000940f
	iocSnapCreateV2     = 0x50009417
	iocSubvolGetFlags   = 0x80089419
	iocSubvolSetFlags   = 0x4008941a
	iocGetSubvolInfo    = 0x81f8943c
	iocGetSubvolRootref = 0xd000943d
	iocInoLookupUser    = 0xd000943e
)

const (
	flagReadOnly  = 1 << 1 // BTRFS_SUBVOL_RDONLY, in requests
	rootReadOnly  = 1 << 0 // BTRFS_ROOT_SUBVOL_RDONLY, in what GET_SUBVOL_INFO reports
	topInode      = 256    // of the top folder of each subvolume
	rootrefsMax   = 255    // in one answer of GET_SUBVOL_ROOTREF
	nameMax       = 255
	userPathMax   = 4080 - nameMax - 1
	argsNameMax   = 4087
	argsV2NameMax = 4039
)

// uuid names a subvolume on its file system, and on any other.
type uuid [16]byte

func (u uuid) isZero() bool   { return u == uuid{} }
func (u uuid) String() string { return fmt.Sprintf("%x", u[:]) }

// volArgs is btrfs_ioctl_vol_args.
type volArgs struct {
	fd   int64
	name [argsNameMax + 1]byte
}

// volArgsV2 is btrfs_ioctl_vol_args_v2.
type volArgsV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	unused  [4]uint64
	name    [argsV2NameMax + 1]byte
}

// subvolInfo is btrfs_ioctl_get_subvol_info_args.
type subvolInfo struct {
	id           uint64
	name         [nameMax + 1]byte
	parentID     uint64 // of the subvolume that holds it; 0 for the top-level subvolume and for a deleted one
	dirID        uint64
	generation   uint64
	flags        uint64
	uuid         uuid
	parentUUID   uuid // of the subvolume that it is a snapshot of
	receivedUUID uuid
	transids     [4]uint64
	times        [4]struct {
		sec  uint64
		nsec uint32
		_    uint32
	}
	reserved [8]uint64
}

// rootrefs is btrfs_ioctl_get_subvol_rootref_args.
type rootrefs struct {
	minID uint64
	refs  [rootrefsMax]struct{ id, dirID uint64 }
	count uint8
	_     [7]byte
}

// inoLookupUser is btrfs_ioctl_ino_lookup_user_args.
type inoLookupUser struct {
	dirID uint64
	id    uint64
	name  [nameMax + 1]byte
	path  [userPathMax]byte
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	defer runtime.KeepAlive(f)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// infoOf describes the subvolume in which f lies. Any user may ask.
func infoOf(f *os.File) (*subvolInfo, error) {
	var info subvolInfo
	if err := ioctl(f, iocGetSubvolInfo, unsafe.Pointer(&info)); err != nil {
		return nil, fmt.Errorf("describe the subvolume of %s: %w", f.Name(), err)
	}
	return &info, nil
}

// create makes a read-only snapshot of the subvolume with the top folder source, and returns when it is durable.
func create(place, source *os.File, name string) error {
	args := volArgsV2{fd: int64(source.Fd()), flags: flagReadOnly}
	copy(args.name[:], name)
	defer runtime.KeepAlive(source)
	if err := ioctl(place, iocSnapCreateV2, unsafe.Pointer(&args)); err != nil {
		return fmt.Errorf("snapshot %s: %w", source.Name(), err)
	}
	return nil
}

// destroy deletes the subvolume of that name in place.
func destroy(place *os.File, name string) error {
	var args volArgs
	copy(args.name[:], name)
	return ioctl(place, iocSnapDestroy, unsafe.Pointer(&args))
}

// makeWritable takes the read-only flag off a snapshot: a plain user may only delete what he could write to.
func makeWritable(top *os.File) error {
	var flags uint64
	if err := ioctl(top, iocSubvolGetFlags, unsafe.Pointer(&flags)); err != nil {
		return err
	}
	if flags&flagReadOnly == 0 {
		return nil
	}
	flags &^= flagReadOnly
	return ioctl(top, iocSubvolSetFlags, unsafe.Pointer(&flags))
}

// child is a subvolume nested in another one: its id, and the path of its top folder from where it was looked for.
type child struct {
	id   uint64
	path string
}

// childrenOf lists the subvolumes that stand below the folder dir in the same subvolume. The kernel answers EACCES for those elsewhere
// in it, and for those behind a folder that the user may not enter, where a walk doesn't get either.
func childrenOf(dir *os.File) (list []child, err error) {
	var refs rootrefs
	for {
		err := ioctl(dir, iocGetSubvolRootref, unsafe.Pointer(&refs))
		if err != nil && err != unix.EOVERFLOW { // EOVERFLOW: the answer is full, and there are more
			return nil, fmt.Errorf("list the subvolumes in %s: %w", dir.Name(), err)
		}
		for _, ref := range refs.refs[:refs.count] {
			look := inoLookupUser{dirID: ref.dirID, id: ref.id}
			switch err := ioctl(dir, iocInoLookupUser, unsafe.Pointer(&look)); err {
			case nil:
				list = append(list, child{id: ref.id, path: text(look.path[:]) + text(look.name[:])})
			case unix.EACCES, unix.ENOENT: // ENOENT: deleted meanwhile
			default:
				return nil, fmt.Errorf("look up subvolume %d in %s: %w", ref.id, dir.Name(), err)
			}
		}
		if err == nil {
			return list, nil
		}
	}
}

// text returns the bytes before the first NUL.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
