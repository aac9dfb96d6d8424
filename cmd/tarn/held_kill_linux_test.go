package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestKilledWhileHeld kills whole backups with SIGKILL at moments when a file system snapshot is in place. The next backup must remove what is
// left of them, and nothing else. TARN_SOAK=1 makes it 50 moments; TARN_TEST_KILLS another number.
func TestKilledWhileHeld(t *testing.T) {
	moments := 5
	if os.Getenv("TARN_SOAK") != "" {
		moments = 50
	}
	moments = fssnaptest.Kills(t, moments)
	t.Run("btrfs", func(t *testing.T) {
		point := btrfsDisk(t, 512<<20)
		own := filepath.Join(point, "own")
		fssnaptest.Run(t, "btrfs", "subvolume", "create", own)
		fssnaptest.Run(t, "btrfs", "subvolume", "snapshot", "-r", own, filepath.Join(point, "tarn-my-own"))
		killWhileHeld(t, point, moments, func() (names []string) {
			for line := range strings.Lines(fssnaptest.Run(t, "btrfs", "subvolume", "list", point)) {
				names = append(names, line[strings.LastIndexByte(line, ' ')+1:])
			}
			return names
		})
	})
	for _, l := range []struct{ kind, fsType string }{{"thick", "ext4"}, {"thin", "xfs"}} {
		t.Run("lvm "+l.kind+" "+l.fsType, func(t *testing.T) {
			point := volume(t, l.kind == "thin", l.fsType)
			killWhileHeld(t, point, moments, func() []string {
				fssnaptest.Quiet(t, "lv") // a command that the killed backup had started goes on by itself
				return strings.Fields(fssnaptest.Run(t, "lvs", "--noheadings", "-o", "name", lvmGroup))
			})
		})
	}
}

// killWhileHeld kills backups of a folder until so many have left something. list names all snapshots, the user's own ones included.
func killWhileHeld(t *testing.T, point string, moments int, list func() []string) {
	tarn := newProgram(t)
	work := filepath.Join(point, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 20 {
		data := make([]byte, 100_000)
		for k := range data {
			data[k] = byte(random.Uint32())
		}
		if err := os.WriteFile(filepath.Join(work, fmt.Sprint(i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := list()
	begin := time.Now()
	tarn.must("backup", "--fs-snapshot", "required", work)
	whole := time.Since(begin)
	if got := list(); !slices.Equal(got, before) {
		t.Fatalf("a backup that ended by itself left something: %q, before %q", got, before)
	}
	left := 0
	for kills := 0; left < moments; kills++ {
		if kills == 20*moments {
			t.Fatalf("only %d of %d killed backups left something", left, kills)
		}
		cmd := tarn.command("backup", "--force", "--fs-snapshot", "required", work)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(whole))), func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
		if slices.Equal(list(), before) {
			continue
		}
		left++
		said := tarn.must("backup", "--force", "--fs-snapshot", "required", work)
		if got := list(); !slices.Equal(got, before) {
			t.Fatalf("after the next backup there are %q, want %q\n%s", got, before, said)
		}
		if !strings.Contains(said, "removed the snapshot ") {
			t.Errorf("it does not say that it removed something:\n%s", said)
		}
	}
	t.Logf("%d killed backups left something, and the next one removed it", left)
	tarn.must("check", "--read-data")
}

const lvmGroup = "tarnkill"

// volume makes a volume group on a loop device, with a volume and a snapshot of the user's own, and returns where the volume is mounted.
func volume(t *testing.T, thin bool, fsType string) (point string) {
	t.Helper()
	if _, err := os.Stat("/dev/mapper/control"); err != nil || !fssnap.Root() {
		t.Skip("no device mapper here: testing/vm/test.sh kill")
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
	if thin {
		run("lvcreate", "-T", "-L", "480M", lvmGroup+"/pool")
		run("lvcreate", "-V", "320M", "-T", lvmGroup+"/pool", "-n", "origin")
		run("lvcreate", "-s", "-n", "tarn-my-own", lvmGroup+"/origin")
	} else {
		run("lvcreate", "-Wn", "-L", "320M", "-n", "origin", lvmGroup)
		run("lvcreate", "-s", "-L", "32M", "-n", "tarn-my-own", lvmGroup+"/origin")
	}
	device := "/dev/" + lvmGroup + "/origin"
	run("mkfs."+fsType, "-q", device)
	point = filepath.Join(dir, "mnt")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	run("mount", "-t", fsType, device, point)
	t.Cleanup(func() { run("umount", point) })
	return point
}
