package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/forget"
	"golang.org/x/term"
)

// forgetFlags are the flags of forget.
type forgetFlags struct {
	criteria
	policy    forget.Policy
	keepTags  []string
	groupBy   []string
	maxDelete string
	dryRun    bool
	prune     bool
	pruning   pruneFlags
}

// keepCount is how many snapshots a rule keeps, as a flag: a number, or all.
type keepCount struct{ to *int }

// Set reads a count, for pflag.
func (k keepCount) Set(text string) error {
	n, err := strconv.Atoi(text)
	if text == "all" || text == "unlimited" {
		n, err = forget.All, nil
	}
	if err != nil || n < forget.All {
		return errors.New("want a number, or all")
	}
	*k.to = n
	return nil
}

func (k keepCount) String() string { return "" }

// Type names the flag's value in the help.
func (k keepCount) Type() string { return "N" }

// keepSpan is a length of time as a flag.
type keepSpan struct{ to *forget.Span }

// Set reads a span, for pflag.
func (k keepSpan) Set(text string) (err error) {
	if *k.to, err = forget.ParseSpan(text); err != nil {
		return errors.New("want a length of time like 30d, 6m or 2y5m7d3h")
	}
	return nil
}

func (k keepSpan) String() string { return "" }

// Type names the flag's value in the help.
func (k keepSpan) Type() string { return "TIME" }

func newForget(a *app) *cobra.Command {
	flags := new(forgetFlags)
	cmd := &cobra.Command{
		Use: "forget [ID...]", Short: "Remove snapshots by a policy, or by name", Args: argsBetween(0, -1),
		Long: `Remove the snapshots that are named, or those that a policy does not keep. A policy is applied to each group of equal host
and paths by itself; a snapshot stays if any of the rules wants it. Counting rules keep the newest of each hour, day, week, month or
year; the "within" rules look back from the newest snapshot, so that a machine which was off for long loses nothing.

Snapshots that are dated in the future stay, and are no reason to remove others. If more than half of a group would go, nothing
is removed before you confirm it, or say so with --max-delete.

The data goes with the next "tarn prune", or at once with --prune.`,
		Example: `  tarn forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  tarn forget --keep-within 30d --keep-yearly all --prune
  tarn forget --keep-last 3 --host laptop --group-by host,paths,tags
  tarn forget 1a2b3c4d`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.forget(cmd.Context(), flags, args) },
	}
	flags.flags(cmd.Flags())
	return cmd
}

func (o *forgetFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	p := &o.policy
	for _, c := range []struct {
		name, what string
		to         *int
		within     *forget.Span
	}{
		{"hourly", "hour", &p.Hourly, &p.WithinHourly}, {"daily", "day", &p.Daily, &p.WithinDaily}, {"weekly", "week", &p.Weekly, &p.WithinWeekly},
		{"monthly", "month", &p.Monthly, &p.WithinMonthly}, {"yearly", "year", &p.Yearly, &p.WithinYearly},
	} {
		if c.name == "hourly" {
			f.VarP(keepCount{&p.Last}, "keep-last", "l", "keep the newest `N`, or all")
			f.Var(keepSpan{&p.Within}, "keep-within", "keep what is no older than the newest by `TIME` (2y5m7d3h)")
		}
		short := c.name[:1]
		if short == "h" { // that is help
			short = ""
		}
		f.VarP(keepCount{c.to}, "keep-"+c.name, short, fmt.Sprintf("keep the newest of each %s, for the last `N` that have one, or all", c.what))
		f.Var(keepSpan{c.within}, "keep-within-"+c.name, fmt.Sprintf("keep the newest of each %s within `TIME`", c.what))
	}
	f.StringArrayVar(&o.keepTags, "keep-tag", nil, "keep those with `TAG`; with all of TAG,TAG (any of several)")
	f.StringArrayVar(&p.IDs, "keep-id", nil, "keep the one whose ID begins with `ID`")
	f.StringSliceVarP(&o.groupBy, "group-by", "g", []string{"host", "paths"}, "apply the policy to each group of equal `WHAT`: host, paths or tags; none for one group")
	f.StringVar(&o.maxDelete, "max-delete", "", "remove no more than `N` of a group: a number, a share, or all (half, unless confirmed)")
	o.criteria.flags(f)
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "remove nothing, say what would go")
	f.BoolVar(&o.prune, "prune", false, "then reclaim the space, as \"tarn prune\" does")
	o.pruning.flags(f)
}

// forget is the command.
func (a *app) forget(ctx context.Context, o *forgetFlags, args []string) error {
	keys, err := forget.ParseKeys(o.groupBy)
	if err != nil {
		return fmt.Errorf("--group-by: %w", err)
	}
	var most forget.Cap
	if o.maxDelete != "" {
		if most, err = forget.ParseCap(o.maxDelete); err != nil {
			return fmt.Errorf("--max-delete %w", err)
		}
	}
	for _, tags := range o.keepTags {
		o.policy.Tags = append(o.policy.Tags, strings.Split(tags, ","))
	}
	switch {
	case len(args) > 0 && !o.policy.IsZero():
		return errors.New("forget: name snapshots or give a policy, not both")
	case len(args) == 0 && o.policy.IsZero():
		return withHint(errors.New("forget: nothing says which snapshots to keep"), "try: tarn forget --keep-daily 7 --keep-monthly 12 --dry-run")
	}
	r, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	var going, unreadable []blob.Name
	if len(args) > 0 {
		going, err = a.named(ctx, r, args, o.criteria)
	} else {
		going, unreadable, err = a.byPolicy(ctx, r, o, keys, most)
	}
	if err != nil {
		return err
	}
	if !o.dryRun {
		for i, name := range going {
			if err := r.RemoveSnapshot(ctx, name); err != nil {
				return fmt.Errorf("remove snapshot %s, after %s: %w", name.Short(), counted(i, "other"), err)
			}
		}
		a.forgetSeen(r.Repo, going)
	}
	a.forgot(len(going), o.dryRun, o.prune)
	if o.prune && !o.dryRun {
		if err := a.prune(ctx, r, &o.pruning); err != nil {
			return err
		}
	}
	return missedSnapshots(unreadable, "stayed")
}

// named finds the snapshots that arguments name.
func (a *app) named(ctx context.Context, r *opened, args []string, c criteria) (names []blob.Name, err error) {
	c.surely = true
	for _, selector := range args {
		id, path, _ := strings.Cut(selector, ":")
		if path != "" {
			return nil, fmt.Errorf("forget %q: only whole snapshots can be removed", selector)
		}
		var name blob.Name
		if strings.HasPrefix(id, "latest") {
			s, _, err := a.selectSnapshot(ctx, r.Repo, id, c)
			if err != nil {
				return nil, err
			}
			name = s.Name
		} else if name, err = selectName(ctx, r.Repo, id); err != nil { // also one whose record can't be read
			return nil, err
		}
		names = append(names, name)
		if a.json {
			a.emit(forgetLine{Type: "snapshot_forgotten", ID: name.String(), Short: name.Short(), Reasons: []string{}})
		} else {
			a.outf("%s\n", a.nameText(ctx, r, name))
		}
	}
	return names, nil
}

// nameText says which snapshot a name means, as far as its record can be read.
func (a *app) nameText(ctx context.Context, r *opened, name blob.Name) string {
	s, err := loadSnapshot(ctx, r.Repo, name)
	if err != nil {
		return "snapshot " + name.Short()
	}
	return fmt.Sprintf("snapshot %s of %s, %s", name.Short(), timeText(s.Record.Time), a.stdout.name(strings.Join(s.Record.Paths, " ")))
}

// byPolicy applies the policy, shows what it decides, and returns the snapshots that go, and those that can't be read: they stay.
func (a *app) byPolicy(ctx context.Context, r *opened, o *forgetFlags, keys []forget.Key, most forget.Cap) (going, unreadable []blob.Name, err error) {
	o.criteria.partial = true // those that were not finished go when a newer one is whole
	list, unreadable, err := a.loadReadable(ctx, r.Repo, o.criteria)
	if err != nil {
		return nil, nil, err
	}
	var all []forget.Snapshot
	records := map[blob.Name]saved{}
	for _, s := range list {
		records[s.Name] = s
		all = append(all, forget.Snapshot{Name: s.Name, Time: s.Record.Time, Host: s.Record.Host, Paths: s.Record.Paths, Tags: s.Record.Tags,
			Doubtful: s.Record.Partial || s.Unconfirmed})
	}
	now := time.Now()
	over := false
	for i, g := range forget.GroupBy(all, keys) {
		decisions := o.policy.Apply(g.Snapshots, now)
		a.showDecisions(i, &g, decisions, records)
		for _, d := range decisions {
			if !d.Keep {
				going = append(going, d.Name)
			}
		}
		if removed, of := forget.Removed(decisions); !most.Allows(removed, of) {
			over = true
			if o.maxDelete != "" && !o.dryRun {
				return nil, nil, tooMany(removed, of, g.String())
			}
			if o.maxDelete == "" && !o.dryRun && !a.canAsk() {
				return nil, nil, tooMany(removed, of, g.String())
			}
		}
	}
	if over && !o.dryRun && !a.confirm(fmt.Sprintf("Remove %s, which is more than half of a group?", counted(len(going), "snapshot"))) {
		return nil, nil, errors.New("nothing was removed")
	}
	return going, unreadable, nil
}

func tooMany(removed, of int, group string) error {
	if group != "" {
		group = " of " + group
	}
	return withHint(fmt.Errorf("%d of %s%s would go, which is more than is allowed: nothing was removed", removed, counted(of, "snapshot"), group),
		"look at it with --dry-run; if you mean it, add --max-delete all, or the number")
}

// canAsk reports whether somebody is there to answer.
func (a *app) canAsk() bool {
	return !a.json && a.stderr.terminal && a.stdin != nil && term.IsTerminal(int(a.stdin.Fd()))
}

// confirm asks a question that is answered by yes or no.
func (a *app) confirm(question string) bool {
	if !a.canAsk() {
		return false
	}
	a.sayf("%s Type yes: ", question)
	line, _ := bufio.NewReader(a.stdin).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(line), "yes")
}

type forgetLine struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"`
	Short   string    `json:"short_id"`
	Time    time.Time `json:"time,omitzero"`
	Host    string    `json:"host,omitempty"`
	Paths   []string  `json:"paths,omitempty"`
	Tags    []string  `json:"tags,omitempty"`
	Reasons []string  `json:"reasons"`
}

type forgetSummaryLine struct {
	Type    string `json:"type"`
	Removed int    `json:"removed"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// showDecisions says of each snapshot of a group why it stays, or that it goes.
func (a *app) showDecisions(i int, g *forget.Group, decisions []forget.Decision, records map[blob.Name]saved) {
	if a.json {
		for _, d := range decisions {
			l := forgetLine{"snapshot_kept", d.Name.String(), d.Name.Short(), d.Time, d.Host, d.Paths, d.Tags, append([]string{}, d.Reasons...)}
			if !d.Keep {
				l.Type = "snapshot_forgotten"
			}
			a.emit(l)
		}
		return
	}
	if i > 0 {
		a.outf("\n")
	}
	s := &a.stdout
	if text := g.String(); text != "" {
		a.outf("%s\n", s.bold(s.name(text)))
	}
	t := table{head: []string{"ID", "Time", "Tags", "State", "Kept as"}, gives: []int{2, 4}}
	for _, d := range decisions {
		why := strings.Join(d.Reasons, ", ")
		if !d.Keep {
			why = "- removed"
		}
		t.add(d.Name.Short(), timeText(d.Time), s.name(strings.Join(d.Tags, ",")), stateText(records[d.Name]), s.name(why))
	}
	t.print(s)
}

func (a *app) forgot(n int, dry, prune bool) {
	if a.json {
		a.emit(forgetSummaryLine{"forget_summary", n, dry})
		return
	}
	switch {
	case dry:
		a.outf("%s would be removed\n", counted(n, "snapshot"))
	case n > 0 && !prune:
		a.outf("%s removed; \"tarn prune\" reclaims the space\n", counted(n, "snapshot"))
	default:
		a.outf("%s removed\n", counted(n, "snapshot"))
	}
}
