package torture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	xattrAccess     = "system.posix_acl_access"
	xattrDefault    = "system.posix_acl_default"
	xattrCapability = "security.capability"
)

// acl encodes a POSIX ACL as the attribute has it: version 2, then tag, permissions and id of each entry.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

// The tags of entries; all but user and group have no id.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
	aclNoID     = ^uint32(0)
)

// aclSample grants something to a user and a group.
var aclSample = acl([3]uint32{aclUserObj, 7, aclNoID}, [3]uint32{aclUser, 6, 1000}, [3]uint32{aclGroupObj, 5, aclNoID},
	[3]uint32{aclGroup, 4, 1001}, [3]uint32{aclMask, 6, aclNoID}, [3]uint32{aclOther, 1, aclNoID})

func (m *maker) xattrs() {
	m.dir("xattrs")
	file := m.file("attributes", "xattrs", "file")
	set := func(path, name string, value []byte) {
		m.try("xattr "+name, unix.Lsetxattr(path, name, value, 0))
	}
	set(file, "user.text", []byte("text"))
	set(file, "user.binary", []byte{0, 1, 2, 0xff, 0, '\n'})
	set(file, "user.empty", nil)
	set(file, "user."+strings.Repeat("n", 250), []byte("long name"))
	set(file, "user.\xff\xfe newline\n", []byte("odd name"))
	set(file, "trusted.tarn", []byte("trusted"))
	set(file, "security.tarn", []byte("security"))
	for _, size := range []int{2047, 2048, 2049, 3500, 60000} {
		path := m.file("large attribute", "xattrs", fmt.Sprintf("large-%d", size))
		set(path, "user.large", bytes.Repeat([]byte("large "), size/6+1)[:size])
	}
	lots := m.file("many attributes", "xattrs", "many")
	for i := range 60 {
		set(lots, fmt.Sprintf("user.attribute-%02d", i), []byte(strings.Repeat("v", i)))
	}
	readOnly := m.file("read-only with attributes", "xattrs", "read-only")
	set(readOnly, "user.text", []byte("set before the mode"))
	m.must(os.Chmod(readOnly, 0o400))
	m.dir("xattrs/folder")
	set(m.path("xattrs", "folder"), "user.folder", []byte("of a folder"))
	set(m.path("xattrs", "folder"), "trusted.folder", []byte("of a folder"))
	m.must(os.Symlink("file", m.path("xattrs", "symlink")))
	set(m.path("xattrs", "symlink"), "trusted.symlink", []byte("of a symlink"))
	m.must(unix.Mkfifo(m.path("xattrs", "fifo"), 0o600))
	set(m.path("xattrs", "fifo"), "trusted.fifo", []byte("of a FIFO"))
	if err := unix.Mknod(m.path("xattrs", "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err == nil {
		set(m.path("xattrs", "device"), "trusted.device", []byte("of a device"))
	}
}

func (m *maker) acls() {
	m.dir("acls")
	set := func(path, name string, value []byte) { m.try(name, unix.Setxattr(path, name, value, 0)) }
	file := m.file("acl", "acls", "file")
	set(file, xattrAccess, aclSample)
	narrow := m.file("acl with a mask that takes everything", "acls", "narrow mask")
	set(narrow, xattrAccess, acl([3]uint32{aclUserObj, 6, aclNoID}, [3]uint32{aclUser, 7, 1<<32 - 2}, [3]uint32{aclGroupObj, 7, aclNoID},
		[3]uint32{aclMask, 0, aclNoID}, [3]uint32{aclOther, 0, aclNoID}))
	m.dir("acls/folder")
	folder := m.path("acls", "folder")
	m.file("made before the default ACL", "acls", "folder", "before")
	set(folder, xattrAccess, aclSample)
	set(folder, xattrDefault, aclSample)
	m.file("inherits", "acls", "folder", "inherits")
	m.dir("acls/folder/below")
	m.file("inherits", "acls", "folder", "below", "inherits")
	plain := m.file("inherited nothing", "acls", "folder", "without")
	if err := unix.Removexattr(plain, xattrAccess); err == nil {
		m.must(os.Chmod(plain, 0o640))
	}
	m.must(unix.Mkfifo(m.path("acls", "fifo"), 0o640))
	set(m.path("acls", "fifo"), xattrAccess, aclSample)
}

func (m *maker) capabilities() {
	m.dir("capabilities")
	v2 := binary.LittleEndian.AppendUint32(nil, 0x02000001) // version 2, effective
	v2 = binary.LittleEndian.AppendUint32(v2, 1<<10)        // permitted: CAP_NET_BIND_SERVICE
	v2 = append(v2, make([]byte, 12)...)
	v3 := bytes.Clone(v2)
	v3[3] = 3
	v3 = binary.LittleEndian.AppendUint32(v3, 1000) // of the user namespace whose root is user 1000
	file := m.file("capability", "capabilities", "v2")
	m.must(os.Chmod(file, 0o755))
	m.try("file capability", unix.Setxattr(file, xattrCapability, v2, 0))
	file = m.file("capability", "capabilities", "v3")
	m.try("file capability of a namespace", unix.Setxattr(file, xattrCapability, v3, 0))
	file = m.file("capability", "capabilities", "of another owner")
	m.try("owner", os.Lchown(file, 1000, 1000))
	m.try("file capability", unix.Setxattr(file, xattrCapability, v2, 0))
}

// hardTimes are those that file systems find hard.
var hardTimes = []struct {
	name string
	t    unix.Timespec
}{
	{"1901", unix.Timespec{Sec: -1 << 31}}, {"1969", unix.Timespec{Sec: -1, Nsec: 999_999_999}}, {"1969 early", unix.Timespec{Sec: -86400*365 + 1, Nsec: 1}},
	{"1970", unix.Timespec{Nsec: 1}}, {"zero", unix.Timespec{}}, {"2038", unix.Timespec{Sec: 1<<31 - 1, Nsec: 999_999_999}},
	{"2038 after", unix.Timespec{Sec: 1 << 31}},
	{"2106 after", unix.Timespec{Sec: 1<<32 + 5, Nsec: 5}}, {"2446", unix.Timespec{Sec: 1<<34 - 1<<31 - 1, Nsec: 999_999_999}},
	{"nanosecond", unix.Timespec{Sec: 1_600_000_000, Nsec: 1}}, {"billion", unix.Timespec{Sec: 1_000_000_000}},
}

func (m *maker) timeFiles() {
	m.dir("times")
	for _, h := range hardTimes {
		m.file(h.name, "times", h.name)
	}
	m.must(os.Symlink("zero", m.path("times", "symlink")))
	m.dir("times/folder")
	m.file("inside", "times", "folder", "inside")
}

// times sets the times, when nothing else changes them any more. What the file system rounds is left as it is then.
func (m *maker) times() {
	for _, h := range hardTimes {
		path := m.path("times", h.name)
		m.must(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 1_234_567_890, Nsec: 987_654_321}, h.t}, 0))
		var st unix.Stat_t
		m.must(unix.Stat(path, &st))
		if st.Mtim != h.t {
			m.skipped = append(m.skipped, Skipped{"time " + h.name, fmt.Errorf("the file system made %v out of %v", st.Mtim, h.t)})
		}
	}
	old := []unix.Timespec{{Sec: 7, Nsec: 8}, {Sec: -9, Nsec: 10}}
	m.must(unix.UtimesNanoAt(unix.AT_FDCWD, m.path("times", "symlink"), old, unix.AT_SYMLINK_NOFOLLOW))
	m.must(unix.UtimesNanoAt(unix.AT_FDCWD, m.path("times", "folder"), old, 0))
}

// The chattr flags that are tried, by their letters. From linux/fs.h.
var flagLetters = []struct {
	letter string
	flag   uint32
	before bool // to be set while the file is empty
	folder bool // for folders only
}{
	{"s", 0x1, false, false}, {"u", 0x2, false, false}, {"S", 0x8, false, false}, {"d", 0x40, false, false}, {"A", 0x80, false, false},
	{"j", 0x4000, false, false}, {"t", 0x8000, false, false}, {"c", 0x4, true, false}, {"C", 0x800000, true, false},
	{"D", 0x10000, false, true}, {"T", 0x20000, false, true}, {"a", 0x20, false, false}, {"i", 0x10, false, false},
}

// flagName is the name of a file with a flag. Some file systems fold case.
func flagName(kind, letter string) string {
	if strings.ToLower(letter) != letter {
		letter += "-upper"
	}
	return "flags/" + kind + "-" + letter
}

func (m *maker) flagFiles() {
	m.dir("flags")
	for _, l := range flagLetters {
		if !l.folder {
			path := m.file("", flagName("file", l.letter))
			if l.before {
				m.try("flag "+l.letter, addFlag(path, l.flag))
			}
			m.file("flag "+l.letter, flagName("file", l.letter))
		}
		m.dir(flagName("folder", l.letter))
		m.file("inside", flagName("folder", l.letter), "inside")
	}
	linked := m.file("immutable with two names", "flags", "linked-1")
	m.must(os.Link(linked, m.path("flags", "linked-2")))
}

// flags sets those that forbid changes, and the harmless ones with them.
func (m *maker) flags() {
	for _, l := range flagLetters {
		if !l.folder && !l.before {
			m.try("flag "+l.letter, addFlag(m.path(flagName("file", l.letter)), l.flag))
		}
		m.try("flag "+l.letter+" of a folder", addFlag(m.path(flagName("folder", l.letter)), l.flag))
	}
	m.try("flag i of a file with two names", addFlag(m.path("flags", "linked-1"), 0x10))
}

func addFlag(path string, flag uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(int32(now|flag))); err != nil {
		return err
	}
	if now, err = unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil && now&flag == 0 {
		err = fmt.Errorf("flag %#x is dropped without a word: %w", flag, unix.EOPNOTSUPP)
	}
	return err
}
