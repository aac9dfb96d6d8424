package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
)

// The flags of FS_IOC_GETFLAGS that a program may set, from linux/fs.h.
const (
	flagSecureRemove   = 0x00000001
	flagUndelete       = 0x00000002
	flagCompress       = 0x00000004
	flagSync           = 0x00000008
	flagImmutable      = 0x00000010
	flagAppend         = 0x00000020
	flagNoDump         = 0x00000040
	flagNoAccessTime   = 0x00000080
	flagNoCompress     = 0x00000400
	flagJournalData    = 0x00004000
	flagNoTail         = 0x00008000
	flagDirSync        = 0x00010000
	flagTopDir         = 0x00020000
	flagNoCopyOnWrite  = 0x00800000
	flagDirectAccess   = 0x02000000
	flagProjectInherit = 0x20000000
	flagFoldCase       = 0x40000000

	flagsSettable = flagSecureRemove | flagUndelete | flagCompress | flagSync | flagsFrozen | flagNoDump | flagNoAccessTime | flagNoCompress |
		flagJournalData | flagNoTail | flagDirSync | flagTopDir | flagNoCopyOnWrite | flagDirectAccess | flagProjectInherit | flagFoldCase

	// flagsKnown are those that every snapshot records: that a node lacks one of them means that the file did not have it.
	flagsKnown = flagsSettable &^ (flagNoCompress | flagDirectAccess | flagFoldCase)

	flagsFrozen = flagImmutable | flagAppend // nothing can be changed, linked or renamed afterwards

	// flagsEarly act on what is written later, or can only be set while a file or folder is empty.
	flagsEarly = flagCompress | flagNoCompress | flagNoCopyOnWrite | flagFoldCase
)

func getFlags(fd int) (flags uint32, err error) {
	err = retry(func() error {
		flags, err = unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		return err
	})
	return flags, err
}

// setFlags makes the settable flags of an open file or folder those in want, as far as they are in mask. If the file system refuses
// them together, each is tried alone; the error names those that are not set.
func setFlags(fd int, want, mask uint32) error {
	now, err := getFlags(fd)
	if err != nil {
		return err
	}
	mask &= flagsSettable
	diff := (now ^ want) & mask
	if diff == 0 {
		return nil
	}
	set := func(flags uint32) error {
		return retry(func() error { return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(int32(flags))) })
	}
	if err = set(now ^ diff); err == nil {
		return nil
	}
	var refused uint32
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if diff&bit == 0 {
			continue
		}
		if e := set(now ^ bit); e != nil {
			refused |= bit
			continue
		}
		now ^= bit
	}
	if refused == 0 {
		return nil
	}
	return fmt.Errorf("flags %#x: %w", refused, err)
}

// flagged reports whether n is of a type that has flags, and they are ours to set.
func (r *run) flagged(n *snapshot.Node) bool {
	return !r.o.NoFlags && (n.Type == snapshot.File || n.Type == snapshot.Dir)
}

// flagsFirst sets the flags that must come before the content, and of those that the folder handed down leaves only what n has. What is
// refused is counted by flagsLast.
func (r *run) flagsFirst(o object, n *snapshot.Node, from heritage) {
	early := uint32(flagsEarly)
	if n.Type == snapshot.Dir { // the others would be handed down to entries that must not have them
		early = flagFoldCase
	}
	mask := n.Flags & early
	if from.flags {
		mask |= flagsKnown &^ flagsFrozen &^ n.Flags
	}
	if mask != 0 && r.flagged(n) {
		_ = setFlags(o.fd, n.Flags, mask)
	}
}

// flagRest says what is left to do for flagsLast.
type flagRest struct {
	exact bool // the object may have flags that n does not have: they are taken away
	thaw  bool // leave the freezing flags to later
}

// flagsLast sets the flags, when all else is done.
func (r *run) flagsLast(o object, dir *folder, n *snapshot.Node, rest flagRest) {
	want, mask := n.Flags&flagsSettable, n.Flags
	if rest.exact {
		mask |= flagsKnown
	}
	if rest.thaw {
		mask &^= flagsFrozen
	}
	if !r.flagged(n) || mask&flagsSettable == 0 {
		return
	}
	err := setFlags(o.fd, want, mask)
	if err != nil && want == 0 && (errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP)) {
		return // the file system has no flags, and none are wanted
	}
	if err != nil {
		r.ledger.lost(dir.join(n.Name), n.Type, AspectFlags, err)
	}
}

// freezes reports whether n's flags forbid to rename it or to link to it once they are set.
func (r *run) freezes(n *snapshot.Node) bool { return r.flagged(n) && n.Flags&flagsFrozen != 0 }

// thaw takes immutable and append-only from an entry that stands in the way, and reports whether it had them.
func (h handle) thaw(name string) bool {
	fd, err := openat(h.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	st, err := handle{fd}.self()
	if err != nil || st.typ != snapshot.File && st.typ != snapshot.Dir {
		return false
	}
	return handle{fd}.thawSelf() != 0
}

// thawSelf returns the flags that it took away.
func (h handle) thawSelf() uint32 {
	flags, err := getFlags(h.fd)
	if err != nil || flags&flagsFrozen == 0 || setFlags(h.fd, 0, flagsFrozen) != nil {
		return 0
	}
	return flags & flagsFrozen
}

// freezeSelf gives back what thawSelf took.
func (h handle) freezeSelf(flags uint32) error {
	if flags == 0 {
		return nil
	}
	return setFlags(h.fd, flags, flags)
}

// thaw makes an open object changeable.
func (o object) thaw() {
	if o.fd >= 0 {
		handle{o.fd}.thawSelf()
	}
}

// thawing calls fn, and once more if it was forbidden because of such a flag.
func (h handle) thawing(name string, fn func() error) error {
	err := fn()
	if errors.Is(err, unix.EPERM) && h.thaw(name) {
		return fn()
	}
	return err
}
