//go:build linux

package lvm_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
	"github.com/tarn-backup/tarn/source/lvm"
)

// layout is a logical volume with a file system.
type layout struct {
	kind   fssnap.Kind
	fsType string
}

func (l layout) String() string { return l.kind.String() + " " + l.fsType }

var layouts = []layout{{fssnap.LVMThick, "ext4"}, {fssnap.LVMThick, "xfs"}, {fssnap.LVMThin, "ext4"}, {fssnap.LVMThin, "xfs"}}

const sizeMiB = 320 // the least that mkfs.xfs takes, and a little more

// group names the volume group of a test; volumes and mount points are named after it.
const group = "tarntest"

// mount makes a volume group on a loop device with one volume, "origin", and returns where its file system is mounted.
func mount(t *testing.T, l layout) (point string) {
	t.Helper()
	if !fssnap.Root() {
		t.Skip("needs root: testing/vm/test.sh lvm")
	}
	if _, err := os.Stat("/dev/mapper/control"); err != nil {
		t.Skip("this kernel has no device mapper: testing/vm/test.sh lvm")
	}
	fssnaptest.Program(t, "lvcreate", "lvm2 thin-provisioning-tools")
	fssnaptest.Program(t, "mkfs."+l.fsType, "e2fsprogs xfsprogs")
	run := func(name string, args ...string) { t.Helper(); fssnaptest.Run(t, name, args...) }
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 2*sizeMiB<<20)); err != nil {
		t.Fatal(err)
	}
	loop := strings.TrimSpace(fssnaptest.Run(t, "losetup", "-f", "--show", image))
	t.Cleanup(func() { run("losetup", "-d", loop) })
	run("vgcreate", group, loop)
	t.Cleanup(func() { run("vgremove", "--force", "--yes", group) }) // the test's own group, with all in it
	if l.kind == fssnap.LVMThin {
		run("lvcreate", "-T", "-L", fmt.Sprintf("%dM", sizeMiB*3/2), group+"/pool")
		run("lvcreate", "-V", fmt.Sprintf("%dM", sizeMiB), "-T", group+"/pool", "-n", "origin")
	} else {
		run("lvcreate", "-Wn", "-L", fmt.Sprintf("%dM", sizeMiB), "-n", "origin", group)
	}
	device := "/dev/" + group + "/origin"
	run("mkfs."+l.fsType, "-q", device)
	point = filepath.Join(dir, "mnt")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(device, point, l.fsType, 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(point, 0); err != nil {
			t.Error(err)
		}
		// The origin is in order after all that was done to it.
		if l.fsType == "ext4" {
			run("e2fsck", "-fn", device)
		} else {
			run("xfs_repair", "-n", device)
		}
	})
	return point
}

// each runs a test on each layout.
func each(t *testing.T, test func(t *testing.T, l layout, point string)) {
	for _, l := range layouts {
		t.Run(l.String(), func(t *testing.T) { test(t, l, mount(t, l)) })
	}
}

// volumes lists the names of all volumes of the group, snapshots included.
func volumes(t *testing.T) string {
	t.Helper()
	return strings.Join(strings.Fields(fssnaptest.Run(t, "lvs", "--noheadings", "-o", "lv_name", group)), " ")
}

func work(t *testing.T, point string) string {
	t.Helper()
	dir := filepath.Join(point, "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHolds(t *testing.T) {
	each(t, func(t *testing.T, _ layout, point string) {
		var p lvm.Provider
		fssnaptest.Holds(t, p, work(t, point))
		if got := strings.TrimSuffix(volumes(t), " pool"); got != "origin" {
			t.Errorf("volumes left: %s", got)
		}
	})
}

// TestHoldsInFolder mounts the snapshot on a folder, as kernels before 5.2 have to.
func TestHoldsInFolder(t *testing.T) {
	for _, l := range layouts[:2] {
		t.Run(l.String(), func(t *testing.T) {
			point, folder := mount(t, l), t.TempDir()
			fssnaptest.Holds(t, lvm.Provider{Folder: folder}, work(t, point))
			if got := fssnaptest.Names(t, folder); len(got) > 0 {
				t.Errorf("the folder for mounts holds %q", got)
			}
		})
	}
}

// TestHoldsBind asks for a mount that shows a part of the file system.
func TestHoldsBind(t *testing.T) {
	dir, bind := work(t, mount(t, layouts[0])), t.TempDir()
	if err := unix.Mount(dir, bind, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(bind, 0)
	fssnaptest.Holds(t, lvm.Provider{}, bind)
}

func TestPlan(t *testing.T) {
	each(t, func(t *testing.T, l layout, point string) {
		m := fssnaptest.NewRequest(t, point).Mount
		plan := lvm.Provider{}.Plan(t.Context(), m, point)
		want := l.fsType + " on LVM tarntest/origin: thick snapshot of 64 MiB"
		if l.kind == fssnap.LVMThin {
			want = l.fsType + " on LVM tarntest/origin: thin snapshot"
		}
		if plan.Kind != l.kind || plan.Why != want || plan.ID == "" {
			t.Errorf("plan %+v, want %q", plan, want)
		}
		if l.kind != fssnap.LVMThick {
			return
		}
		// With the group full there is no room for a thick snapshot.
		fssnaptest.Run(t, "lvcreate", "-Wn", "-l", "100%FREE", "-n", "rest", group)
		plan = lvm.Provider{}.Plan(t.Context(), m, point)
		if plan.Kind != fssnap.None || !strings.Contains(plan.Why, "0 MiB free") {
			t.Errorf("plan without room: %+v", plan)
		}
	})
}

// TestStill: a snapshot by freeze is one moment of everything, pairs and moves included, without any suspects.
func TestStill(t *testing.T) {
	each(t, func(t *testing.T, _ layout, point string) {
		w := fssnaptest.Writers{Dir: work(t, point), Size: 64 << 10, Each: 2, Rest: 200 * time.Millisecond, Seed: 1}
		sum := fssnaptest.Still(t, lvm.Provider{Share: 50}, w, 10)
		if sum.Suspect > 0 || sum.Exact != 10*2*8 {
			t.Errorf("not all were looked at: %v", sum)
		}
	})
}

// TestOverflow fills the room of the snapshot while it is read. Everything that was read may be wrong then, and must be said to be.
func TestOverflow(t *testing.T) {
	for _, l := range layouts[:2] {
		t.Run(l.String(), func(t *testing.T) {
			point := mount(t, l)
			data := make([]byte, 64<<20)
			for i := range data {
				data[i] = byte(i >> 12)
			}
			big := filepath.Join(point, "big")
			if err := os.WriteFile(big, data, 0o644); err != nil {
				t.Fatal(err)
			}
			p := lvm.Provider{Share: 1} // 32 MiB, the least
			s, err := p.Take(t.Context(), fssnaptest.NewRequest(t, point))
			if err != nil {
				t.Fatal(err)
			}
			held, _ := s.Path(big)
			f, err := os.Open(held)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, f, 1<<20); err != nil {
				t.Fatal(err)
			}
			if err := s.Valid(t.Context()); err != nil {
				t.Errorf("before the overflow: %v", err)
			}
			overwrite(t, big, len(data))
			_, errRead := io.Copy(io.Discard, f)
			f.Close()
			t.Logf("reading on: %v", errRead)
			if err := s.Valid(t.Context()); !errors.Is(err, fssnap.ErrInvalid) {
				t.Errorf("after the overflow: %v", err)
			} else {
				t.Log(err)
			}
			if err := s.Release(t.Context()); err != nil {
				t.Error(err)
			}
			if got := volumes(t); got != "origin" {
				t.Errorf("volumes left: %s", got)
			}
			if got, err := os.ReadFile(big); err != nil || len(got) != len(data) || strings.Trim(string(got), "x") != "" {
				t.Errorf("the origin's file: %d bytes, %v", len(got), err)
			}
		})
	}
}

// overwrite writes over a file in place, and sees it to the disk.
func overwrite(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(strings.Repeat("x", size))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestKill(t *testing.T) {
	fssnaptest.Child(t, lvm.Provider{Folder: os.Getenv(folderVariable)})
	for i, l := range layouts {
		t.Run(l.String(), func(t *testing.T) {
			fssnaptest.Child(t, lvm.Provider{Folder: os.Getenv(folderVariable)})
			dir := work(t, mount(t, l))
			folder := ""
			if i%2 == 1 { // one of each kind mounts on a folder, so that the mount outlives the process
				folder = t.TempDir()
			}
			t.Setenv(folderVariable, folder)
			random := rand.New(rand.NewPCG(9, uint64(i)))
			left := 0
			for n := range fssnaptest.Kills(t, 4) {
				delay := time.Duration(random.IntN(1000)) * time.Millisecond
				fssnaptest.Kill(t, dir, n, func() { time.Sleep(delay) }) // no synchronisation, but the moment of the kill
				fssnaptest.Quiet(t, "lv")
				left += fssnaptest.Clean(t, lvm.Provider{}, dir)
				if got := strings.TrimSuffix(volumes(t), " pool"); got != "origin" {
					t.Fatalf("volumes left: %s", got)
				}
				write(t, filepath.Join(dir, "alive")) // the origin is not suspended
			}
			t.Logf("%d leftovers of %d kills", left, fssnaptest.Kills(t, 4))
			if left == 0 {
				t.Error("no kill left anything, so nothing was proven")
			}
		})
	}
}

const folderVariable = "TARN_TEST_LVM_FOLDER"

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestNeverRemovesOthers makes volumes that have the looks of leftovers, but for one thing each.
func TestNeverRemovesOthers(t *testing.T) {
	for _, l := range []layout{layouts[0], layouts[2]} {
		t.Run(l.String(), func(t *testing.T) {
			point := mount(t, l)
			p := lvm.Provider{Share: 1}
			s, err := p.Take(t.Context(), fssnaptest.NewRequest(t, point))
			if err != nil {
				t.Fatal(err)
			}
			origin := strings.TrimSpace(fssnaptest.Run(t, "lvs", "--noheadings", "-o", "lv_uuid", group+"/origin"))
			real := fssnaptest.Leftovers(t, p, point)[0].Name
			gone := "tarn.owner=00000000-0000-0000-0000-000000000000.1.1.1"
			name := func(digit string) string {
				n := real
				n.Session = strings.Repeat(digit, 32)
				return n.String()
			}
			make := func(name string, tags ...string) {
				t.Helper()
				args := []string{"--yes", "-s", "-n", name}
				for _, tag := range tags {
					args = append(args, "--addtag", tag)
				}
				if l.kind == fssnap.LVMThick {
					args = append(args, "-L", "4M")
				} else {
					args = append(args, "-kn")
				}
				fssnaptest.Run(t, "lvcreate", append(args, group+"/origin")...)
			}
			make(name("1"))                                                                          // no tags
			make(name("2"), gone)                                                                    // half of the tags
			make(name("3"), gone, "tarn.origin=xxxxxx-xxxx")                                         // the tag of another origin
			make("tarn-mine", gone, "tarn.origin="+origin)                                           // a name that is not ours
			make(name("4")[:47]+"11111111", gone, "tarn.origin="+origin)                             // a name made for another origin
			tags := []string{"-n", name("5"), "--addtag", gone, "--addtag", "tarn.origin=" + origin} // no snapshot at all
			if l.kind == fssnap.LVMThin {
				fssnaptest.Run(t, "lvcreate", append(tags, "-V", "8M", "-T", group+"/pool")...)
			} else {
				fssnaptest.Run(t, "lvcreate", append(tags, "-Wn", "-L", "4M", group)...)
			}
			make(name("6"), gone, "tarn.origin="+origin) // ours
			before := strings.Fields(volumes(t))
			removed := 0
			for _, l := range fssnaptest.Leftovers(t, p, point) {
				err := l.Remove(t.Context())
				switch {
				case err == nil:
					removed++
					if l.Where != group+"/"+name("6") {
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
			if after := strings.Fields(volumes(t)); removed != 1 || len(after) != len(before)-1 {
				t.Errorf("%d removed; before %q, after %q", removed, before, after)
			}
			if err := errors.Join(s.Valid(t.Context()), s.Release(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestInUse: a leftover that somebody has mounted stays, and the error says so.
func TestInUse(t *testing.T) {
	point := mount(t, layouts[0])
	s := fssnaptest.Take(t, lvm.Provider{}, point)
	held, _ := s.Path(point)
	f, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context()); err == nil {
		t.Error("a snapshot with an open file was removed")
	} else {
		t.Log(err)
	}
	f.Close()
	if err := s.Release(t.Context()); err != nil {
		t.Errorf("and once it was closed: %v", err)
	}
}
