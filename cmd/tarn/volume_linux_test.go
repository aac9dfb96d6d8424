package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

const lvmGroup = "tarnkill"

// volumeLayout is a logical volume with a file system.
type volumeLayout struct{ kind, fsType string }

func (l volumeLayout) String() string { return l.kind + " " + l.fsType }

var volumeLayouts = []volumeLayout{{"thick", "ext4"}, {"thick", "xfs"}, {"thin", "ext4"}, {"thin", "xfs"}}

// mount makes a volume group on a loop device, with a volume and a snapshot of the user's own, and returns where the volume is mounted. At the end
// of the test the file system must be in order.
func (l volumeLayout) mount(t *testing.T) (point string) {
	t.Helper()
	if _, err := os.Stat("/dev/mapper/control"); err != nil || !fssnap.Root() {
		t.Skip("no device mapper here: testing/vm/test.sh tarn")
	}
	fssnaptest.Program(t, "lvcreate", "lvm2 thin-provisioning-tools")
	run := func(name string, args ...string) { t.Helper(); fssnaptest.Run(t, name, args...) }
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 900<<20); err != nil {
		t.Fatal(err)
	}
	loop := strings.TrimSpace(fssnaptest.Run(t, "losetup", "-f", "--show", image))
	t.Cleanup(func() { run("losetup", "-d", loop) })
	run("vgcreate", lvmGroup, loop)
	t.Cleanup(func() { run("vgremove", "--force", "--yes", lvmGroup) }) // the test's own group, with all in it
	if l.kind == "thin" {
		run("lvcreate", "-T", "-L", "480M", lvmGroup+"/pool")
		run("lvcreate", "-V", "320M", "-T", lvmGroup+"/pool", "-n", "origin")
		run("lvcreate", "-s", "-n", "tarn-my-own", lvmGroup+"/origin")
	} else {
		run("lvcreate", "-Wn", "-L", "320M", "-n", "origin", lvmGroup)
		run("lvcreate", "-s", "-L", "32M", "-n", "tarn-my-own", lvmGroup+"/origin")
	}
	device := "/dev/" + lvmGroup + "/origin"
	run("mkfs."+l.fsType, "-q", device)
	point = filepath.Join(dir, "mnt")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	run("mount", "-t", l.fsType, device, point)
	t.Cleanup(func() {
		run("umount", point)
		if l.fsType == "ext4" {
			run("e2fsck", "-fn", device)
		} else {
			run("xfs_repair", "-n", device)
		}
	})
	return point
}

// volumes lists the names of all volumes of the group, snapshots included.
func volumes(t *testing.T) []string {
	t.Helper()
	fssnaptest.Quiet(t, "lv") // a command that a killed backup had started goes on by itself
	return strings.Fields(fssnaptest.Run(t, "lvs", "--noheadings", "-o", "name", lvmGroup))
}
