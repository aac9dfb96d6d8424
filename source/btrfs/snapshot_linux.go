//go:build linux && !(mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64)

package btrfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// Plan says what Take would do with the folder dir of a mount.
func (Provider) Plan(_ context.Context, m fssnap.Mount, dir string) fssnap.Plan {
	if m.FSType != "btrfs" {
		return fssnap.Plan{}
	}
	at, err := locate(m, fssnap.Request{Mount: m, Dir: dir}.Folder())
	if err != nil {
		return fssnap.Plan{Why: fmt.Sprintf("btrfs: %v: not taken", err)}
	}
	top, err := openDir(at.top)
	if err != nil {
		return fssnap.Plan{Why: fmt.Sprintf("btrfs: %v: not taken", err)}
	}
	defer top.Close()
	info, err := infoOf(top)
	if err != nil {
		return fssnap.Plan{Why: fmt.Sprintf("btrfs: %v: not taken", err)}
	}
	if why := obstacle(m, top, info); why != "" {
		return fssnap.Plan{Why: why}
	}
	as := "its owner"
	if fssnap.Root() {
		as = "root"
	}
	return fssnap.Plan{Kind: fssnap.Btrfs, ID: "btrfs " + info.uuid.String(),
		Why: fmt.Sprintf("btrfs: subvolume %s, snapshot as %s", at.top, as)}
}

// obstacle says why no snapshot of a subvolume can be made and removed again; empty if one can.
func obstacle(m fssnap.Mount, top *os.File, info *subvolInfo) string {
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return fmt.Sprintf("btrfs: look at %s: %v: not taken", top.Name(), err)
	}
	switch {
	case info.flags&rootReadOnly != 0:
		return fmt.Sprintf("btrfs: subvolume %s is read-only: nothing in it can change", top.Name())
	case m.SuperHas("ro"):
		return "btrfs: the file system is read-only: nothing in it can change"
	case info.uuid.isZero():
		return fmt.Sprintf("btrfs: subvolume %s has no UUID, so that a leftover couldn't be told: not taken", top.Name())
	case fssnap.Root():
	case int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("btrfs as a plain user: subvolume %s is not the user's own: not taken", top.Name())
	case !m.SuperHas("user_subvol_rm_allowed"):
		return "btrfs as a plain user: the mount lacks user_subvol_rm_allowed: not taken"
	}
	if err := unix.Faccessat(int(top.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Sprintf("btrfs: no place for a snapshot in %s: %v: not taken", top.Name(), err)
	}
	return ""
}

// Snapshot is a subvolume held still.
type Snapshot struct {
	mapping  fssnap.Mapping
	skip     string
	name     fssnap.Name
	t0       time.Time
	uuid     uuid     // its own
	origin   uuid     // that of the subvolume
	folder   *os.File // where it stands
	root     *os.File // its top
	mu       sync.Mutex
	released bool
}

// Take makes a snapshot of the subvolume that holds the folder asked for.
func (p Provider) Take(ctx context.Context, r fssnap.Request) (fssnap.Snapshot, error) {
	s, err := take(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("btrfs: hold %s: %w", r.Folder(), err)
	}
	return s, nil
}

func take(ctx context.Context, r fssnap.Request) (_ *Snapshot, err error) {
	at, err := locate(r.Mount, r.Folder())
	if err != nil {
		return nil, err
	}
	top, err := openDir(at.top)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	info, err := infoOf(top)
	if err != nil {
		return nil, err
	}
	if why := obstacle(r.Mount, top, info); why != "" {
		return nil, errors.New(why)
	}
	s := &Snapshot{origin: info.uuid}
	if s.name, err = fssnap.NewName(r, info.uuid.String()); err != nil {
		return nil, err
	}
	if s.folder, err = makeFolder(top); err != nil {
		return nil, err
	}
	s.skip = filepath.Join(at.top, filepath.Base(s.folder.Name()))
	if err := ctx.Err(); err != nil {
		s.folder.Close()
		return nil, err
	}
	if err := s.make(top); err != nil {
		s.folder.Close()
		return nil, err
	}
	s.mapping = fssnap.Mapping{From: at.from, To: filepath.Join(fmt.Sprintf("/proc/self/fd/%d", s.root.Fd()), at.rel)}
	return s, nil
}

// make writes the mark, makes the snapshot and opens it. What it made before an error it takes away again.
func (s *Snapshot) make(top *os.File) error {
	name := s.name.String()
	if err := writeMark(s.folder, name, s.origin); err != nil {
		return err
	}
	// The first sync does the bulk of the work, so that the second one and the snapshot follow T0 closely. It also makes the mark
	// durable before there is anything that it marks.
	err := unix.Syncfs(int(top.Fd()))
	if err == nil {
		s.t0, err = now()
	}
	if err == nil {
		err = unix.Syncfs(int(top.Fd()))
	}
	if err == nil {
		err = create(s.folder, top, name)
	}
	if err != nil {
		return errors.Join(err, removeMark(s.folder, name))
	}
	if s.root, err = openDirAt(s.folder, name); err == nil {
		var info *subvolInfo
		if info, err = infoOf(s.root); err == nil {
			s.uuid = info.uuid
		}
	}
	if err != nil {
		return errors.Join(err, remove(s.folder, name, s.origin))
	}
	return nil
}

// now reads the clock that file systems take their times from.
func now() (time.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	return time.Unix(ts.Unix()), nil
}

// T0 is the moment that every change in the snapshot comes before, or shows a change time of it or later.
func (s *Snapshot) T0() time.Time { return s.t0 }

// Exact reports whether a file with this change time was not being written when the snapshot was made.
func (s *Snapshot) Exact(ctime time.Time) bool { return ctime.Before(s.t0.Add(-Margin)) }

// Path returns where to read the file that the user calls p.
func (s *Snapshot) Path(p string) (string, bool) { return s.mapping.Path(p) }

// Skip lists the folder in which the snapshot stands.
func (s *Snapshot) Skip() []string { return []string{s.skip} }

// Valid returns nil if the snapshot still stands. A deleted one shows empty folders.
func (s *Snapshot) Valid(context.Context) error {
	info, err := infoOf(s.root)
	if err != nil {
		return fmt.Errorf("btrfs: %w: %w", fssnap.ErrInvalid, err)
	}
	if info.parentID == 0 || info.uuid != s.uuid || info.flags&rootReadOnly == 0 {
		return fmt.Errorf("btrfs: %w: somebody deleted %s or made it writable", fssnap.ErrInvalid, s.name)
	}
	return nil
}

// Release removes the snapshot. It is short and can't be interrupted.
func (s *Snapshot) Release(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return nil
	}
	if err := remove(s.folder, s.name.String(), s.origin); err != nil {
		return fmt.Errorf("btrfs: release %s: %w", filepath.Join(s.skip, s.name.String()), err)
	}
	s.released = true
	return errors.Join(s.root.Close(), s.folder.Close())
}
