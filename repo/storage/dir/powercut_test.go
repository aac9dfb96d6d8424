package dir_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/dir"
)

// harness runs clients over one simulated disk and cuts the power at every operation of it. After each cut it opens the
// store again and compares it with what the clients were told.
type harness struct {
	disk    *simDisk
	acked   map[string][]byte   // what the last call that returned nil did; nil for removed
	maybe   map[string][][]byte // what calls that have not returned may have done, nil for removed
	seeds   int                 // subsets to try at each cut
	cuts    int
	retried int   // clones on which the unfinished Puts were put once more
	failed  error // the first thing that was wrong
}

func newHarness(seeds int) *harness {
	return &harness{disk: newSimDisk(), acked: map[string][]byte{}, maybe: map[string][][]byte{}, seeds: seeds}
}

// put is a client's Put.
func (h *harness) put(s storage.Storage, name string, data []byte) {
	h.call(name, data, func() error { return s.Put(context.Background(), name, data) })
}

// remove is a client's Remove.
func (h *harness) remove(s storage.Storage, name string) {
	h.call(name, nil, func() error { return s.Remove(context.Background(), name) })
}

func (h *harness) call(name string, data []byte, call func() error) {
	h.maybe[name] = append(h.maybe[name], data)
	if err := call(); err != nil {
		h.fail(fmt.Errorf("on a sound disk: %w", err))
		return
	}
	h.maybe[name] = h.maybe[name][:len(h.maybe[name])-1]
	h.acked[name] = data
	h.cut()
}

func (h *harness) fail(err error) {
	if h.failed == nil && err != nil {
		h.failed = err
	}
}

// cut looks at all that a power cut may leave at this moment.
func (h *harness) cut() {
	if h.failed != nil {
		return
	}
	h.cuts++
	for seed := range h.seeds + 2 {
		mode := keepSome
		if seed < 2 {
			mode = keep(seed) // nothing, everything
		}
		left := h.disk.afterCut(mode, rand.New(rand.NewPCG(uint64(h.cuts), uint64(seed))))
		if err := h.verify(left); err != nil {
			h.fail(fmt.Errorf("cut %d, mode %d, seed %d: %w", h.cuts, mode, seed, err))
		}
	}
}

// verify returns an error unless each object is as the last finished call left it or as an unfinished one would, and the
// store can be worked with: an unfinished Put can be repeated, and is then durable like any other.
func (h *harness) verify(left *simDisk) error {
	ctx, s := context.Background(), dir.Over(left)
	listed := map[string]int64{}
	if err := s.List(ctx, "", func(name string, size int64) error {
		listed[name] = size
		return nil
	}); err != nil {
		return err
	}
	for name := range h.names() {
		got, err := storage.ReadAll(ctx, s, name, 1<<20)
		if errors.Is(err, storage.ErrNotExist) {
			got, err = nil, nil
		}
		if err != nil {
			return err
		}
		if !h.allowed(name, got) {
			return fmt.Errorf("%s has %d bytes, which is not what was put; %d are durable", name, len(got), len(h.acked[name]))
		}
		if size, ok := listed[name]; ok != (got != nil) || size != int64(len(got)) {
			return fmt.Errorf("%s has %d bytes, but is listed as %v with %d", name, len(got), ok, size)
		}
		delete(listed, name)
	}
	for name := range listed {
		return fmt.Errorf("%s is listed, and nobody put it", name)
	}
	for name, versions := range h.maybe {
		if len(versions) == 0 || versions[0] == nil {
			continue
		}
		h.retried++
		if err := s.Put(ctx, name, versions[0]); err != nil {
			return fmt.Errorf("again after the cut: %w", err)
		}
		got, err := storage.ReadAll(ctx, dir.Over(left.afterCut(keepNothing, nil)), name, 1<<20)
		if err != nil || !bytes.Equal(got, versions[0]) {
			return fmt.Errorf("%s was put again after a cut, and is gone after the next: %w", name, err)
		}
	}
	return nil
}

func (h *harness) names() map[string]bool {
	all := map[string]bool{}
	for name := range h.acked {
		all[name] = true
	}
	for name := range h.maybe {
		all[name] = true
	}
	return all
}

func (h *harness) allowed(name string, got []byte) bool {
	same := func(want []byte) bool { return (got == nil) == (want == nil) && bytes.Equal(got, want) }
	if same(h.acked[name]) {
		return true
	}
	for _, data := range h.maybe[name] {
		if same(data) {
			return true
		}
	}
	return false
}

// object returns n bytes, none of them zero, so that a lost block shows.
func object(n int, seed uint64) []byte {
	rng, p := rand.New(rand.NewPCG(seed, 0)), make([]byte, n)
	for i := range p {
		p[i] = byte(1 + rng.IntN(255))
	}
	return p
}

// oneClient does a bit of everything, with a cut at every operation. The client has a disk of its own making over the
// simulated one.
func oneClient(bug func(dir.Disk) dir.Disk) *harness {
	h := newHarness(6)
	s := dir.Over(bug(h.disk))
	h.disk.hook = h.cut
	h.put(s, "config", object(300, 1))
	h.put(s, "data/ab/1", object(3000, 2))
	h.put(s, "data/ab/2", object(2000, 3))
	h.put(s, "data/cd/3", object(5000, 4))
	h.put(s, "index/1", object(0, 5))
	h.put(s, "keys/1", object(700, 6))
	h.put(s, "keys/1", object(900, 7)) // other bytes
	h.put(s, "keys/1", object(900, 7)) // the same bytes
	h.remove(s, "data/ab/1")
	h.remove(s, "data/ab/1")
	h.put(s, "data/ab/1", object(3000, 8))
	return h
}

// twoClients lets a second client do a whole Put at one operation of a Put of the first, for each operation in turn. The
// second one meets what the first has made and has not synced yet: folders, or the very object.
func twoClients(name, other string, otherData []byte, bug func(dir.Disk) dir.Disk, oneProcess bool) (cuts, retried, meetings int, err error) {
	for at := 0; ; at++ {
		h := newHarness(6)
		first := dir.Over(bug(h.disk))
		second := first
		if !oneProcess {
			second = dir.Over(bug(h.disk))
		}
		ops := 0
		h.disk.hook = func() {
			if ops++; ops-1 != at {
				return
			}
			h.disk.hook = h.cut
			h.put(second, other, otherData)
		}
		h.put(first, name, object(2000, 1))
		cuts, retried = cuts+h.cuts, retried+h.retried
		if h.failed != nil {
			return cuts, retried, at, fmt.Errorf("second client at operation %d: %w", at, h.failed)
		}
		if ops <= at {
			return cuts, retried, at, nil
		}
	}
}

func sound(d dir.Disk) dir.Disk { return d }

// noPlace is a disk of those that can't rename to a free name only.
type noPlace struct{ dir.Disk }

func (noPlace) Place(string, string) error { return errors.ErrUnsupported }

func TestPowerCut(t *testing.T) {
	for what, disk := range map[string]func(dir.Disk) dir.Disk{
		"local disk":   sound,
		"network disk": func(d dir.Disk) dir.Disk { return noPlace{d} },
	} {
		t.Run(what, func(t *testing.T) {
			h := oneClient(disk)
			if h.failed != nil {
				t.Error(h.failed)
			}
			t.Logf("%d cuts, %d states of the disk, %d puts repeated after a cut", h.cuts, h.cuts*(h.seeds+2), h.retried)
			if h.cuts < 60 || h.retried == 0 {
				t.Errorf("only %d cuts: the harness does not see the operations", h.cuts)
			}
		})
	}
}

// secondPuts are what a second client puts while the first puts data/ab/1 with object(2000, 1).
var secondPuts = []struct {
	what, name string
	data       []byte
}{
	{"another object in the same new folder", "data/ab/2", object(1500, 2)},
	{"an object in a folder beside it", "data/cd/2", object(1500, 2)},
	{"the same object", "data/ab/1", object(2000, 1)},
}

func TestPowerCutWithTwoClients(t *testing.T) {
	t.Parallel()
	for _, second := range secondPuts {
		for process, one := range map[string]bool{"two processes": false, "one process": true} {
			t.Run(second.what+"/"+process, func(t *testing.T) {
				cuts, retried, meetings, err := twoClients("data/ab/1", second.name, second.data, sound, one)
				if err != nil {
					t.Error(err)
				}
				t.Logf("%d meetings, %d cuts, %d puts repeated after a cut", meetings, cuts, retried)
			})
		}
	}
}

// buggy is a disk on which some steps of Dir do nothing, as if Dir did not take them. Which ones, skip decides.
type buggy struct {
	dir.Disk
	last step // the last change
	skip func(last, now step) bool
}

type step string

const (
	mkdir      step = "mkdir"
	mkdirOld   step = "mkdir of a folder that is there"
	rename     step = "rename"
	remove     step = "remove"
	write      step = "write"
	syncFile   step = "fsync of a file"
	syncOld    step = "fsync of a file that was there"
	syncFolder step = "fsync of a folder"
)

// take does a step unless it is to be skipped.
func (b *buggy) take(now step, op func() error) error {
	last := b.last
	b.last = now
	if b.skip(last, now) {
		return nil
	}
	return op()
}

func (b *buggy) Create(name string) (dir.File, error) {
	f, err := b.Disk.Create(name)
	return buggyFile{f, b}, err
}

func (b *buggy) Mkdir(name string) error {
	err := b.take(mkdir, func() error { return b.Disk.Mkdir(name) })
	if errors.Is(err, fs.ErrExist) {
		b.last = mkdirOld
	}
	return err
}

func (b *buggy) Place(from, to string) error {
	return b.take(rename, func() error { return b.Disk.Place(from, to) })
}

func (b *buggy) Rename(from, to string) error {
	return b.take(rename, func() error { return b.Disk.Rename(from, to) })
}

func (b *buggy) Remove(name string) error {
	return b.take(remove, func() error { return b.Disk.Remove(name) })
}

func (b *buggy) SyncFile(name string) error {
	return b.take(syncOld, func() error { return b.Disk.SyncFile(name) })
}

func (b *buggy) SyncFolder(name string) error {
	return b.take(syncFolder, func() error { return b.Disk.SyncFolder(name) })
}

type buggyFile struct {
	dir.File
	b *buggy
}

func (f buggyFile) Write(p []byte) (n int, err error) {
	err = f.b.take(write, func() error {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f buggyFile) Sync() error { return f.b.take(syncFile, f.File.Sync) }

// plantedBugs are mistakes that others made in their day, and which the harness must find.
var plantedBugs = map[string]func(last, now step) bool{
	"no fsync of the file":                        func(_, now step) bool { return now == syncFile },
	"no fsync of the folder after a rename":       func(last, now step) bool { return last == rename && now == syncFolder },
	"no fsync of the parent of a new folder":      func(last, now step) bool { return last == mkdir && now == syncFolder },
	"no fsync of the folder after a remove":       func(last, now step) bool { return last == remove && now == syncFolder },
	"no fsync of a folder at all":                 func(_, now step) bool { return now == syncFolder },
	"no fsync of the parent of somebody's folder": func(last, now step) bool { return last == mkdirOld && now == syncFolder },
	"no fsync of the folder of somebody's object": func(last, now step) bool { return last == syncOld && now == syncFolder },
}

func TestPowerCutFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for what, skip := range plantedBugs {
		t.Run(what, func(t *testing.T) {
			bug := func(d dir.Disk) dir.Disk { return &buggy{Disk: d, skip: skip} }
			found := oneClient(bug).failed
			for _, second := range secondPuts {
				if found == nil {
					_, _, _, found = twoClients("data/ab/1", second.name, second.data, bug, false)
				}
			}
			if found == nil {
				t.Fatal("nothing was found")
			}
			t.Log(found)
		})
	}
}

// lateSync is a disk on which a file is synced after it got its name, not before.
type lateSync struct{ dir.Disk }

type unsyncedFile struct{ dir.File }

func (unsyncedFile) Sync() error { return nil }

func (d lateSync) Create(name string) (dir.File, error) {
	f, err := d.Disk.Create(name)
	return unsyncedFile{f}, err
}

func (d lateSync) Place(from, to string) error {
	return orElse(d.Disk.Place(from, to), func() error { return d.Disk.SyncFile(to) })
}

func (d lateSync) Rename(from, to string) error {
	return orElse(d.Disk.Rename(from, to), func() error { return d.Disk.SyncFile(to) })
}

func TestPowerCutFindsAnEarlyRename(t *testing.T) {
	found := oneClient(func(d dir.Disk) dir.Disk { return lateSync{d} }).failed
	if found == nil {
		t.Fatal("nothing was found")
	}
	t.Log(found)
}
