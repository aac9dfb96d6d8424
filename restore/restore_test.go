package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var myUID, myGID = uint32(max(os.Geteuid(), 0)), uint32(max(os.Getegid(), 0))

func randomText(n int) string {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// run restores without a complaint.
func run(t *testing.T, m *memory, root snapshot.Node, target string, o restore.Options) restore.Summary {
	t.Helper()
	sum, err := restore.Run(context.Background(), m, root, target, o, nil)
	must(t, err)
	return sum
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	must(t, err)
	return string(b)
}

func write(t *testing.T, content string, parts ...string) string {
	t.Helper()
	path := filepath.Join(parts...)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func absent(t *testing.T, parts ...string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(parts...)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there, or: %v", filepath.Join(parts...), err)
	}
}

// snapshotOf lists what is below a folder, to see whether anything changed.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		fmt.Fprintln(&b, path, info.Mode(), info.ModTime().UnixNano(), info.Size())
		return nil
	}))
	return b.String()
}

// sample has files of many sizes, two levels of folders, and a symlink.
func sample(t *testing.T, m *memory) (snapshot.Node, map[string]string) {
	t.Helper()
	want := map[string]string{"a/empty": "", "a/small": "small", "a/chunk": randomText(chunk), "a/chunk+1": randomText(chunk + 1),
		"b/c/holes": "x" + zeros + zeros[1:] + zeros + "end", "b/c/zeros": zeros + zeros, "large": randomText(17<<20 + 3), "z": "last"}
	file := func(path string) snapshot.Node { return m.file(t, filepath.Base(path), want[path]) }
	sparse := file("b/c/holes")
	sparse.Sparse = true
	return m.dir(t, "",
		m.dir(t, "a", file("a/chunk"), file("a/chunk+1"), file("a/empty"), file("a/small")),
		m.dir(t, "b", m.dir(t, "c", sparse, file("b/c/zeros"))),
		file("large"),
		symlink("link", "a/small"),
		file("z"),
	), want
}

func checkSample(t *testing.T, target string, want map[string]string) {
	t.Helper()
	for path, content := range want {
		if got := read(t, target, path); got != content {
			t.Errorf("%s: %d bytes, want %d, or other ones", path, len(got), len(content))
		}
		info, err := os.Stat(filepath.Join(target, path))
		must(t, err)
		if got := info.ModTime(); !got.Equal(time.Unix(someTime.Sec, int64(someTime.Nsec))) {
			t.Errorf("%s: time is %v", path, got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	m := newMemory()
	root, want := sample(t, m)
	for _, workers := range []int{1, 2, 7} {
		target := filepath.Join(t.TempDir(), "not", "there", "yet")
		seen := newEvents()
		sum, err := restore.Run(context.Background(), m, root, target, restore.Options{Workers: workers, Verify: true}, seen)
		must(t, err)
		checkSample(t, target, want)
		if sum.Files != uint64(len(want)) || sum.Folders != 4 || sum.Others != 1 || sum.Verified != sum.Files {
			t.Errorf("%d workers: %+v", workers, sum)
		}
		if seen.wrte != sum.Bytes {
			t.Errorf("%d workers: told of %d bytes, summary has %d", workers, seen.wrte, sum.Bytes)
		}
		for path := range want {
			if !seen.has(path, restore.Made) || !seen.has(path, restore.Verified) {
				t.Errorf("nothing was told of %s", path)
			}
		}
		if target, err := os.Readlink(filepath.Join(target, "link")); err != nil || target != "a/small" {
			t.Errorf("link: %q, %v", target, err)
		}
	}
}

func TestSingleFile(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	sum := run(t, m, m.file(t, "one", "alone"), target, restore.Options{})
	if got := read(t, target, "one"); got != "alone" || sum.Files != 1 {
		t.Errorf("%q, %+v", got, sum)
	}
	if _, err := restore.Run(context.Background(), m, m.file(t, "../one", "x"), t.TempDir(), restore.Options{}, nil); err == nil {
		t.Error("a root named ../one was restored")
	}
}

// filter is a Filter from a map of paths.
type filter map[string]restore.Decision

func (f filter) Match(path string, _ snapshot.Type) restore.Decision { return f[path] }

func TestFilter(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.dir(t, "left out", m.file(t, "x", "x")), m.dir(t, "passed", m.dir(t, "deep", m.file(t, "no", "no"), m.file(t, "yes", "yes"))),
		m.dir(t, "passed in vain", m.file(t, "no", "no")), m.file(t, "taken", "taken"))
	sum := run(t, m, root, target, restore.Options{Filter: filter{"left out": restore.Skip, "passed": restore.Pass, "passed/deep": restore.Pass,
		"passed/deep/no": restore.Skip, "passed in vain": restore.Pass, "passed in vain/no": restore.Skip}})
	read(t, target, "passed", "deep", "yes")
	read(t, target, "taken")
	absent(t, target, "left out")
	absent(t, target, "passed in vain")
	absent(t, target, "passed", "deep", "no")
	if sum.Files != 2 {
		t.Errorf("%+v", sum)
	}
}

func TestOptionsRefused(t *testing.T) {
	m := newMemory()
	for _, c := range []struct {
		target string
		o      restore.Options
	}{
		{t.TempDir(), restore.Options{Delete: true}},
		{t.TempDir(), restore.Options{Workers: -1}},
		{string(filepath.Separator), restore.Options{Delete: true, Overwrite: restore.OverwriteAlways, DryRun: true}},
	} {
		if _, err := restore.Run(context.Background(), m, m.dir(t, ""), c.target, c.o, nil); err == nil {
			t.Errorf("%q, %+v: no error", c.target, c.o)
		}
	}
}

func TestDryRun(t *testing.T) {
	m := newMemory()
	root, want := sample(t, m)
	parent := t.TempDir()
	target := filepath.Join(parent, "target")
	sum := run(t, m, root, target, restore.Options{DryRun: true, Verify: true, Sync: true})
	absent(t, target)
	if sum.Files != uint64(len(want)) || sum.Folders != 4 {
		t.Errorf("%+v", sum)
	}
	run(t, m, root, target, restore.Options{})
	write(t, "changed", target, "a", "small")
	must(t, os.Remove(filepath.Join(target, "z")))
	before := listing(t, parent)
	sum = run(t, m, root, target, restore.Options{DryRun: true, Overwrite: restore.OverwriteIfChanged})
	if after := listing(t, parent); after != before {
		t.Errorf("a dry run changed\n%sto\n%s", before, after)
	}
	if sum.Replaced != 1 || sum.Files != 2 {
		t.Errorf("%+v", sum)
	}
}

func BenchmarkSmallFiles(b *testing.B) {
	m := newMemory()
	var folders []snapshot.Node
	for i := range 100 {
		var files []snapshot.Node
		for k := range 16 {
			files = append(files, m.file(b, fmt.Sprintf("f%02d", k), randomText(100+1000*k)))
		}
		folders = append(folders, m.dir(b, fmt.Sprintf("d%02d", i), files...))
	}
	root := m.dir(b, "", folders...)
	for b.Loop() {
		b.StopTimer()
		target := filepath.Join(b.TempDir(), "t")
		b.StartTimer()
		if _, err := restore.Run(context.Background(), m, root, target, restore.Options{}, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		must(b, os.RemoveAll(target))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*1600)/b.Elapsed().Seconds(), "files/s")
}

func Example() {
	dir, err := os.MkdirTemp("", "tarn-example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	m := newMemory()
	t := new(testing.T)
	root := m.dir(t, "", m.file(t, "hello", "hello, tarn"))

	sum, err := restore.Run(context.Background(), m, root, filepath.Join(dir, "out"), restore.Options{Verify: true}, nil)
	if err != nil {
		panic(err)
	}
	b, _ := os.ReadFile(filepath.Join(dir, "out", "hello"))
	fmt.Printf("%s: %d file, %d bytes, verified %d\n", b, sum.Files, sum.Bytes, sum.Verified)
	// Output: hello, tarn: 1 file, 11 bytes, verified 1
}
