package fssnap

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is one mounted file system, or a part of one.
type Mount struct {
	ID, Parent   int    // of the mount, and of the one that it is mounted in
	Point        string // where it is mounted
	Root         string // the folder of the file system that is mounted there: "/", or another for bind mounts and subvolumes
	FSType       string
	Device       string // as it was named to mount: a device, a dataset, or any word
	Options      string // of this mount, comma-separated
	SuperOptions string // of the file system, comma-separated
	Major, Minor int    // the device that the kernel reports
}

// Has reports whether the mount or its file system has an option.
func (m Mount) Has(option string) bool {
	return slices.Contains(strings.Split(m.Options, ","), option) || m.SuperHas(option)
}

// SuperHas reports whether the file system has an option, however it is mounted here.
func (m Mount) SuperHas(option string) bool {
	return slices.Contains(strings.Split(m.SuperOptions, ","), option)
}

// Inside returns the path in the file system of what the user sees as p.
func (m Mount) Inside(p string) (string, bool) { return Mapping{From: m.Point, To: m.Root}.Path(p) }

// Outside returns where the user sees a path of the file system through this mount.
func (m Mount) Outside(inside string) (string, bool) {
	return Mapping{From: m.Root, To: m.Point}.Path(inside)
}

// Mounts lists the mounts that this process sees.
func Mounts() ([]Mount, error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	mounts := make([]Mount, 0, len(infos))
	for _, i := range infos {
		mounts = append(mounts, Mount{
			ID: i.ID, Parent: i.Parent, Point: i.Mountpoint, Root: i.Root, FSType: i.FSType, Device: i.Source,
			Options: i.Options, SuperOptions: i.VFSOptions, Major: i.Major, Minor: i.Minor,
		})
	}
	return mounts, nil
}

// Find returns the mount in which the path p lies: it walks as the kernel does, from the root mount into the first mount
// on the way, and so on. The longest matching mount point would not do, since a later mount can hide it.
func Find(mounts []Mount, p string) (Mount, bool) {
	at, ok := root(mounts, p)
	if !ok {
		return Mount{}, false
	}
	for range mounts { // each step goes one mount deeper; a table that is changed while it is read must not make a circle
		next, ok := first(mounts, at, p)
		if !ok {
			break
		}
		at = next
	}
	return at, true
}

// root returns the mount with which the walk to p begins: one whose parent is not in the table.
func root(mounts []Mount, p string) (found Mount, ok bool) {
	ids := make(map[int]bool, len(mounts))
	for _, m := range mounts {
		ids[m.ID] = true
	}
	for _, m := range mounts {
		if ids[m.Parent] && m.Parent != m.ID {
			continue
		}
		if _, in := below(m.Point, p); in && (!ok || len(m.Point) >= len(found.Point)) {
			found, ok = m, true
		}
	}
	return found, ok
}

// first returns the mount that a walk from at to p meets first. Of several at one place the last one hides the others.
func first(mounts []Mount, at Mount, p string) (found Mount, ok bool) {
	for _, m := range mounts {
		if m.Parent != at.ID || m.ID == at.ID {
			continue
		}
		if _, in := below(m.Point, p); in && (!ok || len(m.Point) <= len(found.Point)) {
			found, ok = m, true
		}
	}
	return found, ok
}

// Below lists the mounts that a walk from p meets below it, ascending by mount point. A snapshot of p's own mount shows an empty
// folder in the place of each.
func Below(mounts []Mount, p string) []Mount {
	var list []Mount
	for _, m := range mounts {
		if rel, in := below(p, m.Point); !in || rel == "" {
			continue
		}
		if seen, ok := Find(mounts, m.Point); ok && seen.ID == m.ID {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Mount) int { return cmp.Compare(a.Point, b.Point) })
	return list
}

// Elsewhere lists where the path p of a mount can also be seen: through other mounts of the same file system. Its answer holds the
// mount and the path there.
func Elsewhere(mounts []Mount, m Mount, p string) (list []Seen) {
	inside, ok := m.Inside(p)
	if !ok {
		return nil
	}
	for _, other := range mounts {
		if other.ID == m.ID || other.Major != m.Major || other.Minor != m.Minor || other.Device != m.Device {
			continue
		}
		there, ok := other.Outside(inside)
		if !ok {
			continue
		}
		if seen, ok := Find(mounts, there); ok && seen.ID == other.ID {
			list = append(list, Seen{Mount: other, Path: filepath.Clean(there)})
		}
	}
	return list
}

// Seen is a path through a mount.
type Seen struct {
	Mount Mount
	Path  string
}
