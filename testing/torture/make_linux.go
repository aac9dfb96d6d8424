package torture

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maker builds one folder. The first error that is no matter of rights or of the file system ends it.
type maker struct {
	root    string
	o       Options
	skipped []Skipped
	err     error
	rnd     *rand.Rand
}

// Make builds the folder dir, which must not be there.
func Make(dir string, o Options) ([]Skipped, error) {
	if o.Entries == 0 {
		o.Entries = 2000
	}
	if o.Levels == 0 {
		o.Levels = 40
	}
	m := &maker{root: dir, o: o, rnd: rand.New(rand.NewPCG(1, 2))}
	m.must(os.Mkdir(dir, 0o755))
	for _, build := range []func(){m.names, m.order, m.deep, m.sizes, m.holes, m.hardLinks, m.symlinks, m.specials, m.modes, m.owners,
		m.xattrs, m.acls, m.capabilities, m.timeFiles, m.flagFiles, m.many, m.self} {
		build()
	}
	if m.err != nil {
		return m.skipped, fmt.Errorf("make torture folder: %w", m.err)
	}
	m.must(stamp(dir))
	m.times()
	m.flags() // last: some forbid everything else
	if m.err != nil {
		return m.skipped, fmt.Errorf("make torture folder: %w", m.err)
	}
	return m.skipped, nil
}

func (m *maker) must(err error) {
	if m.err == nil {
		m.err = err
	}
}

// try notes that a case can't be had here.
func (m *maker) try(name string, err error) {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOTTY, unix.ENOSPC, unix.E2BIG, unix.ERANGE, unix.EOVERFLOW,
		unix.EILSEQ, unix.ENAMETOOLONG} {
		if errors.Is(err, e) {
			m.skipped = append(m.skipped, Skipped{name, e})
			return
		}
	}
	m.must(err)
}

func (m *maker) path(parts ...string) string { return m.root + "/" + strings.Join(parts, "/") }

func (m *maker) dir(name string) { m.must(os.Mkdir(m.path(name), 0o755)) }

func (m *maker) file(content string, parts ...string) string {
	path := m.path(parts...)
	m.must(os.WriteFile(path, []byte(content), 0o644))
	return path
}

func (m *maker) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.rnd.Uint32())
	}
	return b
}

func (m *maker) names() {
	m.dir("names")
	for _, name := range []string{
		"plain", "with space", " leading", "trailing ", "-rf", "--help", "new\nline", "tab\ttab", "\x01\x02\x7f", "\x1b[31mred\x1b[0m",
		"quote'\"`$(true)", "star*?[]", "back\\slash", "colon:semi;", "UPPER", "upper", "umlaut-\u00e4", "umlaut-a\u0308",
		"invalid-\xff\xfe", "half-\xc3", "surrogate-\xed\xa0\x80", "...", "..a", ".hidden", "~", "#", "%", "\xf0\x9f\x90\x9f",
		"CON", "nul.txt", "trailing.", strings.Repeat("l", 255), strings.Repeat("\u00e4", 127), strings.Repeat("\xff", 254),
	} {
		path := m.path("names", name)
		m.try("name "+strconv.Quote(name), os.WriteFile(path, []byte(name), 0o644))
	}
	for _, name := range []string{"folder \xff\n", strings.Repeat("d", 255)} {
		m.try("name "+strconv.Quote(name), os.Mkdir(m.path("names", name), 0o755))
		m.file("inside", "names", name, "inside")
	}
}

// order has names whose order by bytes, by path and by locale differ.
func (m *maker) order() {
	m.dir("order")
	for _, name := range []string{"a", "a.b", "a-b", "a b", "A", "aa", "a\xff", "b"} {
		if name == "a" || name == "a.b" {
			m.dir("order/" + name)
			m.file(name, "order", name, "x")
			continue
		}
		m.file(name, "order", name)
	}
	m.dir("order/empty-folder")
}

// deep goes past PATH_MAX: it can only be reached step by step.
func (m *maker) deep() {
	m.dir("deep")
	fd, err := unix.Open(m.path("deep"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	m.must(err)
	for level := range m.o.Levels {
		if m.err != nil {
			return
		}
		name := fmt.Sprintf("%03d-%s", level, strings.Repeat("x", 196))
		m.must(unix.Mkdirat(fd, name, 0o750))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		m.must(err)
		m.must(unix.Close(fd))
		fd = next
	}
	f, err := unix.Openat(fd, "bottom", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o640)
	m.must(err)
	if m.err == nil {
		_, err = unix.Write(f, []byte("the bottom of a tarn"))
		m.must(err)
		m.must(unix.Close(f))
		m.must(unix.Symlinkat("bottom", fd, "link"))
		m.try("xattr past PATH_MAX", setXattrAt(fd, "bottom", "user.deep", []byte("yes")))
	}
	m.must(unix.Close(fd))
}

func setXattrAt(dir int, name, attr string, value []byte) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsetxattr(fd, attr, value, 0)
}

func (m *maker) sizes() {
	m.dir("sizes")
	for _, n := range []int{0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 256<<10 - 1, 256 << 10, 1<<20 + 1, 5 << 20} {
		m.must(os.WriteFile(m.path("sizes", strconv.Itoa(n)), m.random(n), 0o644))
	}
	text := bytes.Repeat([]byte("the same line again and again\n"), 40000)
	m.must(os.WriteFile(m.path("sizes", "text"), text, 0o644))
	m.must(os.WriteFile(m.path("sizes", "text copy"), text, 0o644))
	m.must(os.WriteFile(m.path("sizes", "text shifted"), append([]byte("x"), text...), 0o644))
}

// holes has files with zeros that are stored and zeros that are not.
func (m *maker) holes() {
	m.dir("holes")
	type span struct{ off, size int64 }
	cases := map[string]struct {
		size int64
		data []span
	}{
		"all hole":       {1 << 20, nil},
		"leading hole":   {1<<20 + 5, []span{{1 << 20, 5}}},
		"trailing hole":  {3 << 20, []span{{0, 4096}}},
		"middle hole":    {2 << 20, []span{{0, 65536}, {2<<20 - 65536, 65536}}},
		"comb":           {1 << 20, []span{{0, 4096}, {64 << 10, 4096}, {128 << 10, 4096}, {512 << 10, 8192}}},
		"odd offsets":    {1000003, []span{{12345, 1}, {400001, 7}, {999999, 4}}},
		"one byte hole":  {1, nil},
		"block and hole": {8192, []span{{0, 4096}}},
	}
	if m.o.Huge {
		cases["huge"] = struct {
			size int64
			data []span
		}{4<<30 + 4097, []span{{0, 3}, {1 << 31, 4096}, {1 << 32, 4097}}}
	}
	for name, c := range cases {
		f, err := os.Create(m.path("holes", name))
		m.must(err)
		if m.err != nil {
			return
		}
		m.must(f.Truncate(c.size))
		for _, s := range c.data {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(s.size)), s.off)
			m.must(err)
		}
		m.must(f.Close())
	}
	m.must(os.WriteFile(m.path("holes", "zeros without hole"), make([]byte, 700<<10), 0o644))
	m.must(os.WriteFile(m.path("holes", "zeros at end"), append(m.random(4096), make([]byte, 300<<10)...), 0o644))
}

func (m *maker) hardLinks() {
	m.dir("links")
	m.dir("links/below")
	one := m.file("one inode, three names", "links", "one")
	m.must(os.Link(one, m.path("links", "two")))
	m.must(os.Link(one, m.path("links", "below", "three")))
	m.must(os.Link(one, m.path("a link above")))
	empty := m.file("", "links", "empty 1")
	m.must(os.Link(empty, m.path("links", "empty 2")))
	m.file("one inode, three names", "links", "equal but no link")
	m.must(os.Symlink("one", m.path("links", "symlink 1")))
	m.try("hard link of a symlink", os.Link(m.path("links", "symlink 1"), m.path("links", "below", "symlink 2")))
	m.must(unix.Mkfifo(m.path("links", "fifo 1"), 0o620))
	m.try("hard link of a FIFO", os.Link(m.path("links", "fifo 1"), m.path("links", "below", "fifo 2")))
	err := unix.Mknod(m.path("links", "device 1"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
	if err == nil {
		err = os.Link(m.path("links", "device 1"), m.path("links", "below", "device 2"))
	}
	m.try("hard link of a device", err)
}

func (m *maker) symlinks() {
	m.dir("symlinks")
	for name, target := range map[string]string{
		"file": "../sizes/1", "folder": "../sizes", "dangling": "no such thing", "absolute": "/etc/passwd", "up": "../../../../../etc",
		"itself": "itself", "slash": "../sizes/", "bytes": "\xff\n\x01", "dot": ".", "long": strings.Repeat("t/", 511), "longest": strings.Repeat("t/", 2047),
	} {
		m.try("symlink "+name, os.Symlink(target, m.path("symlinks", name)))
	}
}

func (m *maker) specials() {
	m.dir("special")
	m.must(unix.Mkfifo(m.path("special", "fifo"), 0o644))
	m.try("socket", unix.Mknod(m.path("special", "socket"), unix.S_IFSOCK|0o755, 0))
	for name, dev := range map[string]struct {
		mode         uint32
		major, minor uint32
	}{
		"null": {unix.S_IFCHR | 0o666, 1, 3}, "whiteout": {unix.S_IFCHR, 0, 0}, "disk": {unix.S_IFBLK | 0o660, 8, 1},
		"large numbers": {unix.S_IFBLK | 0o600, 4095, 1<<20 - 1}, "minor above 255": {unix.S_IFCHR | 0o600, 10, 70000},
	} {
		m.try("device "+name, unix.Mknod(m.path("special", name), dev.mode, int(unix.Mkdev(dev.major, dev.minor))))
	}
}

func (m *maker) modes() {
	m.dir("modes")
	for _, mode := range []uint32{0, 0o100, 0o400, 0o444, 0o555, 0o600, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777, 0o2644, 0o4644} {
		path := m.file("mode", "modes", fmt.Sprintf("file-%04o", mode))
		m.must(unix.Chmod(path, mode))
	}
	for _, mode := range []uint32{0, 0o500, 0o700, 0o1777, 0o2775, 0o3777, 0o7755} {
		name := fmt.Sprintf("folder-%04o", mode)
		m.dir("modes/" + name)
		m.file("inside", "modes", name, "inside")
		m.must(unix.Chmod(m.path("modes", name), mode))
	}
}

func (m *maker) owners() {
	m.dir("owners")
	for _, id := range []int{0, 1, 1000, 65534, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 2} {
		path := m.file("owner", "owners", strconv.Itoa(id))
		m.try("owner "+strconv.Itoa(id), os.Lchown(path, id, id))
	}
	m.must(os.Symlink("1000", m.path("owners", "symlink")))
	m.try("owner of a symlink", os.Lchown(m.path("owners", "symlink"), 1234, 4321))
	m.dir("owners/folder")
	m.try("owner of a folder", os.Lchown(m.path("owners", "folder"), 1001, 1002))
	suid := m.file("suid of somebody", "owners", "suid")
	m.try("owner of a set-user-id file", os.Lchown(suid, 1000, 1000))
	m.try("set-user-id", unix.Chmod(suid, 0o4755))
	m.must(unix.Mkfifo(m.path("owners", "fifo"), 0o600))
	m.try("owner of a FIFO", os.Lchown(m.path("owners", "fifo"), 77, 78))
}

func (m *maker) many() {
	m.dir("many")
	for i := range m.o.Entries {
		if m.err != nil {
			return
		}
		m.file("", "many", fmt.Sprintf("entry-%07d", i))
	}
}

// self gives the folder metadata of its own.
func (m *maker) self() {
	m.must(unix.Chmod(m.root, 0o2751))
	m.try("xattr of the root", unix.Setxattr(m.root, "user.root", []byte("the root has attributes too"), 0))
	m.try("default ACL of the root", unix.Setxattr(m.root, xattrDefault, aclSample, 0))
	m.try("owner of the root", os.Lchown(m.root, 1003, 1004))
}

// stamp gives everything below dir, and dir, times of its own: each path another one, nanoseconds too.
func stamp(dir string) error {
	return walk(dir, func(at int, name, path string, _ *unix.Stat_t) error {
		h := fnv.New64a()
		_, _ = h.Write([]byte(path))
		sum := h.Sum64()
		t := unix.Timespec{Sec: 1_000_000_000 + int64(sum%500_000_000), Nsec: int64(sum >> 32 % 1_000_000_000)}
		err := unix.UtimesNanoAt(at, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return &fs.PathError{Op: "set times of", Path: path, Err: err}
		}
		return nil
	})
}
