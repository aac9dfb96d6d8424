package inuse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Findings counts what a restored copy holds.
type Findings struct {
	Files   int `json:"files"`             // that are saved meanwhile; those that move and databases are counted for themselves
	Whole   int `json:"whole"`             // of the files
	Midway  int `json:"midway,omitempty"`  // of files that are never closed: the middle of a save
	Marked  int `json:"marked,omitempty"`  // not whole, and the tool said so
	Torn    int `json:"torn"`              // not whole, and the tool did not say so
	Missing int `json:"missing,omitempty"` // files that were there all the time

	Moving  int `json:"moving"`
	Lost    int `json:"lost"`
	Doubled int `json:"doubled"`

	Pairs        int `json:"pairs"`
	Inconsistent int `json:"inconsistent"` // pairs whose second file is newer than the first, or much older

	Databases       int `json:"databases"`
	DatabasesMarked int `json:"databases_marked,omitempty"` // wrong, or not proven right, and the tool said so
	DatabasesWrong  int `json:"databases_wrong"`

	TornBy map[Kind]int `json:"torn_by,omitempty"`
	Notes  []string     `json:"notes,omitempty"` // what is wrong with which file; the first few
}

// notesMax bounds Notes.
const notesMax = 50

// Add adds the findings of another run.
func (f *Findings) Add(g Findings) {
	for _, p := range [][2]*int{{&f.Files, &g.Files}, {&f.Whole, &g.Whole}, {&f.Midway, &g.Midway}, {&f.Marked, &g.Marked}, {&f.Torn, &g.Torn},
		{&f.Missing, &g.Missing}, {&f.Moving, &g.Moving}, {&f.Lost, &g.Lost}, {&f.Doubled, &g.Doubled}, {&f.Pairs, &g.Pairs},
		{&f.Inconsistent, &g.Inconsistent}, {&f.Databases, &g.Databases}, {&f.DatabasesMarked, &g.DatabasesMarked},
		{&f.DatabasesWrong, &g.DatabasesWrong}} {
		*p[0] += *p[1]
	}
	for k, n := range g.TornBy {
		f.tornBy(k, n)
	}
	f.Notes = append(f.Notes, g.Notes[:min(len(g.Notes), notesMax-len(f.Notes))]...)
}

// Wrong counts what is wrong and was not said.
func (f *Findings) Wrong() int {
	return f.Torn + f.Missing + f.Lost + f.Doubled + f.DatabasesWrong
}

func (f *Findings) tornBy(k Kind, n int) {
	if f.TornBy == nil {
		f.TornBy = map[Kind]int{}
	}
	f.TornBy[k] += n
}

func (f *Findings) note(format string, args ...any) {
	if len(f.Notes) < notesMax {
		f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
	}
}

// Check looks at a restored copy of the workload's folder. marked says what the tool named as not whole, by the path below that folder.
func (w *Workload) Check(ctx context.Context, dir string, marked func(path string) bool) (f Findings, err error) {
	for _, k := range w.Kinds {
		for i := range w.Each {
			names, file := place(k, i)
			switch {
			case k == Move:
				err = f.checkMoved(dir, names)
			case k.isDatabase():
				f.checkDatabase(ctx, dir, names[0], marked)
			default:
				err = w.checkFiles(&f, dir, k, names, file, marked)
			}
			if err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// checkFiles judges one file, or a pair.
func (w *Workload) checkFiles(f *Findings, dir string, k Kind, names []string, file uint32, marked func(string) bool) error {
	var gens []uint64
	for _, name := range names {
		f.Files++
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			f.Missing++
			f.note("%s: missing", name)
			continue
		}
		if err != nil {
			return err
		}
		v, gen, why := judge(file, data, w.Size)
		if k.isLog() {
			v, gen, why = judgeLog(file, data)
		}
		switch {
		case v == Whole:
			f.Whole++
			gens = append(gens, gen)
		case marked(name):
			f.Marked++
		case v == Midway && k.isHeld():
			f.Midway++
		default:
			f.Torn++
			f.tornBy(k, 1)
			f.note("%s: %s: %s", name, v, why)
		}
	}
	if k == Pair && len(gens) == 2 {
		f.Pairs++
		if first, second := gens[0], gens[1]; second > first || first > second+1 {
			f.Inconsistent++
			f.note("%s: save %d, and the second file of save %d", names[0], first, second)
		}
	}
	return nil
}

func (f *Findings) checkMoved(dir string, names []string) error {
	f.Moving++
	var found []string
	for _, name := range names {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			found = append(found, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch len(found) {
	case 0:
		f.Lost++
		f.note("%s: lost", names[0])
	case 2:
		f.Doubled++
		f.note("%s: there twice", names[0])
	}
	return nil
}

func (f *Findings) checkDatabase(ctx context.Context, dir, name string, marked func(string) bool) {
	f.Databases++
	switch wrong := auditDatabase(ctx, filepath.Join(dir, name)); {
	case marked(name):
		f.DatabasesMarked++
	case wrong != "":
		f.DatabasesWrong++
		f.note("%s: %s", name, wrong)
	}
}
