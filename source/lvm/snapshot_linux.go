package lvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// Plan says what Take would do with a mount.
func (p Provider) Plan(ctx context.Context, m fssnap.Mount, _ string) fssnap.Plan {
	if mountOptions(m.FSType) == nil {
		return fssnap.Plan{}
	}
	origin, how, err := p.prepare(ctx, m)
	if err != nil {
		return fssnap.Plan{Why: fmt.Sprintf("%s on %v", m.FSType, err)}
	}
	return fssnap.Plan{Kind: how.kind, ID: "lvm " + origin.UUID,
		Why: fmt.Sprintf("%s on LVM %s: %s", m.FSType, origin.full(), how.text)}
}

// prepare finds the volume that a mount lies on, and how a snapshot of it is made. Its error begins with what the mount is on.
func (p Provider) prepare(ctx context.Context, m fssnap.Mount) (origin volume, how method, err error) {
	uuid, name, err := mapped(m)
	if err != nil {
		return origin, how, fmt.Errorf("%s, not on a volume of LVM: no snapshots here", m.Device)
	}
	switch {
	case !fssnap.Root():
		return origin, how, fmt.Errorf("LVM %s: only root can make a snapshot: not taken", name)
	case m.SuperHas("ro"):
		return origin, how, fmt.Errorf("LVM %s: the file system is read-only: nothing in it can change", name)
	}
	if origin, err = volumeOf(ctx, fmt.Sprintf("lv_uuid=%q", uuid)); err == nil {
		how, err = p.method(ctx, m, origin)
	}
	if err != nil {
		return origin, how, fmt.Errorf("LVM %s: not taken: %w", name, err)
	}
	return origin, how, nil
}

// method is how a snapshot of a volume is made.
type method struct {
	kind fssnap.Kind
	text string
	args []string // of lvcreate
}

func (p Provider) method(ctx context.Context, m fssnap.Mount, origin volume) (method, error) {
	for option := range strings.SplitSeq(m.SuperOptions, ",") {
		if strings.HasPrefix(option, "logdev=") || strings.HasPrefix(option, "rtdev=") || strings.HasPrefix(option, "journal_dev=") {
			return method{}, errors.New("a part of the file system is on another device")
		}
	}
	if origin.Pool == "" {
		extents, err := p.room(origin)
		return method{
			kind: fssnap.LVMThick,
			text: "thick snapshot of " + sizeText(extents*origin.ExtentSize),
			args: []string{"-l", fmt.Sprint(extents)},
		}, err
	}
	pool, err := volumeOf(ctx, named(origin.Group, origin.Pool))
	if err != nil {
		return method{}, err
	}
	if pool.Data > poolFullest || pool.Metadata > poolFullest || pool.Health != "" {
		return method{}, fmt.Errorf("the thin pool %s is nearly full or not well (data %.0f %%, metadata %.0f %%, health %q)",
			pool.full(), pool.Data, pool.Metadata, pool.Health)
	}
	// Without -kn the volume would be marked to be left out of activation, and there would be no device.
	return method{kind: fssnap.LVMThin, text: "thin snapshot", args: []string{"-kn", "-ay"}}, nil
}

// mapped returns the UUID of the logical volume that a mount's device is, and the device mapper's name for it, as sysfs tells any user.
func mapped(m fssnap.Mount) (uuid, name string, err error) {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/dm", m.Major, m.Minor)
	data, err := os.ReadFile(filepath.Join(dir, "uuid"))
	if err != nil {
		return "", "", err
	}
	uuid, ok := uuidOf(string(data))
	if !ok {
		return "", "", fmt.Errorf("device %d:%d is not a logical volume", m.Major, m.Minor)
	}
	data, err = os.ReadFile(filepath.Join(dir, "name"))
	return uuid, strings.TrimSpace(string(data)), err
}

// Snapshot is a logical volume held still.
type Snapshot struct {
	mapping  fssnap.Mapping
	volume   volume
	root     *os.File // the top of the mounted snapshot
	point    string   // where it is mounted; empty if nowhere
	mu       sync.Mutex
	closed   bool
	released bool
}

// Take makes a snapshot of the volume that a mount lies on, and mounts it.
func (p Provider) Take(ctx context.Context, r fssnap.Request) (fssnap.Snapshot, error) {
	s, err := p.take(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("lvm: hold %s: %w", r.Mount.Point, err)
	}
	return s, nil
}

func (p Provider) take(ctx context.Context, r fssnap.Request) (*Snapshot, error) {
	if mountOptions(r.Mount.FSType) == nil {
		return nil, fmt.Errorf("no snapshots of %s on LVM", r.Mount.FSType)
	}
	origin, how, err := p.prepare(ctx, r.Mount)
	if err != nil {
		return nil, fmt.Errorf("%s on %w", r.Mount.FSType, err)
	}
	name, err := fssnap.NewName(r, origin.UUID)
	if err != nil {
		return nil, err
	}
	self, err := fssnap.Self()
	if err != nil {
		return nil, err
	}
	args := append([]string{"--yes", "-s", "-n", name.String(), "--addtag", ownerTag + "=" + self.String(),
		"--addtag", originTag + "=" + origin.UUID}, how.args...)
	if err := fssnap.Change(ctx, "lvcreate", append(args, origin.full())...); err != nil {
		// It may have come far enough to leave a volume. What can't be proven to be ours stays.
		return nil, errors.Join(err, discard(ctx, origin.Group, name.String()))
	}
	s, err := p.open(ctx, r.Mount, origin.Group, name.String())
	if err != nil {
		return nil, errors.Join(err, discard(ctx, origin.Group, name.String()))
	}
	return s, nil
}

// open mounts a snapshot volume that was just made.
func (p Provider) open(ctx context.Context, m fssnap.Mount, group, name string) (*Snapshot, error) {
	v, err := volumeOf(ctx, named(group, name))
	if err != nil {
		return nil, err
	}
	if why := doubt(v); why != "" {
		return nil, fmt.Errorf("snapshot %s: %w: %s", v.full(), fssnap.ErrDoubt, why)
	}
	s := &Snapshot{volume: v}
	if s.root, s.point, err = p.mount(v, m.FSType); err != nil {
		return nil, err
	}
	s.mapping = fssnap.Mapping{From: m.Point, To: filepath.Join(fmt.Sprintf("/proc/self/fd/%d", s.root.Fd()), m.Root)}
	return s, nil
}

// Path returns where to read the file that the user calls p.
func (s *Snapshot) Path(p string) (string, bool) { return s.mapping.Path(p) }

// Exact is true: the volume holds everything as it was at one moment.
func (s *Snapshot) Exact(time.Time) bool { return true }

// Skip is empty: nothing was put among the user's files.
func (s *Snapshot) Skip() []string { return nil }

// Valid returns nil if the snapshot volume has not overflowed.
func (s *Snapshot) Valid(ctx context.Context) error {
	v, err := volumeOf(ctx, named(s.volume.Group, s.volume.Name))
	switch {
	case errors.Is(err, errNone):
		return fmt.Errorf("lvm: %w: somebody removed %s", fssnap.ErrInvalid, s.volume.full())
	case err != nil:
		return fmt.Errorf("lvm: ask whether %s is intact: %w", s.volume.full(), err)
	case v.UUID != s.volume.UUID:
		return fmt.Errorf("lvm: %w: %s is another volume now", fssnap.ErrInvalid, s.volume.full())
	case v.Invalid || v.Snap >= 100 || len(v.Attr) > 4 && (v.Attr[4] == 'I' || v.Attr[4] == 'S'):
		return fmt.Errorf("lvm: %w: %s overflowed: more was written to %s than it has room for", fssnap.ErrInvalid, v.full(), v.Origin)
	case v.Health != "":
		return fmt.Errorf("lvm: %w: %s is not well: %s", fssnap.ErrInvalid, v.full(), v.Health)
	}
	return nil
}

// Release unmounts the snapshot volume and removes it.
func (s *Snapshot) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return nil
	}
	if !s.closed {
		if err := s.root.Close(); err != nil {
			return fmt.Errorf("lvm: release %s: %w", s.volume.full(), err)
		}
		s.closed = true
	}
	if s.point != "" {
		if err := unmount(ctx, s.point); err != nil {
			return fmt.Errorf("lvm: release %s: %w", s.volume.full(), err)
		}
		s.point = ""
	}
	if err := discard(ctx, s.volume.Group, s.volume.Name); err != nil {
		return fmt.Errorf("lvm: release %s: %w", s.volume.full(), err)
	}
	s.released = true
	return nil
}

// discard removes the snapshot volume of that exact name, having proven it to be tarn's. One that isn't there is no error.
func discard(ctx context.Context, group, name string) error {
	// A backup that was interrupted must still give back what it holds.
	ctx = context.WithoutCancel(ctx)
	v, err := volumeOf(ctx, named(group, name))
	switch {
	case errors.Is(err, errNone):
		return nil
	case err != nil:
		return err
	}
	if why := doubt(v); why != "" {
		return fmt.Errorf("remove %s: %w: %s", v.full(), fssnap.ErrDoubt, why)
	}
	// The last file that was open in it, and the mount with it, may be closed by the kernel a moment later than by us.
	return insist(ctx, func() error {
		// --yes answers the question whether an active volume may go. It is not --force: one that is in use stays.
		if err := fssnap.Change(ctx, "lvremove", "--yes", "-S", proof(v), v.full()); err != nil {
			return err
		}
		// With a selection that fits nothing, lvremove succeeds and removes nothing.
		switch _, err := volumeOf(ctx, named(group, name)); {
		case errors.Is(err, errNone):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("%s is still there", v.full())
	})
}

// insist tries some seconds long.
func insist(ctx context.Context, try func() error) error {
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		err := try()
		if err == nil || pause > 2*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Leftovers lists the snapshot volumes of all volume groups that have a name or tags of tarn's.
func (p Provider) Leftovers(ctx context.Context, _ []fssnap.Mount) (list []fssnap.Leftover, err error) {
	if !fssnap.Root() {
		return nil, nil
	}
	if _, err := fssnap.LookPath("lvs"); err != nil {
		return nil, nil
	}
	found, err := volumes(ctx, `lv_name=~"^tarn-"`)
	if err != nil {
		return nil, fmt.Errorf("lvm: list leftovers: %w", err)
	}
	for _, v := range found {
		name, err := fssnap.ParseName(v.Name)
		if err != nil {
			continue
		}
		l := fssnap.Leftover{Kind: fssnap.LVMThick, Name: name, Where: v.full(), Doubt: doubt(v)}
		if v.Pool != "" {
			l.Kind = fssnap.LVMThin
		}
		if owner, err := fssnap.ParseOwner(v.tag(ownerTag)); err == nil {
			l.Life = owner.Life()
		}
		l.Destroy = func(ctx context.Context) error { return p.destroy(ctx, v) }
		list = append(list, l)
	}
	return list, nil
}

// destroy removes a leftover, with the folder that it may still be mounted on.
func (p Provider) destroy(ctx context.Context, v volume) error {
	now, err := volumeOf(ctx, named(v.Group, v.Name))
	switch {
	case errors.Is(err, errNone):
		return nil
	case err != nil:
		return err
	case now.UUID != v.UUID:
		return fmt.Errorf("%w: %s is another volume now", fssnap.ErrDoubt, v.full())
	}
	if why := doubt(now); why != "" {
		return fmt.Errorf("%w: %s", fssnap.ErrDoubt, why)
	}
	mounts, err := fssnap.Mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Major == now.Major && m.Minor == now.Minor && filepath.Base(m.Point) == now.Name {
			if err := unmount(ctx, m.Point); err != nil {
				return err
			}
		}
	}
	return discard(ctx, v.Group, v.Name)
}
