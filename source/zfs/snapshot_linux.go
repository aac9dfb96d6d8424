package zfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// superMagic is what statfs says of a ZFS file system.
const superMagic = 0x2fc12fc1

// Plan says what Take would do with a mount.
func (Provider) Plan(ctx context.Context, m fssnap.Mount, _ string) fssnap.Plan {
	if m.FSType != "zfs" {
		return fssnap.Plan{}
	}
	origin, err := prepare(ctx, m)
	if err != nil {
		return fssnap.Plan{Why: fmt.Sprintf("zfs: %v", err)}
	}
	as := "snapshot as root"
	if !fssnap.Root() {
		as = "snapshot as a plain user, if `zfs allow` lets one"
	}
	return fssnap.Plan{Kind: fssnap.ZFS, ID: "zfs " + origin, Why: fmt.Sprintf("zfs: dataset %s, %s", m.Device, as)}
}

// prepare returns the guid of the dataset that is mounted, if a snapshot of it can be made and read.
func prepare(ctx context.Context, m fssnap.Mount) (origin string, err error) {
	dataset, _, isSnapshot := strings.Cut(m.Device, "@")
	switch {
	case isSnapshot:
		return "", fmt.Errorf("a snapshot of %s: nothing in it can change", dataset)
	case m.SuperHas("ro"):
		return "", fmt.Errorf("dataset %s is read-only: nothing in it can change", m.Device)
	}
	if _, _, err = control(m); err == nil {
		origin, err = guid(ctx, m.Device)
	}
	if err != nil {
		return "", fmt.Errorf("dataset %s: not taken: %w", m.Device, err)
	}
	return origin, nil
}

// control returns the folder that shows the snapshots of a mounted dataset, and where the mount's own top is below each. A bind
// mount of a part of the dataset has no such folder, but the dataset's own mount has.
func control(m fssnap.Mount) (dir, rel string, err error) {
	tops := []fssnap.Seen{{Mount: m, Path: m.Point}}
	if m.Root != "/" {
		mounts, err := fssnap.Mounts()
		if err != nil {
			return "", "", err
		}
		tops = fssnap.Elsewhere(mounts, m, m.Point)
	}
	for _, seen := range tops {
		if seen.Mount.Root != "/" {
			continue
		}
		dir = filepath.Join(seen.Mount.Point, ".zfs", "snapshot")
		if _, err := os.Stat(dir); err != nil {
			return "", "", err
		}
		return dir, m.Root, nil
	}
	return "", "", errors.New("the top of the dataset is not mounted anywhere here")
}

// Snapshot is a dataset held still.
type Snapshot struct {
	mapping  fssnap.Mapping
	name     string // DATASET@NAME
	guid     string // of the snapshot
	t0       time.Time
	root     *os.File // its top: as long as it is open, ZFS does not unmount the snapshot for not being used
	mu       sync.Mutex
	closed   bool
	released bool
}

// Take makes a snapshot of a mounted dataset.
func (p Provider) Take(ctx context.Context, r fssnap.Request) (fssnap.Snapshot, error) {
	s, err := p.take(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("zfs: hold %s: %w", r.Mount.Point, err)
	}
	return s, nil
}

func (p Provider) take(ctx context.Context, r fssnap.Request) (*Snapshot, error) {
	if r.Mount.FSType != "zfs" {
		return nil, fmt.Errorf("not ZFS but %s", r.Mount.FSType)
	}
	origin, err := prepare(ctx, r.Mount)
	if err != nil {
		return nil, err
	}
	name, err := fssnap.NewName(r, origin)
	if err != nil {
		return nil, err
	}
	self, err := fssnap.Self()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{name: r.Mount.Device + "@" + name.String()}
	if s.t0, err = settle(r.Mount.Point); err != nil {
		return nil, err
	}
	err = fssnap.Change(ctx, "zfs", "snapshot", "-o", ownerProperty+"="+self.String(), "-o", originProperty+"="+origin, s.name)
	if err == nil {
		err = s.open(ctx, r.Mount)
	}
	if err != nil {
		return nil, errors.Join(err, destroy(ctx, s.name))
	}
	return s, nil
}

// settle has the file system write out what it holds, and notes the time: before the last sync, so that a store to a mapped page that
// comes later finds the page clean and sets the change time.
func settle(point string) (time.Time, error) {
	top, err := os.Open(point)
	if err != nil {
		return time.Time{}, err
	}
	defer top.Close()
	if err := unix.Syncfs(int(top.Fd())); err != nil {
		return time.Time{}, fmt.Errorf("sync %s: %w", point, err)
	}
	var t0 unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t0); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	if err := unix.Syncfs(int(top.Fd())); err != nil {
		return time.Time{}, fmt.Errorf("sync %s: %w", point, err)
	}
	return time.Unix(t0.Unix()), nil
}

// open opens the top of the snapshot, which makes ZFS mount it.
func (s *Snapshot) open(ctx context.Context, m fssnap.Mount) (err error) {
	if s.guid, err = guid(ctx, s.name); err != nil {
		return err
	}
	dir, rel, err := control(m)
	if err != nil {
		return err
	}
	_, last, _ := strings.Cut(s.name, "@")
	if s.root, err = os.OpenFile(filepath.Join(dir, last), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	// Where ZFS can't mount it (in some containers), there is an empty folder of the control directory instead.
	var above, top unix.Stat_t
	var fs unix.Statfs_t
	err = errors.Join(unix.Stat(dir, &above), unix.Fstat(int(s.root.Fd()), &top), unix.Fstatfs(int(s.root.Fd()), &fs))
	if err == nil && (fs.Type != superMagic || top.Dev == above.Dev) {
		err = fmt.Errorf("ZFS did not mount %s", s.name)
	}
	if err != nil {
		s.root.Close()
		return err
	}
	s.mapping = fssnap.Mapping{From: m.Point, To: filepath.Join(fmt.Sprintf("/proc/self/fd/%d", s.root.Fd()), rel)}
	return nil
}

// T0 is the moment before which all that Exact vouches for was written.
func (s *Snapshot) T0() time.Time { return s.t0 }

// Exact reports whether a file with this change time was not being written when the snapshot was made.
func (s *Snapshot) Exact(ctime time.Time) bool { return ctime.Before(s.t0.Add(-Margin)) }

// Path returns where to read the file that the user calls p.
func (s *Snapshot) Path(p string) (string, bool) { return s.mapping.Path(p) }

// Skip is empty: the folder .zfs shows in no listing.
func (s *Snapshot) Skip() []string { return nil }

// Valid returns nil if the snapshot still stands.
func (s *Snapshot) Valid(ctx context.Context) error {
	there, err := exists(ctx, s.name)
	if err != nil {
		return fmt.Errorf("zfs: ask for %s: %w", s.name, err)
	}
	if !there {
		return fmt.Errorf("zfs: %w: somebody destroyed %s", fssnap.ErrInvalid, s.name)
	}
	switch g, err := guid(ctx, s.name); {
	case err != nil:
		return fmt.Errorf("zfs: ask for %s: %w", s.name, err)
	case g != s.guid:
		return fmt.Errorf("zfs: %w: %s is another snapshot now", fssnap.ErrInvalid, s.name)
	}
	return nil
}

// Release destroys the snapshot.
func (s *Snapshot) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return nil
	}
	if !s.closed {
		if err := s.root.Close(); err != nil {
			return fmt.Errorf("zfs: release %s: %w", s.name, err)
		}
		s.closed = true
	}
	if err := destroy(ctx, s.name); err != nil {
		return fmt.Errorf("zfs: release %s: %w", s.name, err)
	}
	s.released = true
	return nil
}

// Leftovers lists the snapshots of all datasets that have a name of tarn's.
func (Provider) Leftovers(ctx context.Context, mounts []fssnap.Mount) (list []fssnap.Leftover, err error) {
	if !anyZFS(mounts) {
		return nil, nil // nor is the module loaded for no reason
	}
	if _, err := fssnap.LookPath("zfs"); err != nil {
		return nil, nil
	}
	out, err := fssnap.Query(ctx, "zfs", "list", "-H", "-t", "snapshot", "-o", "name")
	if err != nil {
		return nil, fmt.Errorf("zfs: list leftovers: %w", err)
	}
	marks, err := marksOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("zfs: list leftovers: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		where := strings.TrimSuffix(line, "\n")
		_, last, _ := strings.Cut(where, "@")
		name, err := fssnap.ParseName(last)
		if err != nil {
			continue
		}
		l := fssnap.Leftover{Kind: fssnap.ZFS, Name: name, Where: where}
		if l.Doubt, err = doubt(ctx, where, marks[where]); err != nil {
			return list, fmt.Errorf("zfs: list leftovers: %w", err)
		}
		if owner, err := fssnap.ParseOwner(marks[where].owner); err == nil {
			l.Life = owner.Life()
		}
		l.Destroy = func(ctx context.Context) error { return destroy(ctx, where) }
		list = append(list, l)
	}
	return list, nil
}

func anyZFS(mounts []fssnap.Mount) bool {
	for _, m := range mounts {
		if m.FSType == "zfs" {
			return true
		}
	}
	return false
}
