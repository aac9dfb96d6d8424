package restore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

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
		o := restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: del, DryRun: true}
		dry, dryErr := restore.Run(context.Background(), m, root, target, o, nil)
		read(t, target, "full", "mine")
		o.DryRun = false
		sum, err := restore.Run(context.Background(), m, root, target, o, nil)
		if dry.Deleted != sum.Deleted || dry.Files != sum.Files || dry.Failed.Count != sum.Failed.Count || (err == nil) != (dryErr == nil) {
			t.Errorf("delete %t: a dry run says %v, %+v, the run %v, %+v", del, dryErr, dry, err, sum)
		}
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

// A folder that is in the way of a file and stays is told of before anything is fetched for that.
func TestFolderStaysInTheWay(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	write(t, "mine", target, "x", "y")
	sum, err := restore.Run(context.Background(), m, m.dir(t, "", m.file(t, "x", "theirs")), target, restore.Options{Overwrite: restore.OverwriteAlways}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || sum.Failed.Examples[0].Path != "x" {
		t.Errorf("error %v, failed %+v", err, sum.Failed)
	}
	if n := m.loads[sumData([]byte("theirs"))]; n != 0 {
		t.Errorf("its content was fetched %d times", n)
	}
	if got := read(t, target, "x", "y"); got != "mine" {
		t.Errorf("what was there became %q", got)
	}
}

// What is in the way goes only if the filter takes it.
func TestLeftOutInTheWay(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.dir(t, "passed", m.file(t, "x", "x")), m.dir(t, "taken", m.file(t, "x", "x")))
	write(t, "mine", target, "passed")
	write(t, "extra", target, "taken")
	o := restore.Options{Overwrite: restore.OverwriteAlways, Delete: true, Filter: filter{"passed": restore.Pass}}
	sum, err := restore.Run(context.Background(), m, root, target, o, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Count != 1 || sum.Failed.Examples[0].Path != "passed" {
		t.Errorf("error %v, failed %+v", err, sum.Failed)
	}
	read(t, target, "passed")
	read(t, target, "taken", "x")
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

// What is restored in a folder that the filter only passes is not deleted, and what the filter leaves out is not, either.
func TestDeleteInPassedFolders(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	taken := func(text string) snapshot.Node { return m.dir(t, "taken", m.file(t, "x", text)) }
	root := func(text string) snapshot.Node {
		return m.dir(t, "", m.dir(t, "up", m.dir(t, "up", m.dir(t, "in vain", m.file(t, "no", "no")), m.file(t, "left out", "no"), taken(text)), m.file(t, "yes", text)))
	}
	run(t, m, root("old"), target, restore.Options{})
	write(t, "mine", target, "up", "mine")
	write(t, "extra", target, "up", "extra")
	write(t, "extra", target, "up", "up", "taken", "extra")
	o := restore.Options{Overwrite: restore.OverwriteIfChanged, Compare: restore.CompareContent, Delete: true, Filter: filter{
		"up": restore.Pass, "up/mine": restore.Skip, "up/up": restore.Pass, "up/up/in vain": restore.Pass, "up/up/in vain/no": restore.Skip, "up/up/left out": restore.Skip}}
	if sum := run(t, m, root("new"), target, o); sum.Deleted != 2 || sum.Files != 2 {
		t.Errorf("%+v", sum)
	}
	for _, path := range [][]string{{"up", "up", "taken", "x"}, {"up", "yes"}} {
		if got := read(t, append([]string{target}, path...)...); got != "new" {
			t.Errorf("%v: %q", path, got)
		}
	}
	read(t, target, "up", "mine")
	read(t, target, "up", "up", "left out")
	read(t, target, "up", "up", "in vain", "no")
	absent(t, target, "up", "extra")
	absent(t, target, "up", "up", "taken", "extra")
}

// What the filter takes is deleted also where the snapshot has nothing that it takes.
func TestDeleteWhereNothingIsRestored(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.dir(t, "up", m.dir(t, "elsewhere", m.file(t, "no", "no")), m.dir(t, "in vain", m.file(t, "no", "no"))))
	write(t, "mine", target, "up", "in vain", "no")
	write(t, "extra", target, "up", "in vain", "extra")
	o := restore.Options{Overwrite: restore.OverwriteIfChanged, Delete: true, Filter: filter{"up": restore.Pass, "up/in vain": restore.Pass,
		"up/in vain/no": restore.Skip, "up/elsewhere": restore.Pass, "up/elsewhere/no": restore.Skip}}
	if sum := run(t, m, root, target, o); sum.Deleted != 1 || sum.Folders != 0 {
		t.Errorf("%+v", sum)
	}
	read(t, target, "up", "in vain", "no")
	absent(t, target, "up", "in vain", "extra")
	absent(t, target, "up", "elsewhere")
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
