package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

const (
	xattrAccess     = "system.posix_acl_access"
	xattrDefault    = "system.posix_acl_default"
	xattrCapability = "security.capability"
	xattrSizeMax    = 64 << 10 // of a value, or of the list of names
)

// system is what a run knows about the system, some of it only as it goes.
type system struct {
	me     caller
	owners owners
	probed atomic.Bool // whether the file system keeps times was looked at
	rounds atomic.Bool // it does not
}

// object is what metadata is set on: an open file or folder, or a name in an open folder where opening would be no
// harmless act, as with devices.
type object struct {
	fd   int // -1: go by dir and name
	dir  handle
	name string
}

func (f file) object() object   { return object{fd: f.fd} }
func (h handle) object() object { return object{fd: h.fd} }
func (h handle) at(name string) object {
	return object{fd: -1, dir: h, name: name}
}

func (o object) chown(uid, gid uint32) error {
	return retry(func() error {
		if o.fd >= 0 {
			return unix.Fchown(o.fd, int(uid), int(gid))
		}
		return unix.Fchownat(o.dir.fd, o.name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (o object) chmod(mode uint32) error {
	if o.fd >= 0 {
		return retry(func() error { return unix.Fchmod(o.fd, mode) })
	}
	return chmodAt(o.dir.fd, o.name, mode)
}

// chmodAt sets the mode of what is no symlink. Before Linux 6.6 no system call did that, only the detour over /proc.
func chmodAt(dir int, name string, mode uint32) error {
	err := retry(func() error { return unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW) })
	if err != unix.EOPNOTSUPP {
		return err
	}
	fd, err := openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	st, err := handle{fd}.self()
	if err != nil || st.typ == snapshot.Symlink {
		return errors.Join(unix.EOPNOTSUPP, err)
	}
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

// path names the object for the calls that know no descriptors of folders. Its last component is not followed by them.
func (o object) path() string { return "/proc/self/fd/" + strconv.Itoa(o.dir.fd) + "/" + o.name }

func (o object) setXattr(name string, value []byte) error {
	return retry(func() error {
		if o.fd >= 0 {
			return unix.Fsetxattr(o.fd, name, value, 0)
		}
		return unix.Lsetxattr(o.path(), name, value, 0)
	})
}

func (o object) removeXattr(name string) error {
	return retry(func() error {
		if o.fd >= 0 {
			return unix.Fremovexattr(o.fd, name)
		}
		return unix.Lremovexattr(o.path(), name)
	})
}

func (o object) getXattr(name string, buf []byte) (n int, err error) {
	err = retry(func() error {
		if o.fd >= 0 {
			n, err = unix.Fgetxattr(o.fd, name, buf)
		} else {
			n, err = unix.Lgetxattr(o.path(), name, buf)
		}
		return err
	})
	return n, err
}

func (o object) xattrNames() ([]string, error) {
	buf := make([]byte, xattrSizeMax)
	var n int
	err := retry(func() (err error) {
		if o.fd >= 0 {
			n, err = unix.Flistxattr(o.fd, buf)
		} else {
			n, err = unix.Llistxattr(o.path(), buf)
		}
		return err
	})
	if err != nil || n == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
}

// setTimes sets the modification time, and the access time unless it is zero.
func (o object) setTimes(n *snapshot.Node) error {
	ts := []unix.Timespec{
		{Nsec: unix.UTIME_OMIT},
		{Sec: n.ModTime.Sec, Nsec: int64(n.ModTime.Nsec)},
	}
	if n.AccessTime != (snapshot.Time{}) {
		ts[0] = unix.Timespec{Sec: n.AccessTime.Sec, Nsec: int64(n.AccessTime.Nsec)}
	}
	return retry(func() error {
		if o.fd >= 0 {
			return futimens(o.fd, ts)
		}
		return unix.UtimesNanoAt(o.dir.fd, o.name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (o object) stat() (status, error) {
	if o.fd >= 0 {
		return handle{o.fd}.self()
	}
	return o.dir.stat(o.name)
}

// origin says what is known of an object before its metadata is set.
type origin struct {
	found *status // it was there before; nil if this run made it
	ours  bool    // this run made it, and it is certain to have our owner and group
	heritage
}

// apply sets all metadata of n but the flags. What can't be set is counted; the error is one of the repository's.
func (r *run) apply(ctx context.Context, o object, dir *folder, n *snapshot.Node, from origin) error {
	lost := func(a Aspect, err error) { r.ledger.lost(dir.join(n.Name), n.Type, a, err) }
	owned := r.applyOwner(o, n, from, lost)
	if from.found != nil || from.acl && n.Type != snapshot.Symlink {
		r.dropXattrs(o, n, from, lost)
	}
	err := r.applyXattrs(ctx, o, n, plainXattrs, lost)
	if n.Type != snapshot.Symlink {
		mode := uint32(n.Mode)
		if !owned && n.Type != snapshot.Dir && mode&0o6000 != 0 {
			mode &^= 0o6000
			lost(AspectMode, errors.New("set-user-id and set-group-id are left out, since the owner is not the same"))
		}
		if err := o.chmod(mode); err != nil {
			lost(AspectMode, err)
		}
	}
	if err2 := r.applyXattrs(ctx, o, n, lateXattrs, lost); err == nil {
		err = err2
	}
	r.applyTimes(o, n, lost)
	return err
}

// applyOwner reports whether the owner is the node's now.
func (r *run) applyOwner(o object, n *snapshot.Node, from origin, lost func(Aspect, error)) bool {
	uid, gid := n.UID, n.GID
	var now caller
	known := true
	switch {
	case from.found != nil:
		now = caller{from.found.uid, from.found.gid}
	case from.ours:
		now = r.me
	default:
		known = false
	}
	if r.o.Owner == OwnerByName {
		uid, gid = r.owners.ids(n)
	}
	same := known && now == caller{uid, gid}
	if same || r.o.Owner == OwnerNever {
		return same
	}
	if uid == ^uint32(0) || gid == ^uint32(0) { // means "leave as it is" to the kernel
		lost(AspectOwner, fmt.Errorf("owner %d:%d is not a number that can be set", uid, gid))
		return false
	}
	err := o.chown(uid, gid)
	if err == nil {
		return true
	}
	_ = o.chown(^uint32(0), gid) // a user may give files to the groups that he is in
	if st, err := o.stat(); err == nil && st.uid == uid && st.gid == gid {
		return true
	}
	lost(AspectOwner, err)
	return false
}

// The two rounds of extended attributes: before the mode is set, and after it.
type xattrRound int

const (
	plainXattrs xattrRound = iota
	lateXattrs
)

func roundOf(name string) xattrRound {
	if name == xattrAccess || name == xattrDefault || name == xattrCapability {
		return lateXattrs
	}
	return plainXattrs
}

func aspectOf(name string) Aspect {
	switch name {
	case xattrAccess, xattrDefault:
		return AspectACL
	case xattrCapability:
		return AspectCapability
	}
	return AspectXattr
}

func (r *run) wantsXattr(name string) bool { return r.o.Xattrs == nil || r.o.Xattrs(name) }

func (r *run) applyXattrs(ctx context.Context, o object, n *snapshot.Node, round xattrRound, lost func(Aspect, error)) (failed error) {
	for i := len(n.Xattrs) - 1; i >= 0; i-- { // backward: ACLs ("system") come before capabilities ("security")
		x := &n.Xattrs[i]
		if roundOf(x.Name) != round || !r.wantsXattr(x.Name) {
			continue
		}
		value, err := r.xattrValue(ctx, x)
		if err != nil {
			failed = err
			continue
		}
		if strings.IndexByte(x.Name, 0) >= 0 {
			err = unix.EINVAL
		} else {
			err = o.setXattr(x.Name, value)
		}
		if err != nil {
			lost(aspectOf(x.Name), fmt.Errorf("set %q: %w", x.Name, err))
		}
	}
	return failed
}

func (r *run) xattrValue(ctx context.Context, x *snapshot.Xattr) ([]byte, error) {
	if x.Ref.IsZero() {
		return []byte(x.Value), nil
	}
	value, err := r.loader.Load(ctx, blob.Data, x.Ref)
	if err != nil {
		return nil, fmt.Errorf("load blob %s of extended attribute %q: %w", x.Ref, x.Name, err)
	}
	return value, nil
}

// removable reports whether an attribute that the snapshot does not have is to go. Those that a security module
// made for this system stay.
func removable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") || name == xattrCapability ||
		name == xattrAccess || name == xattrDefault
}

// dropXattrs removes attributes that n does not have: any from what was found, inherited ACLs from what was made.
func (r *run) dropXattrs(o object, n *snapshot.Node, from origin, lost func(Aspect, error)) {
	names := []string{xattrAccess, xattrDefault}
	if from.found != nil {
		names, _ = o.xattrNames() // what can't be listed can't be set either, and is counted there
	}
	for _, name := range names {
		if !removable(name) || !r.wantsXattr(name) || hasXattr(n, name) {
			continue
		}
		err := o.removeXattr(name)
		if err != nil && err != unix.ENODATA && err != unix.EOPNOTSUPP {
			lost(aspectOf(name), fmt.Errorf("remove %q: %w", name, err))
		}
	}
}

func hasXattr(n *snapshot.Node, name string) bool {
	return slices.ContainsFunc(n.Xattrs, func(x snapshot.Xattr) bool { return x.Name == name })
}

// applyTimes sets the times. File systems round what they can't hold without a word, so odd times are looked at, the first one with
// odd nanoseconds is, and so are all once one was rounded.
func (r *run) applyTimes(o object, n *snapshot.Node, lost func(Aspect, error)) {
	if err := o.setTimes(n); err != nil {
		lost(AspectTimes, err)
		return
	}
	usual := n.ModTime.Sec == int64(int32(n.ModTime.Sec))
	if usual && !r.rounds.Load() && (r.probed.Load() || n.ModTime.Nsec%1000 == 0) {
		return
	}
	r.probed.Store(true)
	if st, err := o.stat(); err == nil && st.mtime != n.ModTime {
		r.rounds.Store(true)
		lost(AspectTimes, fmt.Errorf("the file system made %d.%09d out of %d.%09d", st.mtime.Sec, st.mtime.Nsec, n.ModTime.Sec, n.ModTime.Nsec))
	}
}

// differs reports whether any metadata of n, flags included, is not what the object has. It changes nothing.
func (r *run) differs(ctx context.Context, o object, n *snapshot.Node, now *status) (bool, error) {
	if r.o.Owner != OwnerNever {
		uid, gid := n.UID, n.GID
		if r.o.Owner == OwnerByName {
			uid, gid = r.owners.ids(n)
		}
		if now.uid != uid || now.gid != gid {
			return true, nil
		}
	}
	if n.Type != snapshot.Symlink && now.mode != n.Mode || now.mtime != n.ModTime {
		return true, nil
	}
	if n.AccessTime != (snapshot.Time{}) && now.atime != n.AccessTime {
		return true, nil
	}
	if !r.o.NoFlags && o.fd >= 0 {
		if flags, err := getFlags(o.fd); err == nil && (flags^n.Flags)&(flagsKnown|n.Flags&flagsSettable) != 0 {
			return true, nil
		}
	}
	return r.xattrsDiffer(ctx, o, n)
}

func (r *run) xattrsDiffer(ctx context.Context, o object, n *snapshot.Node) (bool, error) {
	names, err := o.xattrNames()
	if err == unix.EOPNOTSUPP {
		err = nil
	}
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if removable(name) && r.wantsXattr(name) && !hasXattr(n, name) {
			return true, nil
		}
	}
	if len(n.Xattrs) == 0 {
		return false, nil
	}
	buf := make([]byte, xattrSizeMax)
	for i := range n.Xattrs {
		x := &n.Xattrs[i]
		if !r.wantsXattr(x.Name) {
			continue
		}
		want, err := r.xattrValue(ctx, x)
		if err != nil {
			return false, err
		}
		if got, err := o.getXattr(x.Name, buf); err != nil || string(buf[:got]) != string(want) {
			return true, nil
		}
	}
	return false, nil
}

// heritage is what a folder that was in the target before hands down to new entries, though the snapshot may not have it.
type heritage struct{ acl, flags bool }

// heritage looks at what the folder hands down.
func (h handle) heritage() heritage {
	n, err := unix.Fgetxattr(h.fd, xattrDefault, nil)
	flags, err2 := getFlags(h.fd)
	return heritage{acl: err == nil && n > 0, flags: err2 == nil && flags&flagsKnown != 0}
}
