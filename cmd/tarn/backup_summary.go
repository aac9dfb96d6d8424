package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/snapshot"
)

// summaryLine is the last line of a backup, or of a dry run.
type summaryLine struct {
	Type      string   `json:"type"`
	ID        string   `json:"id,omitempty"`
	Short     string   `json:"short_id,omitempty"`
	Parent    string   `json:"parent,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
	Paths     []string `json:"paths"`
	Whole     bool     `json:"whole"`
	Unsettled bool     `json:"unsettled,omitempty"`
	statsLine
}

// problemsShown is how many paths of each kind a summary names; --verbose names all.
const problemsShown = 10

// backupDone tells what a backup did, and gives the exit code.
func (a *app) backupDone(s saved, p *backup.Progress) error {
	r := s.Record
	a.printProblems(r)
	a.noteRestoring(p)
	if a.json {
		l := snapshotLineOf(s)
		a.emit(summaryLine{Type: "summary", ID: l.ID, Short: l.Short, Parent: l.Parent, Paths: l.Paths, Whole: l.Whole, Unsettled: l.Unsettled,
			statsLine: l.statsLine})
	} else {
		a.outf("%s\n", a.savedText(s))
		a.outf("%s; added %s, stored %s; took %s\n", changesText(r), bytesText(r.Stats.Added), bytesText(r.Stats.Stored),
			tookText(time.Duration(r.Stats.DurationMS)*time.Millisecond))
	}
	if !isWhole(r) {
		return errTold(exitNotWhole)
	}
	return nil
}

// noteRestoring tells of files that are left out by their names.
func (a *app) noteRestoring(p *backup.Progress) {
	if path := p.Restoring.Load(); path != nil {
		a.notef("left out what a restore is writing, or left when it was killed, such as %s", a.stderr.name(*path))
	}
}

// savedText answers the question whether the data is safe.
func (a *app) savedText(s saved) string {
	r := s.Record
	text := fmt.Sprintf("snapshot %s saved: %s, %s", a.stdout.bold(s.Name.Short()), counted(r.Stats.Files, "file"), bytesText(r.Stats.Bytes))
	switch {
	case !isWhole(r):
		return text + ", " + a.stdout.red("but not all is whole: "+healthText(r))
	case r.Stats.Files == 0:
	case isExact(r):
		return text + ", " + a.stdout.green("everything as it was at one moment")
	default:
		text += ", " + a.stdout.green("every file whole")
		if n := tornOKOf(r); n > 0 {
			text += fmt.Sprintf(", but for %s torn that does not matter", count(n))
		}
	}
	if isUnsettled(r) {
		text += "; " + a.stdout.yellow("what was moved meanwhile may be missing, or there twice")
	}
	return text
}

func changesText(r *snapshot.Record) string {
	s := &r.Stats
	text := fmt.Sprintf("new %s, changed %s, unchanged %s", count(s.New), count(s.Changed), count(s.Unchanged))
	if s.Vanished > 0 {
		text += fmt.Sprintf(", vanished meanwhile %s", count(s.Vanished))
	}
	return text
}

// problemGroup is how the problems of one kind are told.
type problemGroup struct {
	kind      snapshot.ProblemKind
	one, many string
	todo      string
	verbose   bool // told only then: nothing is wrong
}

func problemGroups() []problemGroup {
	const readable = "make such files readable for the user who runs tarn, or leave them out with --exclude"
	return []problemGroup{
		{snapshot.Unreadable, "path could not be read and is not in the snapshot:", "paths could not be read and are not in the snapshot:", readable, false},
		{snapshot.ProblemTorn, "file changed while it was read and may be torn:", "files changed while they were read and may be torn:",
			"run the backup again when nobody writes to such files; of databases save a dump, with --stdin-from-command", false},
		{snapshot.ProblemCluster, "database cluster was saved file by file while its server ran, and may not start when it is restored:",
			"database clusters were saved file by file while their servers ran, and may not start when they are restored:",
			"save a dump: tarn backup --stdin-from-command -- pg_dumpall; or read it from a file system snapshot: --fs-snapshot FOLDER=required", false},
		{snapshot.ProblemClusterOK, "database cluster was saved file by file while its server ran, which --torn-ok allows:",
			"database clusters were saved file by file while their servers ran, which --torn-ok allows:", "", true},
		{snapshot.ProblemCarry, "file could not be read; the last snapshot's version stands in its place:",
			"files could not be read; the last snapshot's versions stand in their place:", readable, false},
		{snapshot.ProblemAttr, "path was saved, but not all of its metadata could be read:", "paths were saved, but not all of their metadata could be read:", "", false},
		{snapshot.ProblemTornOK, "file changed while it was read and may be torn, which --torn-ok allows:",
			"files changed while they were read and may be torn, which --torn-ok allows:", "", true},
		{snapshot.ProblemAppend, "file grew while it was read; what it held at first is saved:", "files grew while they were read; what they held at first is saved:", "", true},
	}
}

// printProblems tells what is not in the snapshot as it should be: to people in groups on standard error, to programs one by one.
func (a *app) printProblems(r *snapshot.Record) {
	if a.json {
		for i := range r.Problems {
			p := &r.Problems[i]
			a.emit(problemLine{Type: "problem", Kind: problemKindText(p.Kind), rawPath: rawPathOf(p.Path), Reason: p.Reason})
		}
		return
	}
	for _, g := range problemGroups() {
		if n := problemsOf(r, g.kind); n > 0 && (a.verbose || !g.verbose) {
			a.printGroup(r, g, n)
		}
	}
}

func (a *app) printGroup(r *snapshot.Record, g problemGroup, n uint64) {
	head := g.many
	if n == 1 {
		head = g.one
	}
	a.sayf("%s\n", a.stderr.yellow(count(n)+" "+head))
	shown, absent := uint64(0), uint64(0)
	for i := range r.Problems {
		p := &r.Problems[i]
		if p.Kind != g.kind {
			continue
		}
		if strings.Contains(p.Reason, syscall.ENOENT.Error()) {
			absent++
		}
		if shown == problemsShown && !a.verbose {
			break
		}
		shown++
		text := a.stderr.name(p.Path)
		if p.Reason != "" {
			text += ": " + a.stderr.text(p.Reason)
		}
		a.sayf("  %s\n", text)
	}
	if shown < n {
		a.sayf("  and %s more: --verbose names all\n", count(n-shown))
	}
	switch {
	case absent == n:
		a.sayf("hint: is it spelled right, and mounted? Leave out what is gone for good\n")
	case g.todo != "":
		a.sayf("hint: %s\n", g.todo)
	}
}
