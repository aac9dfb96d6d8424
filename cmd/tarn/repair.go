package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/repair"
)

// repairLine is one object that a repair deals with.
type repairLine struct {
	Type    string `json:"type"`
	Object  string `json:"object"`
	Action  string `json:"action"`
	Problem string `json:"problem,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Blobs   int    `json:"blobs,omitempty"`
	Bad     int    `json:"blobs_bad,omitempty"`
	Lost    int    `json:"blobs_lost,omitempty"`
}

// repairChangeLine is one path of a snapshot that would not be as it was saved.
type repairChangeLine struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Kind string `json:"kind"`
	rawPath
	Reason string `json:"reason"`
}

type replacedLine struct {
	Type    string `json:"type"`
	Old     string `json:"old_id"`
	New     string `json:"id"`
	Removed bool   `json:"removed"`
}

type repairSummaryLine struct {
	Type    string `json:"type"`
	Looked  int    `json:"looked_at"`
	Damaged int    `json:"damaged"`
	Lost    int    `json:"lost"`
	Done    bool   `json:"done"` // false if this was the plan alone
}

// repairFlags are those of all repairs.
type repairFlags struct{ yes bool }

const repairLong = `Mend a repository that "tarn check" found damaged. Run index, packs and snapshots in this order, with a backup before the last: what is
still on the disk of the machine is so stored once more. Trash is for when nobody can back up any more.

Without --yes only the plan is shown, and nothing is written. Each repair can be interrupted and run again, and none removes what
could still be used. Backups and restores may go on meanwhile.`

func newRepair(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "repair", Short: "Mend a damaged repository", Args: noArgs, Long: repairLong,
		Example: `  tarn check --read-data
  tarn repair index --yes
  tarn repair packs --yes
  tarn backup ~/Photos
  tarn repair snapshots --yes`,
	}
	cmd.AddCommand(newRepairIndex(a), newRepairPacks(a), newRepairSnapshots(a), newRepairTrash(a))
	return cmd
}

func (f *repairFlags) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do it; without this only the plan is shown")
}

// planOnly ends a command that has shown a plan and may not carry it out.
func (a *app) planOnly() error {
	a.notef("nothing was changed: run it again with --yes to do this")
	return errTold(exitFailed)
}

// repairObject tells of one object of a plan.
func (a *app) repairObject(l repairLine) {
	if l.Type = "repair"; a.json {
		a.emit(l)
		return
	}
	text := l.Object + ": " + l.Action
	if l.Problem != "" {
		text += ": " + l.Problem
	}
	if l.Reason != "" {
		text += "; " + l.Reason
	}
	a.outf("%s\n", a.stdout.text(text))
}

func newRepairIndex(a *app) *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use: "index", Short: "Make the index again from the packs", Args: noArgs,
		Long: `Compare the index with what the packs say of themselves, and write anew what is missing or wrong in it. Nothing is lost
with an index, and all commands work without; they are slower then.`,
		Example: "  tarn repair index\n  tarn repair index --yes",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.repairIndex(cmd.Context(), f) },
	}
	f.flags(cmd)
	return cmd
}

func (a *app) repairIndex(ctx context.Context, f repairFlags) error {
	r, err := a.openWith(ctx, noCache)
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := repair.PlanIndex(ctx, r.Repo)
	if err != nil {
		return err
	}
	for _, d := range p.Damaged {
		a.repairObject(repairLine{Object: "index/" + d.Name.String(), Action: "is damaged", Problem: d.Problem.Error()})
	}
	for _, n := range p.Stale {
		a.repairObject(repairLine{Object: "index/" + n.String(), Action: "says what is not so"})
	}
	for _, n := range p.Gone {
		a.repairObject(repairLine{Object: repo.PackObject(n), Action: "is in the index, and is gone"})
	}
	for _, s := range p.Sealed {
		a.repairObject(repairLine{Object: repo.PackObject(s.Name), Action: "does not say what it holds, the index does", Problem: s.Problem.Error()})
	}
	for _, u := range p.Unknown {
		a.repairObject(repairLine{Object: repo.PackObject(u.Name), Action: "nobody knows what it holds", Problem: u.Problem.Error(),
			Reason: "damaged index objects are kept for its sake"})
	}
	if !a.json {
		a.outf("%s with %s; %s in no index object\n", counted(p.Packs, "pack"), counted(p.Blobs, "blob"), counted(p.Unindexed, "pack"))
	}
	done := repairSummaryLine{Type: "summary", Looked: p.Packs, Damaged: len(p.Damaged) + len(p.Stale) + p.Unindexed, Lost: len(p.Unknown)}
	if !p.Empty() {
		if !f.yes {
			a.repairDone(done, "")
			return a.planOnly()
		}
		if err := p.Run(ctx); err != nil {
			return err
		}
		done.Done = true
	}
	a.repairDone(done, "the index says what the packs hold")
	if len(p.Unknown)+len(p.Sealed) > 0 {
		a.notef("hint: some packs are damaged: \"tarn repair packs\"")
		return errTold(exitFailed)
	}
	return nil
}

func newRepairTrash(a *app) *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use: "trash", Short: "Let the repository be written to again when trash is damaged", Args: noArgs,
		Long: `While an object of the trash is damaged nobody can tell which packs are about to be removed, and so nobody can back up. This
removes it; what it named is kept, and the next prune finds anew what is not needed.

A prune that still knows what the object said would remove those packs. So it is refused while a prune is under way. A prune
whose session somebody ended by hand can't be seen: be sure that there is none, on no machine that sleeps.`,
		Example: "  tarn session list\n  tarn repair trash --yes",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.repairTrash(cmd.Context(), f) },
	}
	f.flags(cmd)
	return cmd
}

func (a *app) repairTrash(ctx context.Context, f repairFlags) error {
	r, err := a.openWith(ctx, noCache)
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := repair.PlanTrash(ctx, r.Repo)
	if err != nil {
		return err
	}
	for _, d := range p.Damaged {
		a.repairObject(repairLine{Object: "trash/" + d.Name.String(), Action: "is damaged", Problem: d.Problem.Error()})
	}
	sum := repairSummaryLine{Type: "summary", Damaged: len(p.Damaged)}
	switch {
	case len(p.Damaged) == 0:
		a.repairDone(sum, "the trash is whole")
		return nil
	case len(p.Pruners) > 0:
		return withHint(repair.ErrPruning, "\"tarn session list\" shows it")
	case !f.yes:
		a.repairDone(sum, "")
		return a.planOnly()
	}
	if err := p.Run(ctx); err != nil {
		return err
	}
	sum.Done = true
	a.repairDone(sum, "the repository can be written to again")
	return nil
}

// repairDone tells how a repair ended.
func (a *app) repairDone(l repairSummaryLine, text string) {
	if a.json {
		a.emit(l)
	} else if text != "" {
		a.outf("%s\n", a.stdout.green(text))
	}
}

func newRepairPacks(a *app) *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use: "packs [PACK...]", Short: "Save what is whole in damaged packs", Args: argsBetween(0, -1),
		Long: `Read all packs, or those that are named by the beginning of their IDs. Where there is parity, damaged packs get back their
bytes from it. Else what is whole in them is stored again, and they go to the trash, from where "tarn prune" removes them.

What is lost then is what no pack has: "tarn backup" stores it again if it is still there to be read, and
"tarn repair snapshots" makes the best of the snapshots that needed it.`,
		Example: "  tarn repair packs\n  tarn repair packs 1a2b3c4d --yes",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.repairPacks(cmd.Context(), f, args) },
	}
	f.flags(cmd)
	return cmd
}

func (a *app) repairPacks(ctx context.Context, f repairFlags, args []string) error {
	r, err := a.openWith(ctx, noCache)
	if err != nil {
		return err
	}
	defer r.Close()
	var o repair.PacksOptions
	if o.Only, err = selectPacks(ctx, r.Repo, args); err != nil {
		return err
	}
	var done, total atomic.Int64
	o.Progress = func(d, t int64) { done.Store(d); total.Store(t) }
	stop := a.showProgress(func() doing { return doing{bytes: uint64(done.Load()), endBytes: uint64(total.Load())} })
	p, err := repair.PlanPacks(ctx, r.Repo, o)
	stop()
	if err != nil {
		return err
	}
	left := 0
	for i := range p.Damaged {
		d := &p.Damaged[i]
		l := repairLine{Object: repo.PackObject(d.Name), Problem: d.Problem.Error(), Reason: d.Reason, Blobs: d.Blobs, Bad: d.Bad, Lost: d.Lost}
		switch d.Way {
		case repair.Leave:
			l.Action = "left as it is"
			left++
		case repair.Rebuild:
			l.Action = "rebuilt from parity"
		default:
			l.Action = fmt.Sprintf("%d of its %s whole, %d lost", d.Blobs-d.Bad, counted(d.Blobs, "blob"), d.Lost)
		}
		a.repairObject(l)
	}
	if !a.json {
		a.outf("read %s, %s: %d damaged, %s to be stored again, %d lost\n", counted(p.Looked, "pack"), bytesText(uint64(p.Read)), len(p.Damaged),
			counted(p.Blobs, "blob"), p.Lost)
	}
	if p.Parity.Damaged() {
		a.notef("parity is damaged, or its packs are gone: it is made again for %s", counted(p.Parity.Uncovered, "pack"))
	}
	sum := repairSummaryLine{Type: "summary", Looked: p.Looked, Damaged: len(p.Damaged), Lost: p.Lost}
	if !p.Empty() {
		if !f.yes {
			a.repairDone(sum, "")
			return a.planOnly()
		}
		if err := p.Run(ctx, a.session(repo.PurposeRepair)); err != nil {
			return err
		}
		sum.Done = true
	}
	if p.Lost+left > 0 {
		a.repairDone(sum, "")
		a.notef("hint: back up again, which stores what is still there to be read; then \"tarn repair snapshots\"")
		return errTold(exitFailed)
	}
	a.repairDone(sum, "nothing of the packs is lost")
	return nil
}

// session describes this process as a session.
func (a *app) session(p repo.Purpose) repo.Session {
	return repo.NewSession(p, hostName(), userName(), program())
}

// selectPacks finds packs by the beginnings of their names.
func selectPacks(ctx context.Context, r *repo.Repo, args []string) (found []blob.Name, err error) {
	if len(args) == 0 {
		return nil, nil
	}
	v, err := r.TakeView(ctx)
	if err != nil {
		return nil, err
	}
	var names []blob.Name
	for n := range v.Packs {
		names = append(names, n)
	}
	for _, arg := range args {
		some := byPrefix(names, arg)
		if len(some) == 0 {
			return nil, withHint(fmt.Errorf("pack %q: there is none of that name", arg), "\"tarn check --read-data\" names damaged packs")
		}
		found = append(found, some...)
	}
	return found, nil
}

func newRepairSnapshots(a *app) *cobra.Command {
	var f repairFlags
	forget := false
	cmd := &cobra.Command{
		Use: "snapshots [ID...]", Short: "Make the best of snapshots that lost something", Args: argsBetween(0, -1),
		Long: `Look for snapshots that need what is in no pack any more, and store a new one beside each. In it a file that lost something
stands as another snapshot of the same paths has it; if none has, with zeros for what is lost; if all of it is lost, it is left
out. Each such path is named in the new snapshot, which so never counts as whole.

The damaged snapshots stay, unless --forget is given. Run "tarn repair index" and "tarn repair packs" before.`,
		Example: "  tarn repair snapshots\n  tarn repair snapshots --yes\n  tarn repair snapshots latest --yes --forget",
		RunE: func(cmd *cobra.Command, args []string) error {
			old := repair.KeepOld
			if forget {
				old = repair.RemoveOld
			}
			return a.repairSnapshots(cmd.Context(), f, old, args)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&forget, "forget", false, "remove the damaged snapshots when the new ones are there")
	return cmd
}

func (a *app) repairSnapshots(ctx context.Context, f repairFlags, old repair.Old, args []string) error {
	r, err := a.openWith(ctx, noCache)
	if err != nil {
		return err
	}
	defer r.Close()
	var only []blob.Name
	for _, arg := range args {
		s, _, err := a.selectSnapshot(ctx, r.Repo, arg, criteria{partial: true})
		if err != nil {
			return err
		}
		only = append(only, s.Name)
	}
	p, err := repair.PlanSnapshots(ctx, r.Repo, only)
	if err != nil {
		return err
	}
	lost := 0
	for i := range p.Damaged {
		a.repairSnapshot(&p.Damaged[i])
		if p.Damaged[i].Record == nil {
			lost++
		}
	}
	if !a.json {
		a.outf("looked at %s: %d damaged\n", counted(p.Looked+lost, "snapshot"), len(p.Damaged))
	}
	sum := repairSummaryLine{Type: "summary", Looked: p.Looked + lost, Damaged: len(p.Damaged), Lost: lost}
	if p.Empty() && old == repair.KeepOld || len(p.Damaged) == lost {
		text := "every snapshot has all that it needs"
		if len(p.Damaged) > 0 {
			text = "there is nothing more to be done"
		}
		a.repairDone(sum, text)
		return lostRecords(lost)
	}
	if !f.yes {
		a.repairDone(sum, "")
		return a.planOnly()
	}
	session := func() repo.Session { return a.session(repo.PurposeRepair) }
	err = p.Run(ctx, session, old, func(d repair.Replaced) {
		if d.Removed {
			a.forgetSeen(r.Repo, []blob.Name{d.Old})
		}
		a.replaced(d, old)
	})
	if err != nil {
		return err
	}
	sum.Done = true
	a.repairDone(sum, "")
	return lostRecords(lost)
}

// lostRecords is why a repair of snapshots fails that did what it could.
func lostRecords(lost int) error {
	if lost == 0 {
		return nil
	}
	return withHint(fmt.Errorf("the records of %s are lost", counted(lost, "snapshot")), "no other snapshot is affected; \"tarn forget ID\" removes them")
}

// repairSnapshot tells what would become of a snapshot.
func (a *app) repairSnapshot(d *repair.SnapshotDamage) {
	l := repairLine{Object: "snapshots/" + d.Name.String(), Lost: len(d.Changes) + d.More}
	switch {
	case d.Record == nil:
		l.Action, l.Problem = "its record is lost", d.Problem.Error()
		l.Reason = "no other snapshot is affected; forget it"
		l.Lost = 0
	case !d.Replaced.IsZero():
		l.Action = "snapshot " + d.Replaced.Short() + " was made of it already"
	default:
		l.Action = fmt.Sprintf("of %s, has lost something: %d paths can't be as they were", timeText(d.Record.Time), len(d.Changes)+d.More)
	}
	a.repairObject(l)
	if d.Record == nil || !d.Replaced.IsZero() {
		return
	}
	for i, c := range d.Changes {
		if a.json {
			a.emit(repairChangeLine{"change", d.Name.String(), problemKindText(c.Kind), rawPathOf("/" + c.Path), c.Reason})
			continue
		}
		if i == 10 && !a.verbose {
			a.outf("  and %s more (--verbose lists them)\n", count(len(d.Changes)+d.More-i))
			break
		}
		a.outf("  %s: %s\n", a.stdout.name("/"+c.Path), a.stdout.text(c.Reason))
	}
}

func (a *app) replaced(d repair.Replaced, old repair.Old) {
	if a.json {
		a.emit(replacedLine{"replaced", d.Old.String(), d.New.String(), d.Removed})
		return
	}
	switch {
	case d.Removed:
		a.outf("snapshot %s takes the place of %s\n", d.New.Short(), d.Old.Short())
	case old == repair.RemoveOld:
		a.outf("snapshot %s stands beside %s\n", d.New.Short(), d.Old.Short())
		a.warnf("snapshot %s stays, since somebody prunes just now: run this again later", d.Old.Short())
	default:
		a.outf("snapshot %s stands beside %s\n", d.New.Short(), d.Old.Short())
	}
}

// absent reads all packs and returns which blobs no pack can give.
func (a *app) absent(ctx context.Context, r *repo.Repo) (func(blob.ID) bool, error) {
	var done, total atomic.Int64
	o := repair.PacksOptions{Progress: func(d, t int64) { done.Store(d); total.Store(t) }}
	stop := a.showProgress(func() doing { return doing{bytes: uint64(done.Load()), endBytes: uint64(total.Load())} })
	p, err := repair.PlanPacks(ctx, r, o)
	stop()
	if err != nil {
		return nil, err
	}
	a.notef("read %s: %d damaged", counted(p.Looked, "pack"), len(p.Damaged))
	return p.Absent, nil
}
