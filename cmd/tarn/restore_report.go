package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// restoredLine is what happened to one path, with --json --verbose; failures and losses come always.
type restoredLine struct {
	Type   string `json:"type"`
	Action string `json:"action"`
	rawPath
	Kind   string `json:"kind"`
	State  string `json:"state,omitempty"`
	Aspect string `json:"aspect,omitempty"`
	Reason string `json:"reason,omitempty"`
}

type restoreSummaryLine struct {
	Type      string            `json:"type"`
	Target    string            `json:"target"`
	DryRun    bool              `json:"dry_run,omitempty"`
	Files     uint64            `json:"files"`
	Folders   uint64            `json:"folders"`
	Others    uint64            `json:"others"`
	Links     uint64            `json:"links"`
	Bytes     uint64            `json:"bytes"`
	Replaced  uint64            `json:"replaced"`
	Updated   uint64            `json:"updated"`
	Unchanged uint64            `json:"unchanged"`
	Skipped   uint64            `json:"skipped"`
	Deleted   uint64            `json:"deleted"`
	Kept      uint64            `json:"kept"`
	Verified  uint64            `json:"verified"`
	Failed    uint64            `json:"failed"`
	Lost      map[string]uint64 `json:"lost"`
	Doubtful  map[string]uint64 `json:"doubtful"`
	Seconds   float64           `json:"seconds"`
}

// restoreReport is told what happens; its methods are called by several goroutines.
type restoreReport struct {
	app                *app
	dryRun             bool
	begin              time.Time
	filter             *restoreFilter     // nil if everything is restored
	clusters           []snapshot.Problem // that were torn when they were saved
	endFiles, endBytes uint64
	files, bytes       atomic.Uint64
	failed             atomic.Uint64
	current            atomic.Pointer[string]
}

// Wrote is restore.Reporter's.
func (r *restoreReport) Wrote(n uint64) { r.bytes.Add(n) }

// Event is restore.Reporter's.
func (r *restoreReport) Event(e restore.Event) {
	if e.Type == snapshot.File && (e.Action == restore.Made || e.Action == restore.Replaced || e.Action == restore.Unchanged || e.Action == restore.Updated) {
		r.files.Add(1)
		r.current.Store(&e.Path)
	}
	if e.Action == restore.Failed {
		r.failed.Add(1)
	}
	trouble := e.Action == restore.Failed || e.Action == restore.Lost
	if r.app.json {
		if trouble || r.app.verbose {
			l := restoredLine{Type: "restored", Action: e.Action.String(), rawPath: rawPathOf(e.Path), Kind: e.Type.String()}
			if e.Type == snapshot.File && !trouble {
				l.State = e.State.String()
			}
			if e.Action == restore.Lost {
				l.Aspect = e.Aspect.String()
			}
			if e.Err != nil {
				l.Reason = e.Err.Error()
			}
			r.app.emit(l)
		}
		return
	}
	if r.app.verbose && !trouble {
		word := e.Action.String()
		if r.dryRun {
			word = "would be " + word
		}
		r.app.notef("%s  %s", word, r.app.stderr.name(e.Path))
	}
}

func (r *restoreReport) doing() doing {
	d := doing{files: r.files.Load(), bytes: r.bytes.Load(), problems: r.failed.Load(), endFiles: r.endFiles, endBytes: r.endBytes}
	if p := r.current.Load(); p != nil {
		d.current = *p
	}
	return d
}

// restoreDone tells what a restore did.
func (a *app) restoreDone(ctx context.Context, flags *restoreFlags, r *restoreReport, sum restore.Summary, err error) error {
	if a.json {
		a.printClusters(r.clusters)
		a.emit(restoreSummaryOf(flags, r, &sum))
	}
	if isInterrupted(ctx) {
		return a.halfRestored(errInterrupted, &sum)
	}
	if err == nil && r.filter.idle() {
		a.warnf("nothing matches --include: patterns begin at what is restored, and \"tarn ls ID --recursive\" lists that")
	}
	if err != nil && !errors.Is(err, restore.ErrIncomplete) {
		if errors.Is(err, restore.ErrNotEmpty) {
			return withHint(err, "name an empty folder, or add --overwrite if-changed, always or never")
		}
		if r.bytes.Load() > 0 { // the disk is full, say
			return a.halfRestored(err, &sum)
		}
		return err
	}
	if a.json {
		if err != nil {
			return errTold(exitFailed)
		}
		return nil
	}
	a.printRestored(flags, r, &sum)
	a.printRestoreTrouble(flags, &sum)
	a.printClusters(r.clusters)
	if err != nil {
		return errTold(exitFailed)
	}
	return nil
}

// halfRestored is why a restore ended before its end, with how to go on.
func (a *app) halfRestored(why error, sum *restore.Summary) error {
	hint := "the same command with --overwrite if-changed goes on"
	if own := a.hint(why); own != "" {
		hint = own + "; " + hint
	}
	return withHint(fmt.Errorf("%w: %s restored, not all", why, counted(sum.Files, "file")), "%s", hint)
}

func restoreSummaryOf(flags *restoreFlags, r *restoreReport, sum *restore.Summary) restoreSummaryLine {
	l := restoreSummaryLine{Type: "summary", Target: flags.target, DryRun: flags.dryRun, Files: sum.Files, Folders: sum.Folders, Others: sum.Others,
		Links: sum.Links, Bytes: sum.Bytes, Replaced: sum.Replaced, Updated: sum.Updated, Unchanged: sum.Unchanged, Skipped: sum.Skipped,
		Deleted: sum.Deleted, Kept: sum.Kept.Count, Verified: sum.Verified, Failed: sum.Failed.Count, Lost: map[string]uint64{}, Doubtful: map[string]uint64{},
		Seconds: time.Since(r.begin).Seconds()}
	for aspect, t := range sum.Lost {
		l.Lost[aspect.String()] = t.Count
	}
	for state, t := range sum.Doubtful {
		l.Doubtful[state.String()] = t.Count
	}
	return l
}

func (a *app) printRestored(flags *restoreFlags, r *restoreReport, sum *restore.Summary) {
	verb := "restored"
	if flags.dryRun {
		verb = "nothing was written. A restore would write"
	}
	text := fmt.Sprintf("%s %s, %s", verb, counted(sum.Files, "file"), bytesText(sum.Bytes))
	if n := sum.Folders + sum.Others; n > 0 {
		text += fmt.Sprintf(", and %s", counted(n, "other entry"))
	}
	for _, part := range []struct {
		n    uint64
		word string
	}{{sum.Unchanged, "unchanged"}, {sum.Updated, "with metadata set"}, {sum.Skipped, "kept as they were"}, {sum.Deleted, "deleted"}, {sum.Verified, "verified"}} {
		if part.n > 0 {
			text += fmt.Sprintf("; %s %s", count(part.n), part.word)
		}
	}
	a.outf("%s; took %s\n", text, tookText(time.Since(r.begin)))
	doubtful := sum.Doubtful[snapshot.Torn].Count + sum.Doubtful[snapshot.Carried].Count + uint64(len(r.clusters))
	if sum.Failed.Count == 0 && len(sum.Lost) == 0 && doubtful == 0 && sum.Skipped == 0 && sum.Kept.Count == 0 && !flags.dryRun && !r.filter.idle() {
		text := "everything is as the snapshot has it"
		if sum.Unchanged > 0 && flags.overwrite == "if-changed" && flags.compare == "times" && !flags.verify {
			text += ", as far as sizes and times tell" // nobody has looked into what is called unchanged
		}
		a.outf("%s\n", a.stdout.green(text))
	}
}

// printRestoreTrouble names what is not as it was.
func (a *app) printRestoreTrouble(flags *restoreFlags, sum *restore.Summary) {
	a.printTally(sum.Failed, "could not be restored:")
	if slices.ContainsFunc(sum.Failed.Examples, func(e restore.Example) bool { return isDamage(e.Err) }) {
		a.sayf("hint: \"tarn check --read-data\" says what is damaged; an older snapshot may have these paths whole\n")
	}
	a.printTally(sum.Kept, "kept that the backup could not read, so that there may be no other copy:")
	var aspects []restore.Aspect
	for aspect := range sum.Lost {
		aspects = append(aspects, aspect)
	}
	slices.Sort(aspects)
	for _, aspect := range aspects {
		a.printTally(sum.Lost[aspect], fmt.Sprintf("restored without %s:", lostText(aspect)))
	}
	for _, state := range []snapshot.State{snapshot.Torn, snapshot.Carried, snapshot.Appended} {
		if state == snapshot.Appended && !a.verbose {
			continue // a log that grew is no fault
		}
		a.printTally(sum.Doubtful[state], "restored as the snapshot has it, where it is marked "+state.String()+":")
	}
	if sum.Doubtful[snapshot.Torn].Count > 0 && !flags.whole {
		a.sayf("hint: --whole takes the newest whole version of each torn file from older snapshots\n")
	}
}

func (a *app) printTally(t restore.Tally, text string) {
	if t.Count == 0 {
		return
	}
	a.sayf("%s %s\n", a.stderr.yellow(counted(t.Count, "path")), text)
	for i, e := range t.Examples {
		if i == problemsShown && !a.verbose {
			break
		}
		line := a.stderr.name(cmp.Or(e.Path, ".")) // the target itself
		if e.Err != nil {
			line += ": " + a.stderr.text(e.Err.Error())
		}
		a.sayf("  %s\n", line)
	}
	shown := uint64(len(t.Examples))
	if !a.verbose {
		shown = min(shown, problemsShown)
	}
	if shown < t.Count {
		a.sayf("  and %s more\n", count(t.Count-shown))
	}
}

func lostText(a restore.Aspect) string {
	switch a {
	case restore.AspectOwner:
		return "the owner (this needs root)"
	case restore.AspectACL:
		return "ACLs"
	case restore.AspectXattr:
		return "some extended attributes"
	case restore.AspectCapability:
		return "file capabilities"
	case restore.AspectFlags:
		return "file flags (chattr)"
	case restore.AspectLink:
		return "the hard link, as files of their own"
	}
	return "the right " + strings.TrimSuffix(a.String(), "s") + "s"
}
