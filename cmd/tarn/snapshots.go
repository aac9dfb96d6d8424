package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/snapshot"
)

type snapshotsFlags struct {
	criteria
	latest  int
	groupBy []string
}

func newSnapshots(a *app) *cobra.Command {
	var flags snapshotsFlags
	cmd := &cobra.Command{
		Use: "snapshots [ID...]", Short: "List the snapshots", Args: argsBetween(0, -1),
		Long: `List the snapshots, the oldest first. The column State says whether all that is in one is of one moment (exact), or every file in
it for itself (whole), or how many are torn, carried over from an older snapshot, or could not be read. An unconfirmed snapshot is of a backup whose session was
ended by somebody while it ran: it may lack something, and "latest" passes over it. In an unsettled one what was moved while the backup ran may be
missing, or there twice.`,
		Example: `  tarn snapshots
  tarn snapshots --host laptop --tag weekly
  tarn snapshots --latest 1 --group-by host,paths`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if cmd.Flags().Changed("latest") && flags.latest < 1 {
				return fmt.Errorf("--latest %d: want 1 or more", flags.latest)
			}
			keys, err := groupKeys(flags.groupBy)
			if err != nil {
				return err
			}
			r, err := a.open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			var list []saved
			if len(args) == 0 {
				list, err = a.loadSnapshots(ctx, r.Repo, flags.criteria)
			}
			for _, selector := range args {
				var s saved
				if s, _, err = a.selectSnapshot(ctx, r.Repo, selector, flags.criteria); err != nil {
					break
				}
				list = append(list, s)
			}
			if err != nil {
				return err
			}
			a.printSnapshots(list, flags.latest, keys)
			return nil
		},
	}
	flags.flags(cmd.Flags())
	cmd.Flags().IntVar(&flags.latest, "latest", 0, "only the newest `N` of each group; of each host and paths if there are no groups")
	cmd.Flags().StringSliceVarP(&flags.groupBy, "group-by", "g", nil, "show in groups of equal `WHAT`: host, paths or tags")
	return cmd
}

// groupKey returns what the snapshots of a group have in common.
type groupKey func(*snapshot.Record) string

func groupKeys(names []string) (keys []groupKey, err error) {
	for _, name := range names {
		switch strings.TrimSuffix(name, "s") {
		case "host":
			keys = append(keys, func(r *snapshot.Record) string { return "host " + r.Host })
		case "path":
			keys = append(keys, func(r *snapshot.Record) string { return "paths " + strings.Join(r.Paths, ", ") })
		case "tag":
			keys = append(keys, func(r *snapshot.Record) string { return "tags " + strings.Join(r.Tags, ", ") })
		default:
			return nil, fmt.Errorf("--group-by %q: want host, paths or tags", name)
		}
	}
	return keys, nil
}

func keyOf(keys []groupKey, r *snapshot.Record) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, k(r))
	}
	return strings.Join(parts, ", ")
}

// newest keeps the last n of each group. The list is in order of time.
func newest(list []saved, n int, keys []groupKey) (kept []saved) {
	if len(keys) == 0 {
		keys, _ = groupKeys([]string{"host", "paths"})
	}
	seen := map[string]int{}
	for _, s := range slices.Backward(list) {
		key := keyOf(keys, s.Record)
		if seen[key]++; seen[key] <= n {
			kept = append(kept, s)
		}
	}
	slices.Reverse(kept)
	return kept
}

func (a *app) printSnapshots(list []saved, latest int, keys []groupKey) {
	if latest > 0 {
		list = newest(list, latest, keys)
	}
	if a.json {
		for _, s := range list {
			a.emit(snapshotLineOf(s))
		}
		return
	}
	if len(list) == 0 {
		a.notef("no snapshots")
		return
	}
	groups := map[string][]saved{}
	var order []string
	for _, s := range list {
		key := keyOf(keys, s.Record)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], s)
	}
	slices.Sort(order)
	for i, key := range order {
		if key != "" {
			if i > 0 {
				a.outf("\n")
			}
			a.outf("%s\n", a.stdout.bold(a.stdout.name(key)))
		}
		a.printSnapshotTable(groups[key])
	}
	a.notef("%s", counted(len(list), "snapshot"))
}

func (a *app) printSnapshotTable(list []saved) {
	t := table{head: []string{"ID", "Time", "Host", "Tags", "Size", "Files", "State", "Paths"}, right: map[int]bool{4: true, 5: true},
		gives: []int{2, 3, 7}}
	s := &a.stdout
	for _, l := range list {
		r := l.Record
		t.add(l.Name.Short(), timeText(r.Time), s.name(r.Host), s.name(strings.Join(r.Tags, ",")), bytesText(r.Stats.Bytes), count(r.Stats.Files),
			stateText(l), s.name(strings.Join(r.Paths, " ")))
	}
	t.print(s)
}
