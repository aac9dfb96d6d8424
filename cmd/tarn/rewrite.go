package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/filter"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
)

type rewriteFlags struct {
	excludes patternFlags
	forget   bool
	dryRun   bool
	criteria
}

type rewriteLine struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Left   int    `json:"left_out"`
	DryRun bool   `json:"dry_run,omitempty"`
}

func newRewrite(a *app) *cobra.Command {
	f := new(rewriteFlags)
	cmd := &cobra.Command{
		Use: "rewrite --exclude PATTERN [ID...]", Short: "Take files out of snapshots", Args: argsBetween(0, -1),
		Long: `Store the snapshots that are named, or all that match, once more without the files that match a pattern. It is for what
should never have been saved. Patterns are those of "tarn backup".

The old snapshots stay unless --forget is given. What was taken out is gone from the storage only when no snapshot has it any more
and "tarn prune" has run; whoever could read the repository before may have kept a copy.`,
		Example: `  tarn rewrite --exclude '/home/ann/.ssh/id_*' --dry-run
  tarn rewrite --exclude '/home/ann/.ssh/id_*' --forget`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.rewrite(cmd.Context(), f, args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.VarP(f.excludes.value(filter.Exact, patternText), "exclude", "e", "take out what matches `PATTERN`")
	fs.Var(f.excludes.value(filter.Fold, patternText), "iexclude", "the same, and case does not matter")
	fs.Var(f.excludes.value(filter.Exact, patternFile), "exclude-file", "take out what matches a pattern in `FILE`, one a line")
	fs.BoolVar(&f.forget, "forget", false, "remove the old snapshots when the new ones are there")
	fs.BoolVarP(&f.dryRun, "dry-run", "n", false, "write nothing, say what would be taken out")
	f.flags(fs)
	return cmd
}

func (a *app) rewrite(ctx context.Context, f *rewriteFlags, args []string) error {
	rules, err := f.excludes.rules()
	if err != nil {
		return err
	}
	if rules.Empty() {
		return usageError{errors.New("nothing is to be taken out: use --exclude"), "tarn rewrite"}
	}
	for _, p := range anchored(f.excludes.texts()) {
		a.warnf("the pattern %q matches from the root only; write \"**/%s\" for anywhere", p, p)
	}
	r, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	list, unreadable, err := a.chosen(ctx, r.Repo, f.criteria, args)
	if err != nil {
		return err
	}
	old := keepOld
	if f.forget {
		old = replaceOld
	}
	changed := 0
	for _, s := range list {
		p := &purge{app: a, rules: rules, meta: r.MetaChunker()}
		if _, err := p.record(ctx, r.Repo, noSaver{r.Repo}, s); err != nil { // what would be taken out; nothing is stored
			return err
		}
		if a.json {
			a.emit(rewriteLine{"rewrite", s.Name.String(), len(p.dropped), f.dryRun})
		}
		if len(p.dropped) == 0 {
			continue
		}
		changed++
		p.tell(s)
		if f.dryRun {
			continue
		}
		err := a.replaceSnapshot(ctx, r.Repo, s.Name, old, func(ctx context.Context, w *repo.Writer, rec *snapshot.Record) error {
			again := &purge{app: a, rules: rules, meta: r.MetaChunker()}
			without, err := again.record(ctx, r.Repo, w.Lane(), s)
			if err == nil {
				*rec = *without
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	a.rewritten(f, changed, len(list))
	return missedSnapshots(unreadable, "may still have it")
}

// missedSnapshots is the error of a command that was to change all snapshots, and could not read some.
func missedSnapshots(unreadable []blob.Name, so string) error {
	if len(unreadable) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("%s could not be read, and %s", counted(len(unreadable), "damaged snapshot"), so),
		"\"tarn check\" says what is damaged; \"tarn forget ID\" removes what can't be mended")
}

func (a *app) rewritten(f *rewriteFlags, changed, of int) {
	switch {
	case a.json:
	case changed == 0:
		a.outf("nothing matches in %s\n", counted(of, "snapshot"))
	case f.dryRun:
		a.outf("%s would be stored again without this; nothing was changed\n", counted(changed, "snapshot"))
	case !f.forget:
		a.notef("hint: the old snapshots still have it: remove them with --forget, or \"tarn forget\", and then prune")
	default:
		a.notef("hint: the storage still has it until \"tarn prune\" has run")
	}
}

// noSaver computes IDs and stores nothing.
type noSaver struct{ repo *repo.Repo }

func (n noSaver) Save(_ context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	return n.repo.ID(kind, plain), nil
}

// purge takes files out of one snapshot.
type purge struct {
	*app
	rules   *filter.Rules
	meta    chunker.Chunker
	dropped []string
}

// record returns the record of a snapshot without what the rules name. It counts anew what is left, and has no scan record, since that
// has names, too: the next backup reads all files.
func (p *purge) record(ctx context.Context, from snapshot.Loader, to snapshot.Saver, s saved) (*snapshot.Record, error) {
	rec := *s.Record
	rec.Original, rec.Scan = s.Name, snapshot.Content{}
	rec.ClearCount()
	t := rewrite.Tree{From: from, Lists: snapshot.Lists{Saver: to, Cutter: p.meta, Max: p.meta.Params().Max},
		Edit: func(_ context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
			if p.rules.Match("/"+path, n.Type == snapshot.Dir) {
				p.dropped = append(p.dropped, "/"+path)
				return rewrite.Drop, nil
			}
			rec.Count(n)
			return rewrite.Keep, nil
		}}
	if err := t.Folder(ctx, "", &rec.Root); err != nil {
		return nil, err
	}
	rec.Problems = slices.DeleteFunc(slices.Clone(rec.Problems), func(q snapshot.Problem) bool { return p.names(q.Path) })
	for _, pattern := range p.rules.Patterns() {
		if !slices.Contains(rec.Excludes, pattern) {
			rec.Excludes = append(slices.Clip(rec.Excludes), pattern)
		}
	}
	return &rec, nil
}

// names reports whether the rules name a path, or a folder above it.
func (p *purge) names(path string) bool {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' && p.rules.Match(path[:i], true) {
			return true
		}
	}
	return p.rules.Match(path, false) || p.rules.Match(path, true)
}

// tell says what is taken out of a snapshot.
func (p *purge) tell(s saved) {
	if p.json {
		return
	}
	p.outf("snapshot %s of %s: without\n", s.Name.Short(), timeText(s.Record.Time))
	for i, path := range p.dropped {
		if i == problemsShown && !p.verbose {
			p.outf("  and %s more (--verbose lists them)\n", count(len(p.dropped)-i))
			return
		}
		p.outf("  %s\n", p.stdout.name(path))
	}
}
