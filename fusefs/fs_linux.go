package fusefs

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tarn-backup/tarn/snapshot"
)

// fileSystem answers the kernel.
type fileSystem struct {
	readOnly
	*table
	lib    *library
	reader *reader
	owner  *Owner
	fresh  time.Duration // how long the kernel may keep what may change
	pusher *pusher
	tell   *complaints
	all    context.Context // ends with the mount
	end    context.CancelFunc
}

func newFileSystem(r Repository, o *Options, uid, gid uint32) *fileSystem {
	st := newStore(r, o.CacheSize)
	fs := &fileSystem{readOnly: readOnly{fuse.NewDefaultRawFileSystem()}, reader: newReader(st), owner: o.Owner, fresh: o.Fresh, tell: &complaints{report: o.Report}}
	fs.lib = &library{newLibrarian(o, st), uid, gid}
	fs.table = newTable(&shelfDir{lib: fs.lib, id: rootID})
	fs.all, fs.end = context.WithCancel(context.Background())
	fs.pusher = newPusher(fs.all, fs.table, fs.reader)
	return fs
}

// status says what an error means to a program, and tells people of what they should know.
func (fs *fileSystem) status(ctx context.Context, n node, err error) fuse.Status {
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, errNotFound):
		return fuse.ENOENT
	case ctx.Err() != nil:
		return fuse.EINTR
	}
	fs.tell.tell(n.path(ctx), err)
	return fuse.EIO
}

const permanent = 10 * 365 * 24 * 3600 // seconds

// attr writes what stat(2) shows.
func (fs *fileSystem) attr(ctx context.Context, id uint64, s *shot, n *snapshot.Node, out *fuse.Attr) error {
	out.Ino, out.Mode, out.Nlink = id, fileType(n.Type)|uint32(n.Mode), 1
	out.Mtime, out.Mtimensec = uint64(n.ModTime.Sec), n.ModTime.Nsec
	out.Ctime, out.Ctimensec = out.Mtime, out.Mtimensec
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
	if n.AccessTime != (snapshot.Time{}) {
		out.Atime, out.Atimensec = uint64(n.AccessTime.Sec), n.AccessTime.Nsec
	}
	out.Uid, out.Gid = n.UID, n.GID
	if fs.owner != nil {
		out.Uid, out.Gid = fs.owner.UID, fs.owner.GID
	}
	out.Blksize = 4096
	switch n.Type {
	case snapshot.File:
		out.Size, out.Blocks = n.Size, blocks(n)
	case snapshot.Symlink:
		out.Size = uint64(len(n.Target))
	case snapshot.CharDevice, snapshot.BlockDevice:
		major, minor := uint32(n.Device>>32), uint32(n.Device)
		out.Rdev = minor&0xff | major<<8 | minor&^0xff<<12 // as the kernel encodes it for user space
	}
	if s == nil || n.Link.IsZero() || n.Type == snapshot.Dir {
		return nil
	}
	links, err := s.linkCount(ctx, n.Link)
	out.Nlink = links
	return err
}

func fileType(t snapshot.Type) uint32 {
	switch t {
	case snapshot.Dir:
		return syscall.S_IFDIR
	case snapshot.Symlink:
		return syscall.S_IFLNK
	case snapshot.FIFO:
		return syscall.S_IFIFO
	case snapshot.Socket:
		return syscall.S_IFSOCK
	case snapshot.CharDevice:
		return syscall.S_IFCHR
	case snapshot.BlockDevice:
		return syscall.S_IFBLK
	}
	return syscall.S_IFREG
}

// admit tells the kernel of an entry.
func (fs *fileSystem) admit(ctx context.Context, e *entry, out *fuse.EntryOut) error {
	s := (*shot)(nil)
	if e.where.dir != nil {
		s = e.where.dir.shot
	}
	if err := fs.attr(ctx, e.id, s, &e.node, &out.Attr); err != nil {
		return err
	}
	out.NodeId = fs.remember(e)
	out.Generation, out.Attr.Ino = 1, out.NodeId
	out.EntryValid, out.AttrValid = permanent, permanent
	if e.brief {
		out.SetEntryTimeout(fs.fresh)
		out.SetAttrTimeout(fs.fresh)
	}
	return nil
}

func (fs *fileSystem) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(header.NodeId)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	d, err := fs.directory(ctx, n)
	if err != nil {
		return fs.status(ctx, n, err)
	}
	if d == nil {
		return fuse.ENOTDIR
	}
	if len(name) > nameMax {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	if t, ok := d.(*treeDir); ok {
		t.asked.Store(true)
	}
	var e entry
	err = d.lookup(ctx, name, &e)
	if err == errNotFound && d.constant() {
		out.EntryValid = permanent // and a node number of 0: there never will be such a name
		return fuse.OK
	}
	if err == nil {
		err = fs.admit(ctx, &e, out)
	}
	return fs.status(ctx, n, err)
}

func (fs *fileSystem) Forget(id, lookups uint64) { fs.forget(id, lookups) }

func (fs *fileSystem) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(in.NodeId)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	var found snapshot.Node
	err := n.describe(ctx, &found)
	if err == nil {
		err = fs.attr(ctx, n.id, n.shot(), &found, &out.Attr)
	}
	out.AttrValid = permanent
	if n.shot() == nil && found.Type == snapshot.Dir {
		out.SetTimeout(fs.fresh)
	}
	return fs.status(ctx, n, err)
}

func (fs *fileSystem) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(header.NodeId)
	if !ok {
		return nil, fuse.Status(syscall.ESTALE)
	}
	var found snapshot.Node
	if err := n.describe(ctx, &found); err != nil {
		return nil, fs.status(ctx, n, err)
	}
	if found.Type != snapshot.Symlink || found.Target == "" {
		return nil, fuse.EINVAL
	}
	target, _, _ := strings.Cut(found.Target, "\x00")
	return []byte(target), fuse.OK
}

func (fs *fileSystem) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.readDir(cancel, in, func(ctx context.Context, e *entry, d fuse.DirEntry) (bool, error) {
		return out.AddDirEntry(d), nil
	})
}

func (fs *fileSystem) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.readDir(cancel, in, func(ctx context.Context, e *entry, d fuse.DirEntry) (bool, error) {
		added := out.AddDirLookupEntry(d)
		if added == nil || e == nil || e.where.namesOnly() {
			return added != nil, nil
		}
		return true, fs.admit(ctx, e, added) // with an error the kernel sees a node number of 0: nothing is known but the name
	})
}

// fullBlobs is how many blobs of a folder are listed with attributes in any case: some ten thousand entries.
const fullBlobs = 16

// namesOnly reports whether a listing need not have the attributes of an entry. An inode costs the kernel some microseconds and a kilobyte, which is much
// for a folder of a million if somebody wants the names only. Whoever wants more will look up some entry, and gets the attributes
// of those that come after.
func (p place) namesOnly() bool {
	return p.dir != nil && p.at.blob() >= fullBlobs && !p.dir.asked.Load()
}

// readDir lists a folder from an offset on. add is given a nil entry for "." and "..".
func (fs *fileSystem) readDir(cancel <-chan struct{}, in *fuse.ReadIn, add func(context.Context, *entry, fuse.DirEntry) (bool, error)) fuse.Status {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(in.NodeId)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	d, err := fs.directory(ctx, n)
	if err != nil {
		return fs.status(ctx, n, err)
	}
	if d == nil {
		return fuse.ENOTDIR
	}
	given := 0
	for i, name := range []string{".", ".."} {
		if in.Offset > uint64(i) {
			continue
		}
		if more, _ := add(ctx, nil, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: in.NodeId, Off: uint64(i) + 1}); !more {
			return fuse.OK
		}
		given++
	}
	err = d.list(ctx, position(in.Offset), func(e *entry, next position) bool {
		more, err := add(ctx, e, fuse.DirEntry{Name: e.name, Mode: fileType(e.node.Type), Ino: e.id, Off: uint64(next)})
		if err != nil {
			fs.status(ctx, n, err)
		}
		if more {
			given++
		}
		return more
	})
	if given > 0 && err != nil && ctx.Err() == nil { // the kernel asks on, and is told at the end
		fs.status(ctx, n, err)
		return fuse.OK
	}
	if t, ok := d.(*treeDir); ok && given == 0 && err == nil {
		fs.pusher.listed(t)
	}
	return fs.status(ctx, n, err)
}

func (fs *fileSystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(in.NodeId)
	if !ok {
		return nil, fuse.Status(syscall.ESTALE)
	}
	var found snapshot.Node
	if err := n.describe(ctx, &found); err != nil {
		return nil, fs.status(ctx, n, err)
	}
	if found.Type != snapshot.File {
		return nil, fuse.EINVAL
	}
	if in.Offset == 0 && n.where.dir != nil {
		fs.pusher.noticed(n.where)
	}
	data, err := fs.reader.read(ctx, &found, in.Offset, uint64(in.Size))
	if err != nil {
		return nil, fs.status(ctx, n, err)
	}
	return fuse.ReadResultVector(data), fuse.OK
}

func (fs *fileSystem) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(in.NodeId)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	var want seeking
	switch in.Whence {
	case 3: // SEEK_DATA
		want = seekData
	case 4: // SEEK_HOLE
		want = seekHole
	default:
		return fuse.EINVAL
	}
	var found snapshot.Node
	if err := n.describe(ctx, &found); err != nil {
		return fs.status(ctx, n, err)
	}
	at, ok, err := fs.reader.next(ctx, &found, in.Offset, want)
	if err == nil && !ok {
		return fuse.Status(syscall.ENXIO)
	}
	out.Offset = at
	return fs.status(ctx, n, err)
}

func (fs *fileSystem) StatFs(cancel <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	ctx, end := request(fs.all, cancel)
	defer end()
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	c, err := fs.lib.catalog(ctx)
	if err != nil {
		root, _ := fs.get(rootID)
		return fs.status(ctx, root, err)
	}
	for _, s := range c.shots {
		out.Blocks += (s.bytes + 4095) / 4096
		out.Files += s.files
	}
	return fuse.OK
}

// OnUnmount is called when the last request was answered.
func (fs *fileSystem) OnUnmount() {
	fs.end()
	<-fs.pusher.done
}

// Init is called before the first request.
func (fs *fileSystem) Init(s *fuse.Server) { fs.pusher.start(s) }

func (fs *fileSystem) String() string { return "tarn" }
