package fusefs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fsType is how the mount table calls it.
const fsType = "fuse.tarn"

const (
	requestMax   = 1 << 20 // bytes that a READ asks for at most
	backgroundOf = 32      // requests that the kernel makes ahead of programs
	readAheadKiB = 1024    // how far the kernel may read ahead, if we may say so
	endAllowed   = 2 * time.Second
)

// Mounted is a mount.
type Mounted struct {
	dir   string
	minor int // of the device number, which names the connection to the kernel
	fs    *fileSystem
	done  chan struct{}
}

// Mount mounts on dir, an empty folder, and returns when the mount is there. It is taken away by Unmount or Detach, or by anybody else; ctx
// is for mounting only.
func Mount(ctx context.Context, r Repository, dir string, o Options) (*Mounted, error) {
	o.setDefaults()
	for _, t := range o.Templates {
		if err := ParseTemplate(t); err != nil {
			return nil, err
		}
	}
	dir, err := mountPoint(dir)
	if err != nil {
		return nil, err
	}
	fs := newFileSystem(r, &o, uint32(os.Getuid()), uint32(os.Getgid()))
	server, err := fuse.NewServer(fs, dir, mountOptions(&o))
	if err != nil {
		fs.end()
		return nil, fmt.Errorf("mount on %s: %w", dir, err)
	}
	m := &Mounted{dir: dir, fs: fs, done: make(chan struct{})}
	go func() {
		server.Serve()
		close(m.done)
	}()
	if err := server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount on %s: %w", dir, err), m.Detach())
	}
	if info, err := find(dir); err == nil {
		m.minor = info.Minor
		readAhead(info.Major, info.Minor)
	}
	return m, nil
}

func mountOptions(o *Options) *fuse.MountOptions {
	m := &fuse.MountOptions{
		FsName: o.Device, Name: strings.TrimPrefix(fsType, "fuse."),
		Options:     []string{"ro", "nosuid", "nodev"},
		DirectMount: os.Geteuid() == 0, DirectMountFlags: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV,
		MaxWrite: requestMax, MaxBackground: backgroundOf,
		EnableSymlinkCaching: true,
		DisableSplice:        true, // data comes from memory: vectors are faster
		Logger:               log.New(complaintWriter{o}, "", 0),
	}
	if m.DirectMount {
		m.Options = nil
		if _, err := exec.LookPath("fusermount3"); err == nil { // the second try, in a container
			m.Options = []string{"ro"}
		}
	}
	if o.AllowOther {
		m.AllowOther = true
		m.Options = append(m.Options, "default_permissions")
		m.EnableAcl = true // else the mode's group bits, which are an ACL's mask, would let more through than the ACL does
	}
	return m
}

// complaintWriter takes what go-fuse logs.
type complaintWriter struct{ o *Options }

func (w complaintWriter) Write(p []byte) (int, error) {
	if !unwanted(string(p)) {
		w.o.Report("", errors.New(strings.TrimSpace(string(p))))
	}
	return len(p), nil
}

// unwanted reports whether go-fuse complains that nobody waits for an answer any more, which is so for each request that is going on when a mount
// ends, or when whoever asked is killed.
func unwanted(complaint string) bool {
	return strings.HasPrefix(complaint, "writer: ") && (strings.Contains(complaint, unix.ENOENT.Error()) || strings.Contains(complaint, unix.ENODEV.Error()))
}

// mountPoint checks that dir is an empty folder, and not one of a snapshot, since nothing could take away the mount that shows it then. It returns its
// real path.
func mountPoint(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, unix.ENOTCONN) {
		return "", fmt.Errorf("mount on %s: a mount is there whose program is gone", dir)
	}
	if err != nil {
		return "", fmt.Errorf("mount on %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("mount on %s: the folder is not empty", dir)
	}
	real, err := realPath(dir)
	if err != nil {
		return "", err
	}
	around, err := mountinfo.GetMounts(mountinfo.ParentsFilter(real))
	if err != nil {
		return "", err
	}
	// The deepest is what the folder lies in; of several on one folder the last one hides the others.
	slices.SortStableFunc(around, func(a, b *mountinfo.Info) int { return len(a.Mountpoint) - len(b.Mountpoint) })
	if n := len(around); n > 0 && around[n-1].FSType == fsType {
		return "", fmt.Errorf("mount on %s: it lies in the mount %s", dir, around[n-1].Mountpoint)
	}
	return real, nil
}

// realPath resolves links, of all but the last part if that is a mount which does not answer.
func realPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

// find returns the topmost mount on a folder, without asking that.
func find(dir string) (*mountinfo.Info, error) {
	list, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != dir, false })
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[len(list)-1].FSType != fsType {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotMounted)
	}
	return list[len(list)-1], nil
}

// readAhead lets the kernel read ahead a whole request. Only root may say so, and nothing depends on it.
func readAhead(major, minor int) {
	_ = os.WriteFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", major, minor), []byte(strconv.Itoa(readAheadKiB)), 0)
}

// Dir is where it is mounted.
func (m *Mounted) Dir() string { return m.dir }

// Done is closed when the mount is gone, whoever took it away.
func (m *Mounted) Done() <-chan struct{} { return m.done }

// Unmount takes the mount away. ErrBusy is wrapped if it is in use.
func (m *Mounted) Unmount() error {
	if err := unmount(m.dir, Politely); err != nil {
		return err
	}
	m.wait()
	return nil
}

// wait waits for the end of what is served. A storage that nothing can interrupt can hold that up, but not us.
func (m *Mounted) wait() {
	select {
	case <-m.done:
	case <-time.After(endAllowed):
	}
}

// Detach takes the mount away though it is in use: it is gone from the tree at once, and who still uses it gets errors.
func (m *Mounted) Detach() error {
	err := unmount(m.dir, AtOnce)
	m.fs.end() // requests that hang
	abort := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", m.minor)
	if os.WriteFile(abort, []byte("1"), 0) == nil || err == nil && os.Geteuid() == 0 {
		m.wait()
	}
	return err
}

// Unmount takes a mount of tarn's away that another process serves.
func Unmount(dir string, how Force) error {
	dir, err := realPath(dir)
	if err != nil {
		return err
	}
	if _, err := find(dir); err != nil {
		return err
	}
	return unmount(dir, how)
}

func unmount(dir string, how Force) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if how == AtOnce {
			flags |= unix.MNT_FORCE | unix.MNT_DETACH // the first ends all requests, the second the mount
		}
		err := unix.Unmount(dir, flags)
		if err == nil {
			return nil
		}
		if err == unix.EBUSY {
			return fmt.Errorf("unmount %s: %w", dir, ErrBusy)
		}
		if err != unix.EPERM {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	args := []string{"-u"}
	if how == AtOnce {
		args = append(args, "-z")
	}
	cmd := exec.Command("fusermount3", append(args, "--", dir)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	switch text := strings.TrimSpace(string(out)); {
	case err == nil:
		return nil
	case strings.Contains(text, "busy"):
		return fmt.Errorf("unmount %s: %w", dir, ErrBusy)
	case text != "":
		return fmt.Errorf("unmount %s: %s", dir, text)
	default:
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
}

// Users lists the processes that use a folder or something below it, as far as we may know. It does not ask the file system that is mounted there.
func Users(dir string) []User {
	dir, err := realPath(dir)
	if err != nil {
		return nil
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	var users []User
	for _, p := range procs {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() || !uses(p, dir) {
			continue
		}
		name, _ := os.ReadFile(p + "/comm")
		users = append(users, User{pid, strings.TrimSpace(string(name))})
	}
	return users
}

func uses(proc, dir string) bool {
	links, _ := filepath.Glob(proc + "/fd/*")
	for _, l := range append(links, proc+"/cwd", proc+"/root", proc+"/exe") {
		if at, err := os.Readlink(l); err == nil && (at == dir || strings.HasPrefix(at, dir+"/")) {
			return true
		}
	}
	maps, _ := os.ReadFile(proc + "/maps")
	return strings.Contains(string(maps), " "+dir+"/")
}
