package restore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// Set-user-id is not given to a file whose owner is another one than in the snapshot.
func TestSetUserIDOfAnotherOwner(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "suid", "x")
	n.Mode, n.UID = 0o4755, 1000
	sum := run(t, m, m.dir(t, "", n), target, restore.Options{Owner: restore.OwnerNever})
	info, err := os.Stat(filepath.Join(target, "suid"))
	must(t, err)
	if info.Mode()&os.ModeSetuid != 0 || sum.Lost[restore.AspectMode].Count != 1 {
		t.Errorf("mode %v, lost %+v", info.Mode(), sum.Lost)
	}
}

func TestOwnerByName(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	known, unknown := m.file(t, "known", "x"), m.file(t, "unknown", "x")
	known.UID, known.GID, known.User, known.Group = 4242, 4242, "daemon", "daemon"
	unknown.UID, unknown.GID, unknown.User, unknown.Group = 4242, 4243, "no-such-user-here", "no-such-group-here"
	run(t, m, m.dir(t, "", known, unknown), target, restore.Options{Owner: restore.OwnerByName})
	for name, want := range map[string][2]uint32{"known": {1, 1}, "unknown": {4242, 4243}} {
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(target, name), &st))
		if got := [2]uint32{st.Uid, st.Gid}; got != want {
			t.Errorf("%s belongs to %v, want %v", name, got, want)
		}
	}
}

// What a target's folder hands down to new entries (ACLs, group) is not what the snapshot has.
func TestInheritance(t *testing.T) {
	needRoot(t)
	m, dir := newMemory(), tempDir(t)
	plain, target := filepath.Join(dir, "plain"), filepath.Join(dir, "target")
	root := m.dir(t, "", m.dir(t, "d", m.dir(t, "e", m.file(t, "f", "x"))), m.file(t, "f", "x"))
	run(t, m, root, plain, restore.Options{})
	must(t, os.Mkdir(target, 0o755))
	must(t, os.Chown(target, 0, 77))
	must(t, os.Chmod(target, 0o755|os.ModeSetgid))
	if out, err := exec.Command("setfacl", "-d", "-m", "u:7:rwx", target).CombinedOutput(); err != nil {
		t.Skipf("setfacl (apt-get install acl): %v %s", err, out)
	}
	run(t, m, root, target, restore.Options{})
	if d := diff(describe(t, plain), describe(t, target)); d != "" {
		t.Error(d)
	}
}

func TestXattrFilter(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.Xattrs = []snapshot.Xattr{{Name: "user.no", Value: "1"}, {Name: "user.yes", Value: "2"}}
	run(t, m, m.dir(t, "", n), target, restore.Options{Xattrs: func(name string) bool { return name == "user.yes" }})
	path, buf := filepath.Join(target, "f"), make([]byte, 10)
	if k, err := unix.Getxattr(path, "user.yes", buf); err != nil || string(buf[:k]) != "2" {
		t.Errorf("user.yes: %q, %v", buf[:k], err)
	}
	if _, err := unix.Getxattr(path, "user.no", buf); err != unix.ENODATA {
		t.Errorf("user.no: %v", err)
	}
}

// A missing blob of an attribute does not cost the file, but is told.
func TestMissingXattrBlob(t *testing.T) {
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.Xattrs = []snapshot.Xattr{{Name: "user.lost", Ref: blob.ID{1}}}
	_, err := restore.Run(context.Background(), m, m.dir(t, "", n), target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || !strings.Contains(err.Error(), "user.lost") {
		t.Errorf("error %v", err)
	}
	read(t, target, "f")
}

// What the file system can't hold is counted, and nothing is aborted.
func TestLostIsCounted(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.ModTime = snapshot.Time{Sec: 1 << 40, Nsec: 5}
	n.UID = 1<<32 - 1
	n.Flags = 0x40 | 0x800000 // no dump, which works everywhere, and no copy on write, which does not
	n.Xattrs = []snapshot.Xattr{{Name: "nonsense.x", Value: "1"}, {Name: "user.x", Value: "1"}}
	device := snapshot.Node{Name: "device", Type: snapshot.CharDevice, Device: 1 << 50, ModTime: someTime}
	sum, err := restore.Run(context.Background(), m, m.dir(t, "", device, n), target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || sum.Failed.Examples[0].Path != "device" {
		t.Errorf("error %v", err)
	}
	for _, a := range []restore.Aspect{restore.AspectOwner, restore.AspectTimes, restore.AspectXattr, restore.AspectFlags} {
		if sum.Lost[a].Count != 1 {
			t.Errorf("%v: lost %d, want 1: %v", a, sum.Lost[a].Count, sum.Lost[a].Examples)
		}
	}
	if flags := strings.Join(describe(t, target), "\n"); !strings.Contains(flags, "flags 0x40 ") {
		t.Errorf("the flag that works is not set: %s", flags)
	}
}

func TestFlagsAreLeftAlone(t *testing.T) {
	needRoot(t)
	m, target := newMemory(), tempDir(t)
	n := m.file(t, "f", "x")
	n.Flags = 0x10
	run(t, m, m.dir(t, "", n), target, restore.Options{NoFlags: true})
	must(t, os.Remove(filepath.Join(target, "f")))
}

// unprivileged is the name of the variable that tells the test binary that it was started again, as nobody.
const unprivileged = "TARN_TEST_UNPRIVILEGED"

// An ordinary user gets all that he may have, and is told what he may not.
func TestUnprivileged(t *testing.T) {
	if dir := os.Getenv(unprivileged); dir != "" {
		testUnprivileged(t, dir)
		return
	}
	needRoot(t)
	dir := tempDir(t)
	must(t, os.Chmod(dir, 0o777))
	binary, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(dir, "test")
	must(t, os.WriteFile(program, binary, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "work"), 0o777))
	must(t, os.Chmod(filepath.Join(dir, "work"), 0o777))
	cmd := exec.Command(program, "-test.run=^TestUnprivileged$", "-test.v")
	cmd.Env = append(os.Environ(), unprivileged+"="+filepath.Join(dir, "work"), "HOME="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestUnprivileged") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func testUnprivileged(t *testing.T, dir string) {
	m := newMemory()
	file := m.file(t, "f", "x")
	file.Mode = 0o400
	file.Xattrs = []snapshot.Xattr{{Name: "security.x", Value: "1"}, {Name: "trusted.x", Value: "1"}, {Name: "user.x", Value: "1"}}
	foreign := m.file(t, "foreign", "x")
	foreign.Mode, foreign.UID, foreign.GID = 0o6755, 0, 0
	locked := m.dir(t, "locked", file, m.file(t, "x", "1"))
	locked.Mode = 0
	readOnly := m.dir(t, "read-only", m.dir(t, "below", file), file)
	readOnly.Mode = 0o555
	one, two := m.file(t, "one", "x"), m.file(t, "two", "x")
	one.Link, two.Link = snapshot.LinkKey{1}, snapshot.LinkKey{1}
	blind := m.dir(t, "blind", one)
	blind.Mode = 0o300
	root := m.dir(t, "", blind, foreign, locked, readOnly, two)
	target := filepath.Join(dir, "target")
	sum := run(t, m, root, target, restore.Options{Workers: 1})
	for a, want := range map[restore.Aspect]uint64{restore.AspectOwner: 1, restore.AspectMode: 1, restore.AspectXattr: 6, restore.AspectLink: 0} {
		if got := sum.Lost[a]; got.Count != want {
			t.Errorf("%v: lost %d, want %d: %v", a, got.Count, want, got.Examples)
		}
	}
	again := run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true})
	if again.Deleted != 0 || again.Failed.Count != 0 {
		t.Errorf("again: %+v", again)
	}
	run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteAlways})
	for _, o := range []restore.Options{{Overwrite: restore.OverwriteIfChanged, DryRun: true}, {Overwrite: restore.OverwriteNever}} {
		_, err := restore.Run(context.Background(), m, root, target, o, nil) // can't look into all folders, and must not make itself able to
		if !errors.Is(err, restore.ErrIncomplete) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for name, want := range map[string]os.FileMode{"locked": 0, "read-only": 0o555, "read-only/f": 0o400, "foreign": 0o755, "blind": 0o300} {
		info, err := os.Stat(filepath.Join(target, name))
		must(t, err)
		if info.Mode()&^os.ModeDir != want {
			t.Errorf("%s: mode %v, want %v", name, info.Mode(), want)
		}
	}
	device := snapshot.Node{Name: "device", Type: snapshot.CharDevice, Device: 1<<32 | 3, ModTime: someTime, UID: myUID, GID: myGID}
	if _, err := restore.Run(context.Background(), m, device, filepath.Join(dir, "devices"), restore.Options{}, nil); !errors.Is(err, restore.ErrIncomplete) {
		t.Errorf("device: %v", err)
	}
}
