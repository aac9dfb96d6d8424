package source

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/btrfs"
	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/lvm"
	"github.com/tarn-backup/tarn/source/zfs"
)

// Mode says how much file system snapshots are wanted.
type Mode uint8

// The modes.
const (
	Auto     Mode = iota // take them where they can be had
	Off                  // take none
	On                   // the same as Auto, but it is a fault if there is none
	Required             // no backup without
)

// ParseMode reads auto, off, on or required.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("%q: want off, auto, on or required", s)
}

func (m Mode) String() string { return modeNames[m] }

var modeNames = [...]string{Auto: "auto", Off: "off", On: "on", Required: "required"}

// ErrNotHeld is wrapped when a file system snapshot is required and can't be had.
var ErrNotHeld = errors.New("a file system snapshot is required")

// Region is a part of the user's folders that is read in one way: from a snapshot, or as it is.
type Region struct {
	Top string // the folder where it begins, as the user calls it

	snap fssnap.Snapshot // nil if it is read as it is
	seen fssnap.Mapping  // from Top to where the mount that the snapshot was made through shows it
	fs   FileSystem      // of the user's folder, which the snapshot's may number otherwise
}

// Held reports whether the region is read from a snapshot.
func (r *Region) Held() bool { return r != nil && r.snap != nil }

// Exact reports whether a file of a held region, by its ctime in the snapshot, is as it was at one moment.
func (r *Region) Exact(ctime snapshot.Time) bool { return r.snap.Exact(ctime.Time()) }

// FileSystem says which file system the region is on, snapshot or not.
func (r *Region) FileSystem() FileSystem { return r.fs }

// path returns where to read what the user calls p.
func (r *Region) path(p string) (string, bool) {
	if !r.Held() {
		return p, true
	}
	at, ok := r.seen.Path(p)
	if !ok {
		return "", false
	}
	return r.snap.Path(at)
}

// Holder holds the file systems still that some paths are on. The nil Holder holds none.
type Holder struct {
	regions   map[string]*Region // by their tops
	snapshots []fssnap.Snapshot
	skip      map[string]bool
	files     map[string]bool // that are mounted one by one
	mounts    []snapshot.Mount
	missed    []snapshot.Mount
	live      bool // something is read as it is
}

// HoldOptions says how to hold.
type HoldOptions struct {
	Mode       Mode
	Below      map[string]Mode // other modes, for folders and what is below them
	Repository string          // the first 8 hex digits of its id
	Session    string          // 32 hex digits
}

// modeOf is the mode of what is at a path.
func (o *HoldOptions) modeOf(path string) Mode {
	for p := path; len(o.Below) > 0; p = filepath.Dir(p) {
		if m, ok := o.Below[p]; ok {
			return m
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	return o.Mode
}

// inner returns the folders with a mode of their own that lie in the paths: each is a place for itself.
func (o *HoldOptions) inner(paths []string) (dirs []string, err error) {
	for dir := range o.Below {
		at, above := false, false
		for _, p := range paths {
			at = at || p == dir || fssnap.Mapping{From: p}.Has(dir)
			above = above || fssnap.Mapping{From: dir}.Has(p)
		}
		st, err := Lstat(dir)
		switch {
		case !at && !above:
			return nil, fmt.Errorf("--fs-snapshot %s=%s: nothing there is saved", dir, o.Below[dir])
		case err != nil:
			return nil, fmt.Errorf("--fs-snapshot %s=%s: %w", dir, o.Below[dir], err)
		case st.Type != snapshot.Dir:
			return nil, fmt.Errorf("--fs-snapshot %s=%s: not a folder", dir, o.Below[dir])
		case at:
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs, nil
}

func providers() []fssnap.Provider {
	return []fssnap.Provider{btrfs.Provider{}, zfs.Provider{}, lvm.Provider{}}
}

// place is a folder that may be held for itself: a path of the user's, a mount or a subvolume below one.
type place struct {
	mount fssnap.Mount
	dir   string
	real  string // dir without symbolic links
	file  bool   // a single file that is mounted there
}

// Decision says how a place is, or would be, held still.
type Decision struct {
	Dir   string
	Mount fssnap.Mount
	Plan  fssnap.Plan

	real     string // Dir without symbolic links: the mount is that of it
	file     bool
	provider fssnap.Provider
}

// Plan says what Hold would do with the paths. It changes nothing.
func Plan(ctx context.Context, paths []string) ([]Decision, error) {
	places, err := placesOf(ctx, paths)
	if err != nil {
		return nil, err
	}
	var list []Decision
	seen := map[string]bool{}
	for _, p := range places {
		if seen[p.dir] {
			continue
		}
		seen[p.dir] = true
		d := Decision{Dir: p.dir, Mount: p.mount, Plan: fssnap.Plan{Why: "a single file is mounted there"}, real: p.real, file: p.file}
		if !p.file {
			d.Plan, d.provider = fssnap.Decide(ctx, providers(), p.mount, p.real)
		}
		list = append(list, d)
	}
	return list, nil
}

// placesOf lists the places that a walk of absolute paths meets: theirs, and the mounts and subvolumes below.
func placesOf(ctx context.Context, paths []string) ([]place, error) {
	mounts, err := fssnap.Mounts()
	if err != nil {
		return nil, err
	}
	var places []place
	add := func(dir, real string) error {
		m, ok := fssnap.Find(mounts, real)
		if !ok {
			return nil
		}
		places = append(places, place{m, dir, real, false})
		nested, err := btrfs.Nested(ctx, real)
		if err != nil {
			return nil // not Btrfs, or not to be told; then its folders are read as they are
		}
		for _, sub := range nested {
			m, ok := fssnap.Find(mounts, sub.Path)
			if at, below := (fssnap.Mapping{From: real, To: dir}).Path(sub.Path); ok && below {
				places = append(places, place{m, at, sub.Path, false})
			}
		}
		return ctx.Err()
	}
	for _, p := range paths {
		dir := folderOf(p)
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			real = dir // the walk will say what is wrong with it
		}
		if err := add(dir, real); err != nil {
			return nil, err
		}
		for _, m := range fssnap.Below(mounts, real) {
			at, _ := fssnap.Mapping{From: real, To: dir}.Path(m.Point)
			if dir != p && at != p { // beside the single file
				continue
			}
			if st, err := Lstat(m.Point); err == nil && st.Type != snapshot.Dir {
				places = append(places, place{m, at, m.Point, true})
			} else if err := add(at, m.Point); err != nil { // one that can't be looked at is an empty folder in a snapshot
				return nil, err
			}
		}
	}
	return places, nil
}

// folderOf returns the folder at a path, or that of a single file: it is what can be held.
func folderOf(path string) string {
	if st, err := Lstat(path); err != nil || st.Type != snapshot.Dir {
		return filepath.Dir(path)
	}
	return path
}

// Hold makes the snapshots that can be had for the paths. Release must be called. With Required, an error means that nothing is held.
func Hold(ctx context.Context, paths []string, o HoldOptions) (*Holder, error) {
	inner, err := o.inner(paths)
	if err != nil || o.Mode == Off && len(o.Below) == 0 {
		return nil, err
	}
	decisions, err := Plan(ctx, append(slices.Clone(paths), inner...))
	if err != nil {
		return nil, err
	}
	h := &Holder{regions: map[string]*Region{}, skip: map[string]bool{}, files: map[string]bool{}}
	// A snapshot shows no more than the mount that it is made through, and serves the others, too: the one that shows most comes first.
	// Whether a single file matters follows from what is around it.
	slices.SortStableFunc(decisions, func(a, b Decision) int {
		switch {
		case a.file == b.file:
			return len(a.Mount.Root) - len(b.Mount.Root)
		case a.file:
			return 1
		}
		return -1
	})
	taken := map[string]held{}
	for _, d := range decisions {
		if d.file && !h.Around(filepath.Dir(d.Dir)).Held() {
			continue
		}
		if err := h.take(ctx, d, o, taken); err != nil {
			return nil, errors.Join(err, h.Release(context.WithoutCancel(ctx)))
		}
	}
	if len(h.snapshots) == 0 {
		h.regions = nil // nothing to look up on the walk
	}
	return h, nil
}

// take holds one place. Where that fails it is read as it is, unless a snapshot is required.
func (h *Holder) take(ctx context.Context, d Decision, o HoldOptions, taken map[string]held) error {
	region := &Region{Top: d.Dir}
	if dir, err := OpenDir(d.Dir); err == nil {
		region.fs = dir.FileSystem()
		dir.Release()
	}
	why, method, mode := d.Plan.Why, "live", o.modeOf(d.Dir)
	if mode == Off {
		why = "as it was asked for: --fs-snapshot off"
	} else if d.provider != nil {
		if seen, err := h.snapshot(ctx, d, o, taken); err == nil {
			region.snap, region.seen, method = taken[d.Plan.ID].snap, seen, d.Plan.Kind.String()
		} else if ctx.Err() != nil {
			return ctx.Err()
		} else {
			why = err.Error()
		}
	}
	if !region.Held() && !region.fs.Pseudo {
		if mode == Required {
			return fmt.Errorf("%s: %w: %s", d.Dir, ErrNotHeld, why)
		}
		h.live = true
	}
	m := snapshot.Mount{Point: d.Dir, FSType: d.Mount.FSType, Method: method, Reason: why}
	h.mounts = append(h.mounts, m)
	if d.file {
		h.files[d.Dir] = true
	} else {
		h.regions[d.Dir] = region
	}
	if mode == On && !region.Held() && !region.fs.Pseudo {
		h.missed = append(h.missed, m)
	}
	return nil
}

// held is a snapshot that was taken, and the mount that it was made through.
type held struct {
	snap  fssnap.Snapshot
	mount fssnap.Mount
}

// snapshot takes the snapshot of a place, unless one was taken that serves it, and returns where that one's mount shows the place. What is mounted
// a second time, by bind for example, is an empty folder there, or none.
func (h *Holder) snapshot(ctx context.Context, d Decision, o HoldOptions, taken map[string]held) (seen fssnap.Mapping, err error) {
	t, ok := taken[d.Plan.ID]
	if !ok {
		t.mount = d.Mount
		if t.snap, err = d.provider.Take(ctx, fssnap.Request{Mount: d.Mount, Dir: d.real, Repository: o.Repository, Session: o.Session}); err != nil {
			return seen, err
		}
		taken[d.Plan.ID], h.snapshots = t, append(h.snapshots, t.snap)
	}
	seen = fssnap.Mapping{From: d.Dir, To: d.real}
	if d.Mount.ID != t.mount.ID {
		inside, _ := d.Mount.Inside(d.real)
		if seen.To, ok = t.mount.Outside(inside); !ok {
			return seen, fmt.Errorf("the snapshot was made through %s, which does not show this", t.mount.Point)
		}
	}
	for _, p := range t.snap.Skip() {
		h.skip[p] = true
		if at, ok := (fssnap.Mapping{From: seen.To, To: seen.From}).Path(p); ok {
			h.skip[at] = true
		}
	}
	return seen, nil
}

// Mounts says how each place is held, for the record.
func (h *Holder) Mounts() []snapshot.Mount {
	if h == nil {
		return nil
	}
	return h.mounts
}

// Missed lists the places that are read as they are, although a snapshot was wanted (On).
func (h *Holder) Missed() []snapshot.Mount {
	if h == nil {
		return nil
	}
	return h.missed
}

// HoldsAll reports whether all that is to be read is held.
func (h *Holder) HoldsAll() bool { return h != nil && len(h.snapshots) > 0 && !h.live }

// Begins returns the region that begins at a folder, or nil if none does.
func (h *Holder) Begins(path string) *Region {
	if h == nil {
		return nil
	}
	return h.regions[path]
}

// Around returns the region in which an absolute path lies, or nil.
func (h *Holder) Around(path string) *Region {
	if h == nil || h.regions == nil {
		return nil
	}
	for p := path; ; p = filepath.Dir(p) {
		if r := h.regions[p]; r != nil {
			return r
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// Skip reports whether a path is what a provider put there to do its work.
func (h *Holder) Skip(path string) bool { return h != nil && h.skip[path] }

// MountsFile reports whether a single file is mounted at a path: the snapshot around it has what that hides.
func (h *Holder) MountsFile(path string) bool { return h != nil && h.files[path] }

// MountsFiles reports whether there are paths for MountsFile.
func (h *Holder) MountsFiles() bool { return h != nil && len(h.files) > 0 }

// Skips reports whether there are paths for Skip.
func (h *Holder) Skips() bool { return h != nil && len(h.skip) > 0 }

// Open opens the folder that the user calls path where the region is read.
func (r *Region) Open(path string) (*Dir, error) {
	if r == nil {
		return OpenDir(path)
	}
	at, ok := r.path(path)
	if !ok {
		return nil, fmt.Errorf("open %s: not in the snapshot of %s", path, r.Top)
	}
	return OpenDir(at)
}

// Valid proves that all that was read came from intact snapshots. Ask after reading.
func (h *Holder) Valid(ctx context.Context) error {
	if h == nil {
		return nil
	}
	for _, s := range h.snapshots {
		if err := s.Valid(ctx); err != nil {
			return err
		}
	}
	return nil
}

// releaseTime is how long giving back the snapshots may take.
const releaseTime = 2 * time.Minute

// Release gives the snapshots back, also when ctx has ended. It may be called again.
func (h *Holder) Release(ctx context.Context) error {
	if h == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	var errs []error
	for _, s := range h.snapshots {
		errs = append(errs, s.Release(ctx))
	}
	return errors.Join(errs...)
}

// Leftovers lists snapshots that seem to be tarn's on all mounts.
func Leftovers(ctx context.Context) ([]fssnap.Leftover, error) {
	mounts, err := fssnap.Mounts()
	if err != nil {
		return nil, err
	}
	var all []fssnap.Leftover
	var errs []error
	for _, p := range providers() {
		list, err := p.Leftovers(ctx, mounts)
		all, errs = append(all, list...), append(errs, err)
	}
	return all, errors.Join(errs...)
}
