package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Stat is what the system knows about a file.
type Stat = unix.Stat_t

// Capturer captures files in use. Many goroutines may use one.
type Capturer struct {
	budget *budget
	leases *keeper
	now    func() time.Time
	temp   string
	clones []string

	mu     sync.RWMutex
	traits map[uint64]traits // by st_dev
}

// traits is what may be relied upon on a file system.
type traits struct {
	leases    bool // a read lease is refused while anybody has the file open for writing
	stable    bool // an unchanged ctime is proof
	clones    bool // FICLONE is one moment
	holes     bool // SEEK_DATA tells what was written, too, if it is in memory only
	fineTimes bool // since Linux 6.13, a change after a look never leaves the ctime as it is
}

// traitsOf is an allow-list: overlayfs and FUSE grant leases on files that are being written, tmpfs does not see stores to a
// mapping, and of network file systems nothing is known.
func traitsOf(magic int64) traits {
	switch magic {
	case unix.EXT4_SUPER_MAGIC: // that of ext2 and ext3 also
		return traits{leases: true, stable: true, holes: true, fineTimes: true}
	case unix.F2FS_SUPER_MAGIC:
		return traits{leases: true, stable: true, holes: true}
	case unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return traits{leases: true, stable: true, holes: true, clones: true, fineTimes: true}
	case unix.TMPFS_MAGIC: // its holes are pages that were never there
		return traits{leases: true, holes: true, fineTimes: true}
	}
	return traits{}
}

// New returns a Capturer, and starts the goroutine that lets go of leases when somebody wants to write. The caller must
// Close it.
func New(o Options) (*Capturer, error) {
	c := &Capturer{
		budget: newBudget(o),
		now:    o.Now,
		temp:   o.Temp,
		clones: o.Clones,
		traits: make(map[uint64]traits),
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.temp == "" {
		c.temp = os.TempDir()
	}
	c.leases = newKeeper()
	return c, nil
}

// Close lets go of all leases and stops the goroutine. Files that are open stay so, and are no longer proven by a lease.
func (c *Capturer) Close() error {
	c.leases.close()
	return nil
}

// Open opens one file of the folder dirfd, which must stay open until the File is closed, and holds it still as well as
// the file system can. Name is one path element. The file is not reopened by name, so the result is about one inode
// whatever happens to the folder.
func (c *Capturer) Open(ctx context.Context, dirfd int, name string, pass Pass) (*File, error) {
	f, err := c.open(ctx, dirfd, name, pass)
	if err != nil {
		return nil, err
	}
	if err := f.rest(ctx); err != nil {
		f.Close()
		return nil, err
	}
	if err := f.hold(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// open opens a file and looks at it, without holding it still.
func (c *Capturer) open(ctx context.Context, dirfd int, name string, pass Pass) (*File, error) {
	fd, err := c.openat(ctx, dirfd, name, pass)
	if err != nil {
		return nil, err
	}
	f := &File{c: c, dirfd: dirfd, name: name, pass: pass, fd: fd, src: fd}
	if err := fstat(fd, &f.first); err != nil {
		f.Close()
		return nil, fmt.Errorf("stat %q: %w", name, err)
	}
	if f.first.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, fmt.Errorf("open %q: %w", name, ErrNotRegular)
	}
	f.size = f.first.Size
	if f.traits, err = c.traitsAt(fd, uint64(f.first.Dev)); err != nil {
		f.Close()
		return nil, fmt.Errorf("ask for the file system of %q: %w", name, err)
	}
	return f, nil
}

// openat opens without waiting for the other end of a FIFO, and without changing the access time where the kernel lets one.
// Another program's write lease (Samba's, for example) refuses an open that may not wait.
func (c *Capturer) openat(ctx context.Context, dirfd int, name string, pass Pass) (int, error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOATIME
	for try := 0; ; {
		fd, err := unix.Openat(dirfd, name, flags, 0)
		switch {
		case err == nil:
			return fd, nil
		case err == unix.EINTR:
			if err := ctx.Err(); err != nil {
				return -1, err
			}
		case err == unix.EPERM && flags&unix.O_NOATIME != 0: // not the owner
			flags &^= unix.O_NOATIME
		case err == unix.ELOOP || err == unix.ENXIO || err == unix.ENODEV:
			return -1, fmt.Errorf("open %q: %w: %w", name, ErrNotRegular, err)
		case err == unix.EWOULDBLOCK && pass == First:
			return -1, fmt.Errorf("open %q: another program holds a lease: %w", name, ErrLater)
		case err == unix.EWOULDBLOCK && try < triesMax && c.budget.spend(pauseOf(try), 0):
			if err := wait(ctx, pauseOf(try)); err != nil {
				return -1, err
			}
			try++
		default:
			return -1, fmt.Errorf("open %q: %w", name, err)
		}
	}
}

func (c *Capturer) traitsAt(fd int, dev uint64) (traits, error) {
	c.mu.RLock()
	t, ok := c.traits[dev]
	c.mu.RUnlock()
	if ok {
		return t, nil
	}
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return traits{}, err
	}
	t = traitsOf(int64(fs.Type) & 0xffffffff) // the field is signed and 32 bits long on some machines
	c.mu.Lock()
	c.traits[dev] = t
	c.mu.Unlock()
	return t, nil
}

// tempFile makes a file for a copy, which is gone when it is closed.
func (c *Capturer) tempFile() (int, error) {
	fd, err := unnamed(unix.AT_FDCWD, c.temp)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return fd, err
	}
	f, err := os.CreateTemp(c.temp, "tarn-") // the file system knows no files without a name
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return -1, err
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// pause waits if the budget allows it, and reports whether it did.
func (c *Capturer) pause(ctx context.Context, d time.Duration) (bool, error) {
	if !c.budget.spend(d, 0) {
		return false, ctx.Err()
	}
	return true, wait(ctx, d)
}

// retry calls fn until a signal doesn't interrupt it. The runtime's own signals restart most calls, not those on all network
// file systems.
func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func fstat(fd int, st *Stat) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			return err
		}
	}
}

func ctimeOf(st *Stat) time.Time { return time.Unix(st.Ctim.Unix()) }
