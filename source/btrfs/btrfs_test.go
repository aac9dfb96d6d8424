//go:build linux

package btrfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/btrfs"
	"github.com/tarn-backup/tarn/source/fssnap"
	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

var provider btrfs.Provider

// newFS mounts a new Btrfs on a loop device for the time of the test, and returns its mount point.
func newFS(t *testing.T, size int64, options ...string) string {
	t.Helper()
	if !fssnap.Root() {
		t.Skip("needs root to mount a loop device: sudo -E go test ./source/btrfs")
	}
	fssnaptest.Program(t, "mkfs.btrfs", "btrfs-progs")
	fssnaptest.Program(t, "mount", "mount")
	dir, err := os.MkdirTemp("", "tarn-btrfs-test-") // not t.TempDir, which no other user may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	image, point := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close(), os.Mkdir(point, 0o755)); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Run(t, "mkfs.btrfs", "-q", image)
	out, err := exec.Command("mount", "-o", strings.Join(append(options, "loop"), ","), image, point).CombinedOutput()
	if err != nil {
		t.Skipf("this kernel mounts no Btrfs on a loop device: %s", out)
	}
	t.Cleanup(func() { fssnaptest.Unmount(t, point) })
	return point
}

// subvolume makes a subvolume.
func subvolume(t *testing.T, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	fssnaptest.Run(t, "btrfs", "subvolume", "create", p)
	return p
}

func TestHolds(t *testing.T) {
	point := newFS(t, 256<<20)
	for _, dir := range []string{"/", "sub", "sub/folder/nested"} {
		t.Run(dir, func(t *testing.T) {
			top := filepath.Join(point, dir)
			if dir != "/" {
				if err := os.MkdirAll(filepath.Dir(top), 0o755); err != nil {
					t.Fatal(err)
				}
				subvolume(t, top)
			}
			work := filepath.Join(top, "work")
			if err := os.Mkdir(work, 0o755); err != nil {
				t.Fatal(err)
			}
			fssnaptest.Holds(t, provider, work)
		})
	}
}

// TestHoldsBind takes a snapshot through a bind mount that shows a folder of a subvolume and not its top.
func TestHoldsBind(t *testing.T) {
	point := newFS(t, 256<<20)
	sub := subvolume(t, point, "sub")
	inner, bind := filepath.Join(sub, "inner"), filepath.Join(filepath.Dir(point), "bind")
	if err := errors.Join(os.Mkdir(inner, 0o755), os.Mkdir(bind, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(inner, bind, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fssnaptest.Unmount(t, bind) })
	fssnaptest.Holds(t, provider, bind)
}

func TestSkip(t *testing.T) {
	point := newFS(t, 256<<20)
	s := fssnaptest.Take(t, provider, point)
	skip := s.Skip()
	if len(skip) != 1 || filepath.Dir(skip[0]) != point || !btrfs.IsFolder(filepath.Base(skip[0])) {
		t.Fatalf("skip: %q", skip)
	}
	if got := fssnaptest.Names(t, point); !slices.Equal(got, []string{filepath.Base(skip[0])}) {
		t.Errorf("the subvolume holds %q", got)
	}
	// The top folder must not look changed to each backup, just since there was a backup.
	before := changed(t, point)
	if err := s.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	fssnaptest.Take(t, provider, point)
	if after := changed(t, point); after != before {
		t.Errorf("the top folder changed from %v to %v", before, after)
	}
	for name, want := range map[string]bool{".tarn-snapshots": true, ".tarn-snapshots-1000": true, ".tarn-snapshots-0": false,
		".tarn-snapshots-x": false, ".tarn-snapshots-": false, ".tarn-snapshots-007": false, "tarn-snapshots": false} {
		if btrfs.IsFolder(name) != want {
			t.Errorf("IsFolder(%q) = %v", name, !want)
		}
	}
}

func changed(t *testing.T, path string) syscall.Timespec {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Ctim
}

func TestNested(t *testing.T) {
	point := newFS(t, 256<<20)
	a := subvolume(t, point, "a")
	deep := subvolume(t, a, "deep")
	if err := os.Mkdir(filepath.Join(point, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := subvolume(t, point, "dir", "b")
	ro := filepath.Join(b, "ro")
	fssnaptest.Run(t, "btrfs", "subvolume", "snapshot", "-r", a, ro)
	s := fssnaptest.Take(t, provider, a) // its own snapshot is no subvolume of the user's
	for dir, want := range map[string][]string{point: {a, deep, b, ro}, filepath.Join(point, "dir"): {b, ro}, a: {deep}, deep: nil} {
		list, err := btrfs.Nested(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, s := range list {
			paths = append(paths, s.Path)
			if isRO := s.Path == ro; s.ReadOnly != isRO || s.Snapshot != isRO {
				t.Errorf("%+v", s)
			}
		}
		slices.Sort(paths)
		if !slices.Equal(paths, want) {
			t.Errorf("nested in %s: %q, want %q", dir, paths, want)
		}
	}
	held, _ := s.Path(deep)
	fi, err := os.Lstat(held)
	if err != nil || fi.Sys().(*syscall.Stat_t).Ino != btrfs.Placeholder {
		t.Errorf("in place of a nested subvolume: %v, %v; want an empty folder with inode %d", fi, err, btrfs.Placeholder)
	}
	if plan := planOf(t, ro); plan.Kind != fssnap.None || !strings.Contains(plan.Why, "read-only") {
		t.Errorf("plan for a read-only subvolume: %+v", plan)
	}
}

func planOf(t *testing.T, dir string) fssnap.Plan {
	t.Helper()
	r := fssnaptest.NewRequest(t, dir)
	return provider.Plan(t.Context(), r.Mount, dir)
}

func TestPlan(t *testing.T) {
	point := newFS(t, 256<<20)
	sub := subvolume(t, point, "sub")
	plan, top := planOf(t, sub), planOf(t, point)
	if plan.Kind != fssnap.Btrfs || plan.Why != "btrfs: subvolume "+sub+", snapshot as root" {
		t.Errorf("%+v", plan)
	}
	if plan.ID == top.ID || plan.ID != planOf(t, sub).ID {
		t.Errorf("one snapshot would be taken for two: %q, %q", plan.ID, top.ID)
	}
	if plan := planOf(t, "/proc"); plan != (fssnap.Plan{}) {
		t.Errorf("plan for /proc: %+v", plan)
	}
	fssnaptest.Run(t, "mount", "-o", "remount,ro", point)
	if plan := planOf(t, sub); plan.Kind != fssnap.None || !strings.Contains(plan.Why, "read-only") {
		t.Errorf("%+v", plan)
	}
}

// TestValid deletes the snapshot behind its back. What is left then looks like a file system whose files have vanished.
func TestValid(t *testing.T) {
	point := newFS(t, 256<<20)
	s := fssnaptest.Take(t, provider, point)
	for _, name := range fssnaptest.Names(t, s.Skip()[0]) {
		if !strings.HasSuffix(name, ".owner") {
			fssnaptest.Run(t, "btrfs", "subvolume", "delete", filepath.Join(s.Skip()[0], name))
		}
	}
	if err := s.Valid(t.Context()); !errors.Is(err, fssnap.ErrInvalid) {
		t.Errorf("a deleted snapshot is called valid: %v", err)
	}
}

// TestStill is the suspect rule: what the snapshot vouches for is right. Writers that rest for up to four seconds leave files of both
// sorts.
func TestStill(t *testing.T) {
	point := newFS(t, 2<<30)
	w := fssnaptest.Writers{Dir: point, Size: 1 << 20, Each: 3, Rest: 4 * time.Second, Seed: 1}
	sum := fssnaptest.Still(t, provider, w, 25)
	if sum.Exact == 0 || sum.Suspect == 0 {
		t.Errorf("nothing proven: %v", sum)
	}
}

// TestTornAreSuspect takes snapshots of writers that hardly rest, until there is a torn file in one of them: as long as Btrfs does
// that, the rule is needed, and has to find it.
func TestTornAreSuspect(t *testing.T) {
	point := newFS(t, 2<<30)
	w := fssnaptest.Writers{Dir: point, Size: 8 << 20, Each: 1, Rest: 10 * time.Millisecond, Seed: 2}
	stop := w.Start(t)
	defer stop()
	var sum fssnaptest.Counts
	runs := 0
	for ; runs < 60 && len(sum.TornSuspect) == 0; runs++ {
		s := fssnaptest.Take(t, provider, point)
		held, _ := s.Path(point)
		sum.Add(w.Check(t, held, s.Exact))
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d snapshots, seed %d: %v", runs, w.Seed, sum)
	sum.Fail(t)
	if len(sum.TornSuspect) == 0 {
		t.Error("no torn file was seen: is the rule still needed?")
	}
}

func TestKill(t *testing.T) {
	fssnaptest.Child(t, provider)
	point := newFS(t, 256<<20)
	work := filepath.Join(point, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 7))
	left := 0
	for n := range fssnaptest.Kills(t, 16) {
		delay := time.Duration(random.IntN(4000)) * time.Microsecond
		fssnaptest.Kill(t, work, n, func() { time.Sleep(delay) }) // no synchronisation, but the moment of the kill
		left += fssnaptest.Clean(t, provider, work)
	}
	t.Logf("%d leftovers of %d kills", left, fssnaptest.Kills(t, 16))
	if left == 0 {
		t.Error("no kill left anything, so nothing was proven")
	}
	if got := fssnaptest.Names(t, point); !slices.Equal(got, []string{".tarn-snapshots", "work"}) {
		t.Errorf("the file system holds %q", got)
	}
	if got := fssnaptest.Names(t, filepath.Join(point, ".tarn-snapshots")); len(got) > 0 {
		t.Errorf("the folder for snapshots holds %q", got)
	}
}

// TestNeverRemovesOthers puts what others might make in the place and under the name of a leftover.
func TestNeverRemovesOthers(t *testing.T) {
	point := newFS(t, 256<<20)
	s := fssnaptest.Take(t, provider, point)
	folder := s.Skip()[0]
	var real string
	for _, name := range fssnaptest.Names(t, folder) {
		if !strings.HasSuffix(name, ".owner") {
			real = filepath.Join(folder, name)
		}
	}
	mark, err := os.ReadFile(real + ".owner")
	if err != nil {
		t.Fatal(err)
	}
	gone := bytes.Replace(mark, mark[:8], []byte("00000000"), 1) // another boot: its maker is gone
	other := subvolume(t, point, "other")
	name := func(digit string) string {
		return filepath.Join(folder, "tarn-"+fssnaptest.Repository+"-"+strings.Repeat(digit, 32)+"-00000000")
	}
	snapshot := func(of, to string) { fssnaptest.Run(t, "btrfs", "subvolume", "snapshot", "-r", of, to) }
	put := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snapshot(point, name("1")) // no mark
	snapshot(other, name("2")) // a snapshot of something else
	put(name("2")+".owner", gone)
	subvolume(t, name("3")) // no snapshot at all
	put(name("3")+".owner", gone)
	snapshot(point, name("4"))
	put(name("4")+".owner", append(gone[:len(gone)-2:len(gone)-2], "!\n"...)) // the mark of another origin
	if err := os.Mkdir(name("5"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(name("5")+".owner", gone)
	snapshot(point, filepath.Join(folder, "my-own")) // a name that is not ours
	put(name("6")+".owner", gone)                    // a mark without a snapshot: ours

	removed := 0
	for _, l := range fssnaptest.Leftovers(t, provider, point) {
		if err := l.Remove(t.Context()); err == nil {
			removed++
			if l.Where != name("6") {
				t.Errorf("removed %s", l.Where)
			}
		} else if !errors.Is(err, fssnap.ErrDoubt) {
			t.Error(err)
		}
		// What is listed may change before it is removed: the proof has to be made again.
		if l.Doubt != "" {
			if err := l.Destroy(t.Context()); !errors.Is(err, fssnap.ErrDoubt) {
				t.Errorf("destroy %s: %v", l.Where, err)
			}
		}
	}
	if removed != 1 {
		t.Errorf("%d removed, want the one lonely mark", removed)
	}
	if got := len(fssnaptest.Names(t, folder)); got != 12 {
		t.Errorf("%d entries left: %q", got, fssnaptest.Names(t, folder))
	}
}

// TestFolderOfOthers: whoever owns the top folder may put something else in the place where root would make a snapshot.
func TestFolderOfOthers(t *testing.T) {
	point := newFS(t, 256<<20)
	for name, prepare := range map[string]func(path string) error{
		"link":     func(p string) error { return os.Symlink("/tmp", p) },
		"foreign":  func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, 65534, 65534)) },
		"open":     func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777)) },
		"subvol":   func(p string) error { subvolume(t, p); return os.Chmod(p, 0o700) },
		"ordinary": func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		sub := subvolume(t, point, name)
		if err := prepare(filepath.Join(sub, ".tarn-snapshots")); err != nil {
			t.Fatal(err)
		}
		s, err := provider.Take(t.Context(), fssnaptest.NewRequest(t, sub))
		if err == nil {
			t.Errorf("%s: a snapshot was made there", name)
			s.Release(t.Context())
		}
	}
}

// userVariable tells a child process, which runs as a plain user, what to try.
const userVariable = "TARN_TEST_PLAIN_USER"

// TestPlainUser runs itself as nobody.
func TestPlainUser(t *testing.T) {
	if dir := os.Getenv(userVariable); dir != "" {
		asPlainUser(t, dir)
		return
	}
	for _, c := range []struct {
		name, option, top, want string
		owner                   int
	}{
		{"allowed", "user_subvol_rm_allowed", "own", "snapshot as its owner", 65534},
		{"not allowed", "relatime", "own", "lacks user_subvol_rm_allowed", 65534},
		{"not owner", "user_subvol_rm_allowed", "own", "not the user's own", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := subvolume(t, newFS(t, 256<<20, c.option), c.top)
			work := filepath.Join(sub, "work")
			if err := errors.Join(os.Mkdir(work, 0o755), os.Chown(sub, c.owner, c.owner), os.Chown(work, 65534, 65534)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestPlainUser$")
			cmd.Env = append(os.Environ(), userVariable+"="+work)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(string(out), c.want) {
				t.Errorf("want a plan with %q, have\n%s", c.want, out)
			}
			if rest := leftSubvolumes(t, sub); rest != "" {
				t.Errorf("left over: %s", rest)
			}
		})
	}
}

func leftSubvolumes(t *testing.T, sub string) string {
	t.Helper()
	return strings.TrimSpace(fssnaptest.Run(t, "btrfs", "subvolume", "list", "-o", sub))
}

func asPlainUser(t *testing.T, work string) {
	if os.Geteuid() != 65534 || fssnap.Root() {
		t.Fatal("not a plain user")
	}
	plan := planOf(t, work)
	fmt.Println(plan.Why)
	if plan.Kind == fssnap.Btrfs {
		fssnaptest.Holds(t, provider, work)
		return
	}
	if s, err := provider.Take(t.Context(), fssnaptest.NewRequest(t, work)); err == nil {
		s.Release(t.Context())
		t.Error("a snapshot was made against the plan")
	}
}

// Example holds the subvolume around a folder, reads a file and gives the snapshot back.
func Example() {
	read := func(ctx context.Context, m fssnap.Mount, session string) ([]byte, error) {
		var p btrfs.Provider
		held, err := p.Take(ctx, fssnap.Request{Mount: m, Dir: "/home/ann", Repository: "0badcafe", Session: session})
		if err != nil {
			return nil, err
		}
		defer held.Release(context.WithoutCancel(ctx))
		path, _ := held.Path("/home/ann/letter.txt")
		data, err := os.ReadFile(path)
		return data, errors.Join(err, held.Valid(ctx))
	}
	_, err := read(context.Background(), fssnap.Mount{Point: "/proc", FSType: "proc"}, strings.Repeat("0", 32))
	fmt.Println(err)
	// Output: btrfs: hold /home/ann: look at /home/ann: no such file or directory
}
