package restore_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// entry is a file, symlink or folder of a small tree, in a snapshot or in a target.
type entry struct {
	typ   snapshot.Type
	text  string // content of a file, target of a symlink
	mode  uint16 // of files and folders
	time  int64  // nanoseconds; 0 of a folder in which something was made or removed: nobody says what it is
	below map[string]*entry
}

func (e *entry) isFolder() bool { return e.typ == snapshot.Dir }

func (e *entry) names() []string { return slices.Sorted(maps.Keys(e.below)) }

func (e *entry) clone() *entry {
	if e == nil {
		return nil
	}
	c := *e
	c.below = map[string]*entry{}
	for name, below := range e.below {
		c.below[name] = below.clone()
	}
	return &c
}

// lines describes a tree, a line for each path; nil is no tree.
func (e *entry) lines(path string) []string {
	if e == nil {
		return nil
	}
	all := []string{fmt.Sprintf("%s %v %04o %d %q", path, e.typ, e.mode, e.time, e.text)}
	for _, name := range e.names() {
		all = append(all, e.below[name].lines(below(path, name))...)
	}
	return all
}

func (e *entry) String() string { return strings.Join(e.lines("."), "\n") }

// below is the path of an entry as a Filter is told it.
func below(path, name string) string {
	if path == "." {
		return name
	}
	return path + "/" + name
}

// node makes the snapshot's node of a tree.
func (e *entry) node(t *testing.T, m *memory, name string) snapshot.Node {
	var n snapshot.Node
	switch e.typ {
	case snapshot.Dir:
		var nodes []snapshot.Node
		for _, name := range e.names() {
			nodes = append(nodes, e.below[name].node(t, m, name))
		}
		n = m.dir(t, name, nodes...)
	case snapshot.Symlink:
		n = symlink(name, e.text)
	default:
		n = m.file(t, name, e.text)
	}
	if e.typ != snapshot.Symlink {
		n.Mode = e.mode
	}
	n.ModTime = snapshot.Time{Sec: e.time / 1e9, Nsec: uint32(e.time % 1e9)}
	return n
}

// write makes a tree on disk.
func (e *entry) write(t *testing.T, path string) {
	switch e.typ {
	case snapshot.Dir:
		must(t, os.Mkdir(path, 0o700))
		for name, below := range e.below {
			below.write(t, filepath.Join(path, name))
		}
	case snapshot.Symlink:
		must(t, os.Symlink(e.text, path))
	default:
		must(t, os.WriteFile(path, []byte(e.text), 0o600))
	}
	if e.typ != snapshot.Symlink {
		must(t, os.Chmod(path, os.FileMode(e.mode)))
	}
	when := unix.NsecToTimespec(e.time)
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
}

// onDisk reads a tree; nil if there is none.
func onDisk(t *testing.T, path string) *entry {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	must(t, err)
	e := &entry{typ: snapshot.File, mode: uint16(info.Mode().Perm()), time: info.ModTime().UnixNano(), below: map[string]*entry{}}
	switch {
	case info.IsDir():
		e.typ = snapshot.Dir
		list, err := os.ReadDir(path)
		must(t, err)
		for _, d := range list {
			e.below[d.Name()] = onDisk(t, filepath.Join(path, d.Name()))
		}
	case info.Mode()&os.ModeSymlink != 0:
		e.typ, e.mode = snapshot.Symlink, 0
		e.text, err = os.Readlink(path)
		must(t, err)
	default:
		e.text = read(t, path)
	}
	return e
}

// difference tells what is not as it should be; times that are nobody's business are left out.
func difference(path string, got, want *entry) []string {
	switch {
	case got == nil && want == nil:
		return nil
	case got == nil:
		return []string{"missing: " + want.lines(path)[0]}
	case want == nil:
		return []string{"too many: " + got.lines(path)[0]}
	}
	var all []string
	if got.typ != want.typ || got.text != want.text || got.mode != want.mode || want.time != 0 && got.time != want.time {
		all = append(all, fmt.Sprintf("got %s, want %s", got.lines(path)[0], want.lines(path)[0]))
	}
	names := maps.Clone(got.below)
	maps.Copy(names, want.below)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, difference(below(path, name), got.below[name], want.below[name])...)
	}
	return all
}

// model says what a restore is to do, in the plainest way: it goes through the snapshot and changes a tree in memory.
type model struct {
	o      restore.Options
	decide func(path string, t snapshot.Type) restore.Decision
	sum    restore.Summary
	failed []string
}

func (m *model) match(path string, t snapshot.Type) restore.Decision {
	d := m.decide(path, t)
	if d == restore.Pass && t != snapshot.Dir {
		return restore.Skip
	}
	return d
}

func (m *model) fail(path string) {
	m.sum.Failed.Count++
	m.failed = append(m.failed, path)
}

// run returns what becomes of a target, which is nil if it is not there.
func (m *model) run(root, target *entry) *entry {
	d := restore.Pass
	if m.match(".", snapshot.Dir) == restore.Take {
		d = restore.Take
	}
	return m.folder(".", d, root, target.clone())
}

// folder restores a folder into the one that is there; found is nil if there is none.
func (m *model) folder(path string, d restore.Decision, s, found *entry) *entry {
	if found == nil {
		found = &entry{typ: snapshot.Dir, below: map[string]*entry{}}
		m.entries(path, s, found)
		found.mode, found.time = s.mode, s.time
		m.sum.Folders++
		return found
	}
	differs := found.mode != s.mode || found.time != s.time
	m.entries(path, s, found)
	switch {
	case m.o.Overwrite == restore.OverwriteNever:
		m.sum.Skipped++
	case d == restore.Pass:
		m.sum.Unchanged++
	default:
		found.mode, found.time = s.mode, s.time
		if differs {
			m.sum.Updated++
		} else {
			m.sum.Unchanged++
		}
	}
	return found
}

// entries restores what is in a folder, and deletes what is too many.
func (m *model) entries(path string, s, now *entry) {
	for _, name := range s.names() {
		p, n, found := below(path, name), s.below[name], now.below[name]
		d := m.match(p, n.typ)
		if d == restore.Skip {
			continue
		}
		if mayDelete := m.o.Delete && found != nil && found.isFolder(); d == restore.Pass && !mayDelete && !m.takesBelow(p, n) {
			continue
		}
		failed := m.sum.Failed.Count
		made := m.entry(p, d, n, found)
		if now.below[name] = made; made != found || !n.isFolder() && m.sum.Failed.Count > failed { // a temporary file was made and removed
			now.time = 0
		}
	}
	if !m.o.Delete {
		return
	}
	for _, name := range now.names() {
		if s.below[name] == nil {
			m.remove(below(path, name), name, now)
		}
	}
}

// takesBelow reports whether something in a folder that is passed is taken.
func (m *model) takesBelow(path string, s *entry) bool {
	for name, n := range s.below {
		p := below(path, name)
		if d := m.match(p, n.typ); d == restore.Take || d == restore.Pass && m.takesBelow(p, n) {
			return true
		}
	}
	return false
}

// entry restores an entry and returns what is there afterwards: found itself if that is kept or only its metadata is set.
func (m *model) entry(path string, d restore.Decision, n, found *entry) *entry {
	switch {
	case n.isFolder() && (found == nil || found.isFolder()):
		return m.folder(path, d, n, found)
	case found == nil:
	case m.o.Overwrite == restore.OverwriteNever:
		m.sum.Skipped++
		return found
	case n.typ != found.typ && m.match(path, found.typ) != restore.Take:
		m.fail(path)
		return found
	case n.isFolder():
		return m.folder(path, d, n, nil)
	case found.isFolder():
		if len(found.below) > 0 && (!m.o.Delete || !m.empty(path, found)) {
			m.fail(path)
			return found
		}
		m.sum.Replaced++
	case n.typ == found.typ && m.o.Overwrite == restore.OverwriteIfChanged && m.equal(n, found):
		if found.mode == n.mode && found.time == n.time {
			m.sum.Unchanged++
			return found
		}
		m.sum.Updated++
		found.mode, found.time = n.mode, n.time
		return found
	default:
		m.sum.Replaced++
	}
	if n.typ == snapshot.File {
		m.sum.Files++
		m.sum.Bytes += uint64(len(n.text))
	} else {
		m.sum.Others++
	}
	return n.clone()
}

func (m *model) equal(n, found *entry) bool {
	if n.typ == snapshot.File && m.o.Compare == restore.CompareTimes {
		return len(n.text) == len(found.text) && n.time == found.time
	}
	return n.text == found.text
}

// remove removes an entry as far as the filter takes it.
func (m *model) remove(path, name string, dir *entry) {
	e := dir.below[name]
	d := m.match(path, e.typ)
	if d == restore.Skip || e.isFolder() && !m.empty(path, e) || d == restore.Pass {
		return
	}
	delete(dir.below, name)
	dir.time = 0
	m.sum.Deleted++
}

// empty removes what is in a folder as far as the filter takes it, and reports whether that is all.
func (m *model) empty(path string, e *entry) bool {
	for _, name := range e.names() {
		m.remove(below(path, name), name, e)
	}
	return len(e.below) == 0
}

// counts is what two summaries are compared by.
func counts(s restore.Summary) string {
	return fmt.Sprintf("files %d folders %d others %d links %d bytes %d replaced %d updated %d unchanged %d skipped %d deleted %d failed %d lost %d",
		s.Files, s.Folders, s.Others, s.Links, s.Bytes, s.Replaced, s.Updated, s.Unchanged, s.Skipped, s.Deleted, s.Failed.Count, len(s.Lost))
}

// failures are the paths that could not be restored.
func failures(s restore.Summary) []string {
	var paths []string
	for _, e := range s.Failed.Examples {
		paths = append(paths, e.Path)
	}
	slices.Sort(paths)
	return paths
}
