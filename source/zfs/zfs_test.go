//go:build linux

package zfs_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
	"github.com/tarn-backup/tarn/source/zfs"
)

var provider zfs.Provider

const pool = "tarntest"

// newPool makes a pool on a file with one dataset below it, "data", and returns where that is mounted.
func newPool(t *testing.T) (point string) {
	t.Helper()
	if !fssnap.Root() {
		t.Skip("needs root: testing/vm/test.sh zfs")
	}
	if _, err := os.Stat("/dev/zfs"); err != nil {
		t.Skip("this kernel has no ZFS: testing/vm/test.sh zfs")
	}
	fssnaptest.Program(t, "zpool", "zfsutils-linux")
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20)); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Run(t, "zpool", "create", "-m", filepath.Join(dir, "mnt"), pool, image)
	t.Cleanup(func() { fssnaptest.Run(t, "zpool", "destroy", pool) })
	fssnaptest.Run(t, "zfs", "create", pool+"/data")
	return filepath.Join(dir, "mnt", "data")
}

func work(t *testing.T, point string) string {
	t.Helper()
	dir := filepath.Join(point, "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func snapshots(t *testing.T) []string {
	t.Helper()
	return strings.Fields(fssnaptest.Run(t, "zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-r", pool))
}

func TestHolds(t *testing.T) {
	point := newPool(t)
	fssnaptest.Holds(t, provider, work(t, point))
	if got := snapshots(t); len(got) > 0 {
		t.Errorf("snapshots left: %q", got)
	}
}

func TestHoldsBind(t *testing.T) {
	dir, bind := work(t, newPool(t)), t.TempDir()
	if err := unix.Mount(dir, bind, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(bind, 0)
	fssnaptest.Holds(t, provider, bind)
}

func TestPlan(t *testing.T) {
	point := newPool(t)
	m := fssnaptest.NewRequest(t, point).Mount
	plan := provider.Plan(t.Context(), m, point)
	if plan.Kind != fssnap.ZFS || plan.Why != "zfs: dataset tarntest/data, snapshot as root" || plan.ID == "" {
		t.Errorf("%+v", plan)
	}
	fssnaptest.Run(t, "zfs", "set", "readonly=on", pool+"/data")
	if plan := provider.Plan(t.Context(), fssnaptest.NewRequest(t, point).Mount, point); plan.Kind != fssnap.None {
		t.Errorf("of a read-only dataset: %+v", plan)
	}
}

// TestStill is the suspect rule on ZFS.
func TestStill(t *testing.T) {
	w := fssnaptest.Writers{Dir: work(t, newPool(t)), Size: 256 << 10, Each: 1, Rest: 8 * time.Second, Seed: 3}
	sum := fssnaptest.Still(t, provider, w, 15)
	if sum.Exact == 0 || sum.Suspect == 0 {
		t.Errorf("nothing proven: %v", sum)
	}
}

// TestValid: ZFS destroys no snapshot that is being read, but it lets one be renamed.
func TestValid(t *testing.T) {
	s := fssnaptest.Take(t, provider, newPool(t))
	name := snapshots(t)[0]
	if out, err := exec.Command("zfs", "destroy", name).CombinedOutput(); err == nil {
		t.Errorf("a snapshot in use could be destroyed: %s", out)
	}
	if err := s.Valid(t.Context()); err != nil {
		t.Error(err)
	}
	fssnaptest.Run(t, "zfs", "rename", name, pool+"/data@other")
	if err := s.Valid(t.Context()); !errors.Is(err, fssnap.ErrInvalid) {
		t.Errorf("a snapshot that is gone is called valid: %v", err)
	}
}

func TestKill(t *testing.T) {
	fssnaptest.Child(t, provider)
	dir := work(t, newPool(t))
	random := rand.New(rand.NewPCG(11, 11))
	left := 0
	for n := range fssnaptest.Kills(t, 6) {
		delay := time.Duration(random.IntN(500)) * time.Millisecond
		fssnaptest.Kill(t, dir, n, func() { time.Sleep(delay) }) // no synchronisation, but the moment of the kill
		fssnaptest.Quiet(t, "zfs")
		left += fssnaptest.Clean(t, provider, dir)
		if got := snapshots(t); len(got) > 0 {
			t.Fatalf("snapshots left: %q", got)
		}
	}
	t.Logf("%d leftovers of %d kills", left, fssnaptest.Kills(t, 6))
	if left == 0 {
		t.Error("no kill left anything, so nothing was proven")
	}
}

// TestNeverRemovesOthers makes snapshots that have the looks of leftovers, but for one thing each.
func TestNeverRemovesOthers(t *testing.T) {
	point := newPool(t)
	s := fssnaptest.Take(t, provider, point)
	real := fssnaptest.Leftovers(t, provider, point)[0].Name
	name := func(dataset, digit string) string {
		n := real
		n.Session = strings.Repeat(digit, 32)
		return dataset + "@" + n.String()
	}
	data, copied := pool+"/data", pool+"/copy"
	guid := strings.TrimSpace(fssnaptest.Run(t, "zfs", "get", "-H", "-p", "-o", "value", "guid", data))
	owner, origin := "tarn:owner=00000000-0000-0000-0000-000000000000.1.1.1", "tarn:origin="+guid
	snapshot := func(name string, properties ...string) {
		t.Helper()
		args := []string{"snapshot"}
		for _, property := range properties {
			args = append(args, "-o", property)
		}
		fssnaptest.Run(t, "zfs", append(args, name)...)
	}
	snapshot(name(data, "1"))                                                            // no properties
	snapshot(name(data, "2"), owner)                                                     // half of them
	snapshot(name(data, "3"), owner, "tarn:origin=12345")                                // of another dataset
	snapshot(data+"@tarn-mine", owner, origin)                                           // not our name
	snapshot(strings.TrimSuffix(name(data, "4"), real.Origin)+"11111111", owner, origin) // a name for another origin
	snapshot(name(data, "6"), owner, origin)                                             // ours
	// A replica of it is somebody's backup, although it has the same name and the same properties.
	fssnaptest.Run(t, "sh", "-c", "zfs send -p "+name(data, "6")+" | zfs receive -u "+copied)
	// Properties that come from the dataset are not its own.
	fssnaptest.Run(t, "zfs", "create", pool+"/other")
	other := strings.TrimSpace(fssnaptest.Run(t, "zfs", "get", "-H", "-p", "-o", "value", "guid", pool+"/other"))
	fssnaptest.Run(t, "zfs", "set", owner, "tarn:origin="+other, pool+"/other")
	fssnaptest.Run(t, "zfs", "snapshot", name(pool+"/other", "7"))

	before, removed := len(snapshots(t)), 0
	for _, l := range fssnaptest.Leftovers(t, provider, point) {
		err := l.Remove(t.Context())
		switch {
		case err == nil:
			removed++
			if l.Where != name(data, "6") {
				t.Errorf("removed %s", l.Where)
			}
		case !errors.Is(err, fssnap.ErrDoubt):
			t.Error(err)
		}
		if l.Doubt != "" {
			t.Log(l.Where, l.Doubt)
			if err := l.Destroy(t.Context()); !errors.Is(err, fssnap.ErrDoubt) {
				t.Errorf("destroy %s: %v", l.Where, err)
			}
		}
	}
	if after := len(snapshots(t)); removed != 1 || after != before-1 {
		t.Errorf("%d removed; %d before, left: %q", removed, before, snapshots(t))
	}
	if err := errors.Join(s.Valid(t.Context()), s.Release(t.Context())); err != nil {
		t.Error(err)
	}
}
