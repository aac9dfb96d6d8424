package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/repo/check"
)

type findingLine struct {
	Type     string    `json:"type"`
	Severity string    `json:"severity"`
	Object   string    `json:"object,omitempty"`
	Problem  string    `json:"problem"`
	Effect   string    `json:"effect,omitempty"`
	Paths    []rawPath `json:"paths,omitempty"`
	More     int       `json:"more_paths,omitempty"`
}

type checkSummaryLine struct {
	Type      string  `json:"type"`
	Snapshots int     `json:"snapshots"`
	Trees     int     `json:"trees"`
	Blobs     int     `json:"blobs"`
	Packs     int     `json:"packs"`
	PacksRead int     `json:"packs_read"`
	BytesRead int64   `json:"bytes_read"`
	Objects   int     `json:"objects"`
	Appended  int     `json:"files_appended"`
	Torn      int     `json:"files_torn"`
	Carried   int     `json:"files_carried"`
	Clusters  int     `json:"clusters_torn"`
	TornIn    int     `json:"snapshots_torn"`
	Errors    int     `json:"errors"`
	Warnings  int     `json:"warnings"`
	Seconds   float64 `json:"seconds"`
}

// share is how much of the data is read: "all", "10%", or 0.1. The zero share is none.
type share float64

// Set reads a share, for pflag.
func (s *share) Set(text string) error {
	digits, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if text == "all" {
		v, err = 1, nil
	}
	if err != nil || !(v > 0 && v <= 1) {
		return errors.New("want a share like 10%, or all")
	}
	*s = share(v)
	return nil
}

func (s *share) String() string { return "" }

// Type names the flag's value in the help.
func (s *share) Type() string { return "SHARE" }

// checkFlags say what a check reads.
type checkFlags struct {
	data   share
	subset string
	older  string
	scrub  bool
	criteria
}

func newCheck(a *app) *cobra.Command {
	f := new(checkFlags)
	cmd := &cobra.Command{
		Use: "check [ID...]", Short: "Prove that the repository is whole", Args: argsBetween(0, -1),
		Long: `Prove that every blob that a snapshot needs is in the index and in its pack. With --read-data every stored byte is read,
opened and hashed, too; with a share like 10% a part of the packs, another one each day, so that ten days read all.

The repository keeps the day on which each pack was last read whole and found good. --older-than 30d reads only what nobody
looked at for so long, and with a subset like 5G what was looked at longest ago comes first: run it each night, and
everything has its turn.

--scrub needs no password, and so is for the machine that has the disks: it compares with its name the hash of every object that is
called by it, which are all but the config, sessions and evictions.

With IDs, --host, --tag or --path only these snapshots are checked, and what they need.`,
		Example: `  tarn check
  tarn check --read-data
  tarn check --read-data-subset 5G --older-than 30d
  tarn check --read-data-subset 2/10
  tarn check --scrub`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.scrub {
				return a.scrub(cmd.Context(), args)
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			if len(args) > 0 && strings.HasSuffix(args[0], "%") { // no ID ends so
				return withHint(fmt.Errorf("snapshot %q: there is none of that name", args[0]), "a share stands behind an equals sign: --read-data=%s", args[0])
			}
			return a.check(cmd.Context(), o, f, args)
		},
	}
	cmd.Flags().Var(&f.data, "read-data", "also read all data, or a `SHARE` of it")
	cmd.Flags().Lookup("read-data").NoOptDefVal = "all"
	cmd.Flags().StringVar(&f.subset, "read-data-subset", "", "also read a `PART` of the data: 2/10 (the second of ten parts), 10% or 5G")
	cmd.Flags().StringVar(&f.older, "older-than", "", "also read the data that nobody looked at for `DAYS`: 30d, 12h")
	cmd.Flags().BoolVar(&f.scrub, "scrub", false, "compare hashes with names only, without a password")
	f.flags(cmd.Flags())
	return cmd
}

func (a *app) check(ctx context.Context, o check.Options, f *checkFlags, args []string) error {
	r, err := a.openWith(ctx, noCache)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, selector := range args {
		s, _, err := a.selectSnapshot(ctx, r.Repo, selector, f.criteria)
		if err != nil {
			return err
		}
		o.Snapshots = append(o.Snapshots, s.Name)
	}
	if len(args) == 0 && f.chooses() {
		list, unreadable, err := a.loadReadable(ctx, r.Repo, f.criteria)
		if err != nil {
			return err
		}
		if len(list)+len(unreadable) == 0 {
			return f.missing("", 0)
		}
		o.Snapshots = unreadable // may be meant, and are damaged in any case
		for _, s := range list {
			o.Snapshots = append(o.Snapshots, s.Name)
		}
	}
	begin := time.Now()
	var done, total atomic.Int64
	o.Progress = func(d, t int64) { done.Store(d); total.Store(t) }
	stop := a.showProgress(func() doing { return doing{bytes: uint64(done.Load()), endBytes: uint64(total.Load())} })
	looks, err := a.looks(ctx, r.Repo, f, &o)
	if err != nil {
		return err
	}
	sum, err := check.Run(ctx, r.Repo, o, a.finding)
	stop()
	if err != nil {
		return err
	}
	looks.keep(ctx)
	a.checkDone(&sum, o, time.Since(begin))
	if sum.Errors > 0 {
		return errTold(exitFailed)
	}
	return nil
}

// finding tells one thing that is not as it should be.
func (a *app) finding(f check.Finding) {
	if a.json {
		l := findingLine{Type: "finding", Severity: f.Severity.String(), Object: f.Object, Problem: f.Problem, Effect: f.Effect, More: f.More}
		for _, p := range f.Paths {
			l.Paths = append(l.Paths, rawPathOf(p))
		}
		a.emit(l)
		return
	}
	word := a.stderr.yellow(f.Severity.String() + ":")
	if f.Severity == check.Error {
		word = a.stderr.red(f.Severity.String() + ":")
	}
	text := f.Problem
	if f.Object != "" {
		text = f.Object + ": " + text
	}
	if f.Effect != "" {
		text += "; " + f.Effect
	}
	a.sayf("%s %s\n", word, a.stderr.text(text))
	for _, p := range f.Paths {
		a.sayf("  %s\n", a.stderr.name(p))
	}
	if f.More > 0 {
		a.sayf("  and %s more\n", count(f.More))
	}
}

func (a *app) checkDone(sum *check.Summary, o check.Options, took time.Duration) {
	if a.json {
		a.emit(checkSummaryLine{"summary", sum.Snapshots, sum.Trees, sum.Blobs, sum.Packs, sum.PacksRead, sum.BytesRead, sum.Objects, sum.Appended,
			sum.Torn, sum.Carried, sum.Clusters, sum.TornIn, sum.Errors, sum.Warnings, took.Seconds()})
		return
	}
	a.outf("checked %s, %s in %s, %s; took %s\n", counted(sum.Snapshots, "snapshot"), counted(sum.Blobs, "blob"), counted(sum.Packs, "pack"),
		counted(sum.Objects, "other object"), tookText(took))
	if o.ReadData {
		a.outf("read %s, %s\n", counted(sum.PacksRead, "pack"), bytesText(uint64(sum.BytesRead)))
	}
	if sum.Torn+sum.Clusters+sum.Carried > 0 {
		a.outf("%s\n", saidText(sum))
	}
	switch {
	case sum.Errors > 0:
		a.outf("%s\n", a.stdout.red(fmt.Sprintf("damaged: %s", errorsText(sum))))
		if !o.ReadData {
			a.notef("hint: \"tarn check --read-data\" finds all that is damaged")
		}
	case sum.Warnings > 0:
		a.outf("no damage, %s\n", counted(sum.Warnings, "warning"))
	case !o.ReadData:
		a.outf("%s (--read-data reads every byte, too)\n", a.stdout.green("nothing is missing"))
	case o.Fraction < 1 || o.Pick != nil:
		a.outf("%s in what was read\n", a.stdout.green("nothing is missing or damaged"))
	default:
		a.outf("%s\n", a.stdout.green("nothing is missing or damaged"))
	}
}

// saidText is what the snapshots say of themselves, which is no damage.
func saidText(sum *check.Summary) string {
	var torn, texts []string
	if sum.Torn > 0 {
		torn = append(torn, counted(sum.Torn, "file"))
	}
	if sum.Clusters > 0 {
		torn = append(torn, counted(sum.Clusters, "database cluster"))
	}
	if len(torn) > 0 {
		texts = append(texts, fmt.Sprintf("%s torn, in %s", strings.Join(torn, " and "), counted(sum.TornIn, "snapshot")))
	}
	if sum.Carried > 0 {
		texts = append(texts, counted(sum.Carried, "file")+" carried over")
	}
	return "as the snapshots say: " + strings.Join(texts, "; ")
}

func errorsText(sum *check.Summary) string {
	text := counted(sum.Errors, "error")
	if sum.Warnings > 0 {
		text += ", " + counted(sum.Warnings, "warning")
	}
	return text
}
