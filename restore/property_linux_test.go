package restore_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// chance makes small trees. Names, contents and times are few, so that the same ones meet.
type chance struct {
	*rand.Rand
	outside string // a folder that symlinks lead to
}

const levelsOfTrees = 4

func (c *chance) of(percent int) bool { return c.IntN(100) < percent }

func (c *chance) time() int64 { return (someTime.Sec + c.Int64N(2)) * 1e9 }

func (c *chance) folder(level int) *entry {
	e := &entry{typ: snapshot.Dir, mode: 0o755, time: c.time(), below: map[string]*entry{}}
	for c.of(75) && len(e.below) < 4 {
		e.below[c.name()] = c.entry(level + 1)
	}
	return e
}

func (c *chance) name() string { return string(rune('a' + c.IntN(5))) }

func (c *chance) entry(level int) *entry {
	switch n := c.IntN(100); {
	case n < 45 && level <= levelsOfTrees:
		return c.folder(level)
	case n < 60:
		return &entry{typ: snapshot.Symlink, text: []string{"a", "..", c.outside}[c.IntN(3)], time: c.time()}
	}
	return &entry{typ: snapshot.File, text: []string{"", "x", "y", "long"}[c.IntN(4)], mode: 0o644, time: c.time()}
}

// mutate changes a folder here and there.
func (c *chance) mutate(e *entry, level int) {
	for _, name := range e.names() {
		n := e.below[name]
		switch c.IntN(12) {
		case 0:
			delete(e.below, name)
		case 1:
			e.below[name] = c.entry(level + 1)
		case 2:
			n.time = c.time()
		case 3:
			if n.typ != snapshot.Symlink {
				n.mode ^= 0o40
			}
		case 4, 5:
			if n.typ == snapshot.File {
				n.text += "z"
			}
		}
		if n.isFolder() {
			c.mutate(n, level+1)
		}
	}
	if c.of(40) {
		e.below[c.name()] = c.entry(level + 1)
	}
}

// decisions is a Filter that decides at random, but always the same for the same path and kind. It notes what it should not have been asked.
type decisions struct {
	seed       uint64
	take, pass int  // in a hundred
	kinds      bool // folders and others of the same path may be decided differently
	mu         sync.Mutex
	wrong      []string
}

func (d *decisions) decide(path string, t snapshot.Type) restore.Decision {
	h := fnv.New64a()
	fmt.Fprint(h, d.seed, path, d.kinds && t == snapshot.Dir)
	switch n := rand.New(rand.NewPCG(h.Sum64(), 1)).IntN(100); {
	case n < d.take:
		return restore.Take
	case n < d.take+d.pass:
		return restore.Pass
	}
	return restore.Skip
}

func (d *decisions) Match(path string, t snapshot.Type) restore.Decision {
	for i, r := range path {
		if r == '/' && d.decide(path[:i], snapshot.Dir) == restore.Skip {
			d.mu.Lock()
			d.wrong = append(d.wrong, "asked for "+path+", which is below a folder that was skipped")
			d.mu.Unlock()
		}
	}
	return d.decide(path, t)
}

// trial is one case: a snapshot, a target, and how to restore.
type trial struct {
	seed         uint64
	root, target *entry // target is nil if it is not there
	o            restore.Options
	filter       *decisions // nil for everything
}

func newTrial(seed uint64, outside string) *trial {
	c := &chance{rand.New(rand.NewPCG(seed, 0)), outside}
	tr := &trial{seed: seed, root: c.folder(0)}
	tr.o = restore.Options{Overwrite: restore.Overwrite(c.IntN(4)), Compare: restore.Compare(c.IntN(2)), Workers: 1 + c.IntN(3)}
	tr.o.Delete = tr.o.Overwrite != restore.OverwriteRefuse && c.of(60)
	if c.of(50) {
		tr.o.Sum = sumData
	}
	if c.of(85) {
		tr.filter = &decisions{seed: c.Uint64(), kinds: c.of(25)}
		tr.filter.take = []int{30, 60, 85}[c.IntN(3)]
		tr.filter.pass = (100 - tr.filter.take) * 2 / 3
		tr.o.Filter = tr.filter
	}
	tr.target = tr.root.clone()
	for range 1 + c.IntN(2) {
		c.mutate(tr.target, 0)
	}
	if tr.o.Overwrite == restore.OverwriteRefuse && c.of(80) {
		tr.target = &entry{typ: snapshot.Dir, mode: 0o755, time: c.time()}
	}
	if c.of(5) {
		tr.target = nil
	}
	return tr
}

func (tr *trial) decide(path string, t snapshot.Type) restore.Decision {
	if tr.filter == nil {
		return restore.Take
	}
	return tr.filter.decide(path, t)
}

func (tr *trial) String() string {
	o := tr.o
	s := fmt.Sprintf("seed %d: overwrite %d, compare %d, delete %t, %d workers\nsnapshot\n%v\ntarget\n%v\n",
		tr.seed, o.Overwrite, o.Compare, o.Delete, o.Workers, tr.root, tr.target)
	if tr.filter == nil {
		return s
	}
	var all []string
	tr.decided(".", tr.root, &all)
	tr.decided(".", tr.target, &all)
	slices.Sort(all)
	return s + "filter\n" + strings.Join(slices.Compact(all), "\n") + "\n"
}

// decided lists what the filter says of a tree.
func (tr *trial) decided(path string, e *entry, all *[]string) {
	if e == nil {
		return
	}
	*all = append(*all, fmt.Sprintf("%s %v: %s", path, e.typ, []string{"take", "skip", "pass"}[tr.decide(path, e.typ)]))
	for name, n := range e.below {
		tr.decided(below(path, name), n, all)
	}
}

// run restores, and compares what is there then with what should be, and what is told with what was done.
func (tr *trial) run(m *memory, node snapshot.Node, path string, before *entry, o restore.Options) (complaints []string, after *entry,
	sum restore.Summary) {
	want := &model{o: o, decide: tr.decide}
	after = want.run(tr.root, before)
	if o.DryRun {
		after = before
	}
	sum, err := restore.Run(context.Background(), m, node, path, o, nil)
	if (err != nil) != (want.sum.Failed.Count > 0) || err != nil && !errors.Is(err, restore.ErrIncomplete) {
		complaints = append(complaints, fmt.Sprintf("error %v", err))
	}
	if got, want := counts(sum), counts(want.sum); got != want {
		complaints = append(complaints, "got  "+got, "want "+want)
	}
	slices.Sort(want.failed)
	if got := failures(sum); !slices.Equal(got, want.failed) {
		complaints = append(complaints, fmt.Sprintf("failed %q, want %q", got, want.failed))
	}
	return complaints, after, sum
}

// untaken complains of everything that the filter does not take and that is not as it was.
func (tr *trial) untaken(path string, before, after *entry) (complaints []string) {
	for _, name := range before.names() {
		p, b, a := below(path, name), before.below[name], after.below[name]
		d := tr.decide(p, b.typ)
		switch {
		case d == restore.Take && (a == nil || a.typ != b.typ):
			if b.isFolder() {
				complaints = append(complaints, tr.untaken(p, b, &entry{})...)
			}
		case a == nil || a.typ != b.typ || a.text != b.text && d != restore.Take:
			complaints = append(complaints, p+" is not taken, and not as it was")
		case b.isFolder() && d != restore.Skip:
			complaints = append(complaints, tr.untaken(p, b, a)...)
		case d != restore.Take:
			complaints = append(complaints, difference(p, a, b)...)
		}
	}
	return complaints
}

// unrestored complains of everything that was taken and is not there, unless something was kept in its place.
func (tr *trial) unrestored(path string, s, after *entry) (complaints []string) {
	for _, name := range s.names() {
		p, n := below(path, name), s.below[name]
		d, a := tr.decide(p, n.typ), after.below[name]
		switch {
		case d == restore.Skip:
		case a == nil && d == restore.Take:
			complaints = append(complaints, p+" was taken, and is missing")
		case n.isFolder() && (a == nil || a.isFolder()):
			if a == nil {
				a = &entry{}
			}
			complaints = append(complaints, tr.unrestored(p, n, a)...)
		}
	}
	return complaints
}

// check goes through a case: a dry run, the run, and the same run again.
func (tr *trial) check(t *testing.T, m *memory, path string) (complaints []string) {
	say := func(when string, all []string) {
		for _, c := range all {
			complaints = append(complaints, when+": "+c)
		}
	}
	if tr.target != nil {
		tr.target.write(t, path)
	}
	node := tr.root.node(t, m, "")
	if tr.o.Overwrite == restore.OverwriteRefuse && tr.target != nil && len(tr.target.below) > 0 {
		if _, err := restore.Run(context.Background(), m, node, path, tr.o, nil); !errors.Is(err, restore.ErrNotEmpty) {
			say("refused", []string{fmt.Sprintf("error %v", err)})
		}
		say("refused", difference(".", onDisk(t, path), tr.target))
		return complaints
	}
	o := tr.o
	for _, o.DryRun = range []bool{true, false} {
		when := map[bool]string{true: "dry run", false: "run"}[o.DryRun]
		all, want, _ := tr.run(m, node, path, tr.target, o)
		say(when, all)
		say(when, difference(".", onDisk(t, path), want))
	}
	after := onDisk(t, path)
	if tr.target != nil {
		say("run", tr.untaken(".", tr.target, after))
	}
	say("run", tr.unrestored(".", tr.root, after))
	if o.Overwrite == restore.OverwriteRefuse {
		return complaints
	}
	all, want, sum := tr.run(m, node, path, after, o)
	say("second run", all)
	say("second run", difference(".", onDisk(t, path), want))
	if o.Overwrite != restore.OverwriteAlways && sum.Files+sum.Folders+sum.Others+sum.Replaced+sum.Updated+sum.Deleted > 0 {
		say("second run", []string{"it says that it changed something: " + counts(sum)})
	}
	if tr.filter != nil {
		say("filter", tr.filter.wrong)
	}
	return complaints
}

// linked makes files that hold the same names of one inode.
func linked(t *testing.T, m *memory, name string, e *entry) snapshot.Node {
	n := e.node(t, m, name)
	switch e.typ {
	case snapshot.File:
		h := fnv.New128a()
		fmt.Fprint(h, e.text, e.mode, e.time)
		h.Sum(n.Link[:0])
	case snapshot.Dir:
		var nodes []snapshot.Node
		for _, name := range e.names() {
			nodes = append(nodes, linked(t, m, name, e.below[name]))
		}
		n.Content = m.dir(t, name, nodes...).Content
	}
	return n
}

// A dry run counts hard links as the run does, also where some are there already.
func TestDryRunOfLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "target")
	links := uint64(0)
	for seed := range uint64(300) {
		tr := newTrial(seed, "outside")
		if tr.o.Overwrite == restore.OverwriteRefuse {
			continue
		}
		tr.o.Workers = 1 // with more of them chance says which name comes first
		if tr.target != nil {
			tr.target.write(t, path)
		}
		m := newMemory()
		root := linked(t, m, "", tr.root)
		for range 2 {
			var told [2]string
			for i := range told {
				before := onDisk(t, path)
				tr.o.DryRun = i == 0
				sum, err := restore.Run(context.Background(), m, root, path, tr.o, nil)
				told[i] = fmt.Sprint(counts(sum), failures(sum), err != nil)
				links += sum.Links
				if tr.o.DryRun && len(difference(".", onDisk(t, path), before)) > 0 {
					t.Errorf("%va dry run changes something", tr)
				}
			}
			if told[0] != told[1] {
				t.Fatalf("%vdry run: %s\nrun:     %s", tr, told[0], told[1])
			}
		}
		must(t, os.RemoveAll(path))
	}
	if links == 0 {
		t.Error("there were no links")
	}
}

// TestModel compares restores with a model, from the seed TARN_SEED on, TARN_SEEDS of them.
func TestModel(t *testing.T) {
	first, n := uint64(1), uint64(2000)
	if v, err := strconv.ParseUint(os.Getenv("TARN_SEED"), 10, 64); err == nil {
		first, n = v, 1
	}
	if v, err := strconv.ParseUint(os.Getenv("TARN_SEEDS"), 10, 64); err == nil {
		n = v
	}
	dir := t.TempDir()
	outside, path := filepath.Join(dir, "outside"), filepath.Join(dir, "target")
	write(t, "not ours", outside, "a")
	before := listing(t, outside)
	wrong := 0
	for seed := first; seed < first+n && wrong < 3; seed++ {
		tr := newTrial(seed, outside)
		complaints := tr.check(t, newMemory(), path)
		if listing(t, outside) != before {
			complaints = append(complaints, "something outside of the target was changed")
		}
		if len(complaints) > 0 {
			wrong++
			t.Errorf("%v%s\nto see it again: TARN_SEED=%d go test ./restore -run TestModel", tr, strings.Join(complaints, "\n"), seed)
		}
		must(t, os.RemoveAll(path))
	}
}
