package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/blob"
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

func TestTargetMustBeEmpty(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	write(t, "mine", target, "x")
	if _, err := restore.Run(context.Background(), m, m.dir(t, "", m.file(t, "x", "theirs")), target, restore.Options{}, nil); err == nil {
		t.Error("no error")
	}
	if got := read(t, target, "x"); got != "mine" {
		t.Errorf("overwritten with %q", got)
	}
}

// A new file system has a lost+found folder, which is no reason to refuse it, nor to be deleted.
func TestLostAndFound(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(target, "lost+found"), 0o700))
	run(t, m, m.dir(t, "", m.dir(t, "lost+found", m.file(t, "x", "x"))), target, restore.Options{})
	read(t, target, "lost+found", "x")
	run(t, m, m.dir(t, ""), target, restore.Options{Overwrite: restore.OverwriteAlways, Delete: true})
	read(t, target, "lost+found", "x")
}

func TestOverwrite(t *testing.T) {
	when := time.Unix(someTime.Sec, int64(someTime.Nsec))
	for _, c := range []struct {
		name  string
		o     restore.Options
		want  map[string]string
		check func(restore.Summary) bool
	}{
		{"always", restore.Options{Overwrite: restore.OverwriteAlways},
			map[string]string{"changed": "snapshot", "same": "equal", "touched": "content", "new": "new", "mine": "mine"},
			func(s restore.Summary) bool { return s.Replaced == 3 && s.Files == 4 && s.Unchanged == 0 }},
		{"if changed", restore.Options{Overwrite: restore.OverwriteIfChanged},
			map[string]string{"changed": "snapshot", "same": "EQUAL", "touched": "content", "new": "new", "mine": "mine"},
			func(s restore.Summary) bool { return s.Replaced == 2 && s.Files == 3 }},
		{"if changed, by content", restore.Options{Overwrite: restore.OverwriteIfChanged, Compare: restore.CompareContent},
			map[string]string{"changed": "snapshot", "same": "equal", "touched": "content", "new": "new", "mine": "mine"},
			func(s restore.Summary) bool { return s.Replaced == 2 && s.Files == 3 && s.Updated >= 1 }},
		{"never", restore.Options{Overwrite: restore.OverwriteNever},
			map[string]string{"changed": "old", "same": "EQUAL", "touched": "content", "new": "new", "mine": "mine"},
			func(s restore.Summary) bool { return s.Skipped >= 3 && s.Files == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, target := newMemory(), t.TempDir()
			root := m.dir(t, "", m.dir(t, "d", m.file(t, "changed", "snapshot"), m.file(t, "new", "new"), m.file(t, "same", "equal"), m.file(t, "touched", "content")))
			write(t, "mine", target, "d", "mine")
			write(t, "old", target, "d", "changed")
			write(t, "content", target, "d", "touched")
			must(t, os.Chtimes(write(t, "EQUAL", target, "d", "same"), when, when)) // same size and time
			sum := run(t, m, root, target, c.o)
			for name, content := range c.want {
				if got := read(t, target, "d", name); got != content {
					t.Errorf("%s is %q, want %q", name, got, content)
				}
			}
			if !c.check(sum) {
				t.Errorf("summary %+v", sum)
			}
			names, err := os.ReadDir(filepath.Join(target, "d"))
			must(t, err)
			if len(names) != len(c.want) {
				t.Errorf("%d entries, want %d: %v", len(names), len(c.want), names)
			}
		})
	}
}

// Parts of a file that are right already are not read from the repository.
func TestChangedPartsOnly(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	old := randomText(5 * chunk)
	content := old[:2*chunk] + randomText(chunk) + old[3*chunk:]
	root := m.dir(t, "", m.file(t, "image", content))
	write(t, old, target, "image")
	m.loads = map[blob.ID]int{}
	run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged, Compare: restore.CompareContent, Sum: sumData})
	if got := read(t, target, "image"); got != content {
		t.Error("content is wrong")
	}
	for off := 0; off < len(content); off += chunk {
		loads, want := m.loads[sumData([]byte(content[off:off+chunk]))], 0
		if off == 2*chunk {
			want = 1
		}
		if loads != want {
			t.Errorf("part at %d was loaded %d times, want %d", off, loads, want)
		}
	}
}

func TestFolderInTheWay(t *testing.T) {
	m := newMemory()
	root := m.dir(t, "", m.file(t, "empty", "1"), m.file(t, "full", "2"), m.dir(t, "was-file", m.file(t, "x", "3")))
	for _, del := range []bool{false, true} {
		target := t.TempDir()
		must(t, os.Mkdir(filepath.Join(target, "empty"), 0o755))
		write(t, "mine", target, "full", "mine")
		write(t, "mine", target, "was-file")
		sum, err := restore.Run(context.Background(), m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: del}, nil)
		if got := read(t, target, "empty"); got != "1" {
			t.Errorf("empty: %q", got)
		}
		if got := read(t, target, "was-file", "x"); got != "3" {
			t.Errorf("was-file/x: %q", got)
		}
		if del {
			must(t, err)
			if got := read(t, target, "full"); got != "2" {
				t.Errorf("full: %q", got)
			}
			continue
		}
		if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || sum.Failed.Examples[0].Path != "full" {
			t.Errorf("error %v, failed %+v", err, sum.Failed)
		}
		if got := read(t, target, "full", "mine"); got != "mine" {
			t.Errorf("full/mine: %q", got)
		}
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

func TestDelete(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.dir(t, "keep", m.file(t, "x", "x")), m.dir(t, "left out", m.file(t, "x", "x")))
	write(t, "extra", target, "extra")
	write(t, "extra", target, "extra folder", "below", "x")
	write(t, "protected", target, "extra folder", "protected", "x")
	write(t, "extra", target, "keep", "extra")
	write(t, "mine", target, "left out", "mine")
	o := restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true, Filter: filter{"left out": restore.Skip, "extra folder/protected": restore.Skip}}
	seen := newEvents()
	o.DryRun = true
	before := listing(t, target)
	sum, err := restore.Run(context.Background(), m, root, target, o, seen)
	must(t, err)
	if after := listing(t, target); after != before {
		t.Errorf("a dry run changed\n%sto\n%s", before, after)
	}
	const want = 4 // extra, extra folder/below/x, extra folder/below, keep/extra
	if sum.Deleted != want || !seen.has("extra folder/below/x", restore.Deleted) || !seen.has("keep/x", restore.Made) {
		t.Errorf("dry run: %+v", sum)
	}
	o.DryRun = false
	if sum = run(t, m, root, target, o); sum.Deleted != want {
		t.Errorf("deleted %d, want %d", sum.Deleted, want)
	}
	for _, path := range []string{"extra", "extra folder/below", "keep/extra"} {
		absent(t, target, path)
	}
	read(t, target, "left out", "mine")
	read(t, target, "extra folder", "protected", "x")
	read(t, target, "keep", "x")
}

// A folder whose list can't be read entirely is no reason to delete anything.
func TestDeleteSparesWhatIsNotKnown(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.dir(t, "damaged", m.file(t, "x", "x")), m.dir(t, "good"))
	m.lose(m.dir(t, "damaged", m.file(t, "x", "x")).Content.Elements[0].ID)
	write(t, "mine", target, "damaged", "x")
	write(t, "mine", target, "good", "x")
	_, err := restore.Run(context.Background(), m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true}, nil)
	if !errors.Is(err, restore.ErrIncomplete) {
		t.Errorf("error %v", err)
	}
	read(t, target, "damaged", "x")
	absent(t, target, "good", "x")
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

// What can't be read is reported, nothing is left that looks complete, and the rest is restored.
func TestMissingBlobs(t *testing.T) {
	for _, size := range []int{100, 3*chunk + 5, 20 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m, target := newMemory(), t.TempDir()
			content := randomText(size)
			root := m.dir(t, "", m.file(t, "after", "good"), m.dir(t, "d", m.file(t, "damaged", content)), m.file(t, "z", "good"))
			last := (size - 1) / chunk * chunk
			lost := sumData([]byte(content[last:]))
			m.lose(lost)
			sum, err := restore.Run(context.Background(), m, root, target, restore.Options{Verify: true}, nil)
			if !errors.Is(err, restore.ErrIncomplete) || !strings.Contains(err.Error(), "d/damaged") || !strings.Contains(err.Error(), lost.String()) {
				t.Errorf("error %v", err)
			}
			if sum.Failed.Count != 1 || sum.Files != 2 || sum.Verified != 2 {
				t.Errorf("%+v", sum)
			}
			absent(t, target, "d", "damaged")
			read(t, target, "after")
			read(t, target, "z")
		})
	}
}

// A damaged blob of a long list takes only its own entries with it.
func TestDamagedFolderList(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	var nodes []snapshot.Node
	for i := range 1000 {
		nodes = append(nodes, m.file(t, fmt.Sprintf("file-%04d", i), "x"))
	}
	root := m.dir(t, "", m.dir(t, "many", nodes...), m.file(t, "z", "good"))
	many := m.dir(t, "many", nodes...)
	var blobs []blob.ID
	for e, err := range snapshot.Elements(context.Background(), m, many.Content) {
		must(t, err)
		blobs = append(blobs, e.ID)
	}
	if len(blobs) < 4 {
		t.Fatalf("%d blobs", len(blobs))
	}
	m.lose(blobs[1])
	sum, err := restore.Run(context.Background(), m, root, target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Examples[0].Path != "many" {
		t.Errorf("error %v", err)
	}
	read(t, target, "many", "file-0000")
	read(t, target, "many", "file-0999")
	read(t, target, "z")
	if sum.Files < 500 || sum.Files > 990 {
		t.Errorf("%d files", sum.Files)
	}
}

func TestDoubtful(t *testing.T) {
	m := newMemory()
	torn, carried := m.file(t, "torn", "1"), m.file(t, "carried", "2")
	torn.State, carried.State = snapshot.Torn, snapshot.Carried
	sum := run(t, m, m.dir(t, "", m.dir(t, "d", carried, torn)), t.TempDir(), restore.Options{})
	for state, path := range map[snapshot.State]string{snapshot.Torn: "d/torn", snapshot.Carried: "d/carried"} {
		tally := sum.Doubtful[state]
		if tally.Count != 1 || tally.Examples[0].Path != path {
			t.Errorf("%v: %+v", state, tally)
		}
	}
}

// An interrupted run leaves no file that is not complete, and the next one finishes the work.
func TestInterrupted(t *testing.T) {
	m := newMemory()
	root, want := sample(t, m)
	for stop := 1; stop < 300; stop = stop*2 + 1 {
		target := filepath.Join(t.TempDir(), "target")
		ctx, cancel := context.WithCancelCause(context.Background())
		errEnough := errors.New("enough")
		n := 0
		m.onGet = func(blob.ID) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if n++; n == stop {
				cancel(errEnough)
			}
			return nil
		}
		_, err := restore.Run(ctx, m, root, target, restore.Options{Workers: 2}, nil)
		if !errors.Is(err, errEnough) {
			t.Fatalf("stopped after %d loads: %v", stop, err)
		}
		m.onGet = nil
		for path, content := range want {
			if b, err := os.ReadFile(filepath.Join(target, path)); err == nil && string(b) != content {
				t.Errorf("stopped after %d loads: %s is there with %d of %d bytes", stop, path, len(b), len(content))
			}
		}
		run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged})
		checkSample(t, target, want)
		cancel(nil)
	}
}

func TestVerifyFindsChanges(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.file(t, "x", "right"))
	when := time.Unix(someTime.Sec, int64(someTime.Nsec))
	must(t, os.Chtimes(write(t, "wrong", target, "x"), when, when))
	for _, sum := range []func([]byte) blob.ID{nil, sumData} {
		o := restore.Options{Overwrite: restore.OverwriteIfChanged, Verify: true, Sum: sum}
		if _, err := restore.Run(context.Background(), m, root, target, o, nil); !errors.Is(err, restore.ErrIncomplete) {
			t.Errorf("error %v", err)
		}
	}
}

// What a forged snapshot asks for stays in the target, and does not keep the rest from being restored.
func TestHostileTrees(t *testing.T) {
	m := newMemory()
	good := m.file(t, "zz-good", "good")
	named := func(name string) snapshot.Node { return m.file(t, name, "evil") }
	liar := named("liar")
	liar.Content.Elements[0].Length, liar.Size = 1<<40, 1<<40
	short := named("short")
	short.Content.Elements[0].Length, short.Size = 2, 2
	for name, nodes := range map[string][]snapshot.Node{
		"empty name":        {named("")},
		"dot":               {named(".")},
		"dot dot":           {named("..")},
		"dot dot folder":    {m.dir(t, "..", named("escaped"))},
		"slash":             {named("../escaped")},
		"absolute":          {named("/escaped")},
		"inner slash":       {m.dir(t, "a"), named("a/../../escaped")},
		"NUL":               {named("esc\x00aped")},
		"long":              {named(strings.Repeat("n", 1000))},
		"twice":             {named("a"), named("a")},
		"out of order":      {named("b"), named("a")},
		"symlink as folder": {symlink("a", ".."), m.dir(t, "a", named("escaped"))},
		"folder as symlink": {m.dir(t, "a", named("x")), symlink("a", "..")},
		"lying length":      {liar},
		"lying short":       {short},
		"empty symlink":     {symlink("a", "")},
		"NUL in symlink":    {symlink("a", "x\x00y")},
		"self as folder":    {{Name: "a", Type: snapshot.Dir, Content: m.file(t, "a", "this is no tree").Content}},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(name, "symlink") {
				t.Skip("symlinks need a privilege")
			}
			parent := t.TempDir()
			target := filepath.Join(parent, "parent", "target")
			must(t, os.MkdirAll(filepath.Dir(target), 0o755))
			root := m.dir(t, "", m.forge("d", nodes...), good)
			must(t, os.Chtimes(filepath.Dir(target), time.Unix(1, 0), time.Unix(1, 0)))
			before := listing(t, parent)
			for _, o := range []restore.Options{{}, {Overwrite: restore.OverwriteIfChanged, Verify: true}, {Overwrite: restore.OverwriteAlways, Delete: true}} {
				sum, err := restore.Run(context.Background(), m, root, target, o, nil)
				if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count == 0 {
					t.Errorf("error %v, %+v", err, sum.Failed)
				}
			}
			if got := read(t, target, "zz-good"); got != "good" {
				t.Errorf("good: %q", got)
			}
			must(t, os.RemoveAll(target))
			must(t, os.Chtimes(filepath.Dir(target), time.Unix(1, 0), time.Unix(1, 0)))
			if after := listing(t, parent); after != before {
				t.Errorf("outside the target:\n%s, was\n%s", after, before)
			}
		})
	}
}

// Whatever the bytes of a tree are, nothing outside the target is touched and nothing panics.
func FuzzTree(f *testing.F) {
	m := newMemory()
	add := func(nodes ...snapshot.Node) {
		var b []byte
		for i := range nodes {
			b = snapshot.AppendNode(b, &nodes[i])
		}
		f.Add(b)
	}
	small := snapshot.Node{Name: "f", Type: snapshot.File, Mode: 0o644, ModTime: someTime}
	up, absolute := small, small
	up.Name, absolute.Name = "..", "/escaped"
	add(small)
	add(up)
	add(absolute)
	add(symlink("a", ".."), m.dir(f, "a", m.dir(f, "escaped")))
	add(m.dir(f, "../escaped"), m.file(f, "x/y", "content"))
	fifo := snapshot.Node{Name: "fifo", Type: snapshot.FIFO, Mode: 0o7777, Link: snapshot.LinkKey{1}}
	second := fifo
	second.Name = "g"
	add(fifo, second)
	f.Fuzz(func(t *testing.T, tree []byte) {
		if len(tree) > 1<<16 {
			return
		}
		parent := t.TempDir()
		target := filepath.Join(parent, "a", "b", "target")
		must(t, os.MkdirAll(filepath.Dir(target), 0o755))
		id, _ := m.Save(context.Background(), blob.Tree, tree)
		// A tree that names itself would be endless; real IDs are hashes, and can't be met by chance.
		root := snapshot.Node{Type: snapshot.Dir, Mode: 0o755, ModTime: someTime, UID: myUID, GID: myGID,
			Content: snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(max(len(tree), 1))}}}}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = restore.Run(ctx, m, root, target, restore.Options{Sparse: restore.SparseAlways, NoFlags: true}, nil)
		must(t, os.RemoveAll(target))
		for dir, want := range map[string]int{parent: 1, filepath.Join(parent, "a"): 1, filepath.Join(parent, "a", "b"): 0} {
			if names, err := os.ReadDir(dir); err != nil || len(names) != want {
				t.Errorf("%s: %v, %v", dir, names, err)
			}
		}
	})
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
