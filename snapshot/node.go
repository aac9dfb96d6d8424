package snapshot

import (
	"github.com/tarn-backup/tarn/blob"
)

// Type is what a node is.
type Type uint8

// The types of nodes. Their numbers stand in trees and never change.
const (
	File        Type = 1
	Dir         Type = 2
	Symlink     Type = 3
	FIFO        Type = 4
	Socket      Type = 5
	CharDevice  Type = 6
	BlockDevice Type = 7
)

// Valid reports whether t is a type that this version knows.
func (t Type) Valid() bool { return t >= File && t <= BlockDevice }

func (t Type) String() string {
	names := [...]string{"unknown", "file", "dir", "symlink", "fifo", "socket", "chardev", "blockdev"}
	if int(t) < len(names) {
		return names[t]
	}
	return names[0]
}

// State says how far a file's content can be trusted to be one moment's. It stands in the tree, since a restore must tell.
type State uint8

// The states. Their numbers stand in trees and never change.
const (
	Whole    State = 0 // no change was made while it was read
	Appended State = 1 // it grew while it was read; what it held at first is stored
	Torn     State = 2 // it changed while it was read: its parts may be of different moments
	Carried  State = 3 // it could not be read; content and metadata are those of an older snapshot
)

// AsCarried is the state of what is carried and was in state s: torn content stays torn, which is worse.
func (s State) AsCarried() State {
	if s == Torn {
		return Torn
	}
	return Carried
}

func (s State) String() string {
	names := [...]string{"whole", "appended", "torn", "carried"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Method is how a file's content was held still while it was read. It stands in the scan record, not in the tree, so that equal
// folders have equal trees whatever file system they were read from.
type Method uint8

// The methods. Their numbers stand in scan records and never change.
const (
	MethodNone     Method = 0 // nothing to hold still: no content, or read from standard input
	MethodSnapshot Method = 1 // read from a file system snapshot
	MethodLease    Method = 2 // a read lease stood during the whole of the reading
	MethodReflink  Method = 3 // read from a clone of the file, made in one step by the file system
	MethodStable   Method = 4 // nothing changed between two looks, on a file system where this is proof
	MethodUnproven Method = 5 // nothing changed between two looks, on a file system where this is no proof
	MethodLocked   Method = 6 // read under the program's own locks (SQLite)
)

func (m Method) String() string {
	names := [...]string{"none", "snapshot", "lease", "reflink", "stable", "unproven", "locked"}
	if int(m) < len(names) {
		return names[m]
	}
	return "unknown"
}

// Time is a moment: seconds since 1970 (negative before) and nanoseconds (0 to 999,999,999), as a file system keeps it.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Xattr is one extended attribute. POSIX ACLs are the attributes system.posix_acl_access and system.posix_acl_default.
type Xattr struct {
	Name  string
	Value string  // if Ref is zero
	Ref   blob.ID // a data blob with the value, if it is long
}

// Node is one entry of a folder: all that a restore needs, and nothing that differs between equal folders.
type Node struct {
	Name       string // raw bytes as the file system gives them; WTF-8 on Windows
	Type       Type
	State      State
	Sparse     bool   // the source had holes: a restore punches them where the content is zero
	Mode       uint16 // the low 12 bits of st_mode: permissions, set-user-id, set-group-id, sticky
	UID, GID   uint32
	User       string // names of UID and GID where the backup ran, empty if unknown
	Group      string
	ModTime    Time
	AccessTime Time    // zero unless the backup was asked to keep it
	Size       uint64  // bytes of content
	Link       LinkKey // equal among the names of one inode with several links; zero for one name
	Target     string  // of a symlink, raw
	Device     uint64  // major<<32 | minor, of devices
	Flags      uint32  // chattr flags (FS_IOC_GETFLAGS) that a restore can set
	Xattrs     []Xattr // ascending by name
	Content    Content // of a file: its bytes; of a folder: its encoded entries
}

// LinkKey ties the names of one inode together.
type LinkKey [16]byte

// IsZero reports whether the node has one name only.
func (k LinkKey) IsZero() bool { return k == LinkKey{} }

// Content is a byte string: its elements joined. With Depth 0 the elements are the bytes themselves; with a greater depth
// they are tree blobs that hold, when joined, the encoded elements of a Content one less deep.
type Content struct {
	Depth    uint8
	Elements []Element
}

// Element is a part of a Content: a blob, or a run of zeros.
type Element struct {
	ID     blob.ID // zero for a run of zeros
	Length uint64  // bytes
}

// IsZeros reports whether e is a run of zeros.
func (e Element) IsZeros() bool { return e.ID.IsZero() }
