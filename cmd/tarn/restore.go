package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/filter"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

type restoreFlags struct {
	criteria
	target             string
	includes, excludes patternFlags
	overwrite          string
	compare            string
	remove             bool
	sparse             string
	owner              string
	noXattrs           bool
	verify             bool
	dryRun             bool
	sync               bool
	whole              bool
}

func newRestore(a *app) *cobra.Command {
	flags := new(restoreFlags)
	cmd := &cobra.Command{
		Use: "restore ID[:PATH] --target FOLDER", Short: "Write files and folders of a snapshot to disk", Args: argsBetween(1, 1),
		Long: `Write what a snapshot has to a folder, with all metadata that the folder's file system and your rights allow. With a path
that folder's entries come right into the target; without one the whole tree does, from / on.

The target must be empty, unless --overwrite says what to do with what is there: always replaces it, if-changed replaces
what differs in size or time, never keeps it. --delete removes from the target what the snapshot does not have,
as far as the patterns take it; what the backup could not read stays.

Patterns are those of "tarn backup --help"; their paths begin at what is restored. What they leave out stays as it is in the
target, also if it is in the way of what is to be restored: a file where a folder has to be, for one. That is an error then.`,
		Example: `  tarn restore latest --target /somewhere
  tarn restore latest:/home/me/Photos --target ~/Photos --overwrite if-changed
  tarn restore latest:/home/me --target /somewhere --whole
  tarn restore 1a2b3c4d --target /tmp/x --include '*.jpg' --exclude '/home/*/.cache'
  tarn restore latest --target / --include /etc --overwrite if-changed --dry-run --verbose`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.restore(cmd.Context(), flags, args[0]) },
	}
	flags.flags(cmd.Flags())
	return cmd
}

func (r *restoreFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVarP(&r.target, "target", "t", "", "the `FOLDER` to write to")
	f.VarP(r.includes.value(filter.Exact, patternText), "include", "i", "only what matches `PATTERN`")
	f.Var(r.includes.value(filter.Fold, patternText), "iinclude", "the same, and case does not matter")
	f.Var(r.includes.value(filter.Exact, patternFile), "include-file", "only what matches a pattern in `FILE`")
	f.VarP(r.excludes.value(filter.Exact, patternText), "exclude", "e", "not what matches `PATTERN`")
	f.Var(r.excludes.value(filter.Fold, patternText), "iexclude", "the same, and case does not matter")
	f.Var(r.excludes.value(filter.Exact, patternFile), "exclude-file", "not what matches a pattern in `FILE`")
	f.StringVar(&r.overwrite, "overwrite", "", "`WHEN` to replace what is there: always, if-changed or never")
	f.StringVar(&r.compare, "compare", "times", "tell what changed by `WHAT`: times (and sizes), or content")
	f.BoolVar(&r.remove, "delete", false, "remove what the snapshot does not have")
	f.StringVar(&r.sparse, "sparse", "auto", "`WHEN` to make holes: auto (where there were some), always or never")
	f.Lookup("sparse").NoOptDefVal = "always"
	f.StringVar(&r.owner, "owner", "numeric", "restore owners by `WHAT`: numeric, names or never")
	f.BoolVar(&r.noXattrs, "no-xattrs", false, "leave extended attributes and ACLs out")
	f.BoolVar(&r.whole, "whole", false, "in the place of each torn file take its newest whole version from older snapshots")
	f.BoolVar(&r.verify, "verify", false, "read everything back and compare it")
	f.BoolVarP(&r.dryRun, "dry-run", "n", false, "write nothing, say what would be done")
	f.BoolVar(&r.sync, "sync", false, "return only when everything is on stable storage")
	r.criteria.flags(f)
}

// choose finds a word's value.
func choose[T any](flag, word string, values map[string]T, want string) (T, error) {
	v, ok := values[word]
	if !ok {
		return v, fmt.Errorf("--%s %q: want %s", flag, word, want)
	}
	return v, nil
}

func (r *restoreFlags) options() (o restore.Options, err error) {
	if r.target == "" {
		return o, withHint(errors.New("no target is named"), "name the folder to write to with --target FOLDER")
	}
	o = restore.Options{Delete: r.remove, Verify: r.verify, DryRun: r.dryRun, Sync: r.sync}
	var errs [4]error
	o.Overwrite, errs[0] = choose("overwrite", r.overwrite, map[string]restore.Overwrite{"": restore.OverwriteRefuse, "always": restore.OverwriteAlways,
		"if-changed": restore.OverwriteIfChanged, "never": restore.OverwriteNever}, "always, if-changed or never")
	o.Compare, errs[1] = choose("compare", r.compare, map[string]restore.Compare{"times": restore.CompareTimes, "content": restore.CompareContent}, "times or content")
	o.Sparse, errs[2] = choose("sparse", r.sparse, map[string]restore.Sparse{"auto": restore.SparseAuto, "always": restore.SparseAlways,
		"never": restore.SparseNever}, "auto, always or never")
	o.Owner, errs[3] = choose("owner", r.owner, map[string]restore.Owner{"numeric": restore.OwnerNumeric, "names": restore.OwnerByName,
		"never": restore.OwnerNever}, "numeric, names or never")
	if err := errors.Join(errs[:]...); err != nil {
		return o, err
	}
	if r.remove && o.Overwrite == restore.OverwriteRefuse {
		return o, withHint(errors.New("--delete needs --overwrite: a target that must be empty has nothing to delete"), "add --overwrite if-changed")
	}
	if r.noXattrs {
		o.Xattrs = func(string) bool { return false }
	}
	f := new(restoreFilter)
	if f.includes, err = r.includes.rules(); err != nil {
		return o, err
	}
	if f.excludes, err = r.excludes.rules(); err != nil {
		return o, err
	}
	if !f.includes.Empty() || !f.excludes.Empty() {
		o.Filter = f
	}
	return o, nil
}

// restoreFilter takes what is included, itself or by a folder above it, and not excluded.
type restoreFilter struct {
	includes, excludes *filter.Rules
	took               atomic.Bool // something that is included
}

// idle reports whether patterns say what to restore, and nothing was like them.
func (f *restoreFilter) idle() bool { return f != nil && !f.includes.Empty() && !f.took.Load() }

// Match is restore.Filter's.
func (f *restoreFilter) Match(path string, t snapshot.Type) restore.Decision {
	full, isDir := "/"+strings.TrimPrefix(path, "/"), t == snapshot.Dir
	if path == "." {
		full = "/"
	}
	switch {
	case full != "/" && f.excludes.Match(full, isDir):
		return restore.Skip
	case f.includes.Empty() || f.includes.Covers(full, isDir):
		f.took.Store(true)
		return restore.Take
	case isDir && f.includes.Reaches(full):
		return restore.Pass
	}
	return restore.Skip
}

func (a *app) restore(ctx context.Context, flags *restoreFlags, selector string) error {
	o, err := flags.options()
	if err != nil {
		return err
	}
	a.noteAnchored(append(flags.includes.texts(), flags.excludes.texts()...))
	r, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	s, path, err := a.selectSnapshot(ctx, r.Repo, selector, flags.criteria)
	if err != nil {
		return err
	}
	node, err := snapshot.Lookup(ctx, r, s.Record.Root, path)
	if err != nil {
		return err
	}
	if o.Delete {
		if o.Unsaved, err = unsaved(s, path); err != nil {
			return err
		}
	}
	a.notef("restoring snapshot %s of %s to %s", s.Name.Short(), timeText(s.Record.Time), a.stderr.name(flags.target))
	o.Sum = func(plain []byte) blob.ID { return r.ID(blob.Data, plain) }
	ahead := r.ReadAhead(ctx)
	defer ahead.Close()
	o.Announce = ahead.Announce
	report := &restoreReport{app: a, dryRun: o.DryRun, begin: time.Now(), clusters: tornClusters(s.Record, path, o.Filter)}
	var loader snapshot.Loader = r.Repo
	if flags.whole {
		w, err := a.wholesFor(ctx, r.Repo, s, o.Filter)
		if err == nil {
			node, err = w.replace(ctx, path, node)
		}
		if err != nil {
			return err
		}
		loader = w
		defer w.tell()
	}
	if strings.Trim(path, "/") == "" && o.Filter == nil {
		report.endFiles, report.endBytes = s.Record.Stats.Files, s.Record.Stats.Bytes
	}
	report.filter, _ = o.Filter.(*restoreFilter)
	stop := a.showProgress(report.doing)
	sum, err := restore.Run(ctx, loader, node, flags.target, o, report)
	stop()
	return a.restoreDone(ctx, flags, report, sum, err)
}
