package inuse

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Table prints results for people.
func Table(w io.Writer, results []*Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "tool\truns\ts\tfiles\twhole\tmidway\tmarked\ttorn\tmissing\tmoving\tlost\tdoubled\tpairs\tbroken\tdatabases\tmarked\twrong\tsave ms, p50\tp99\tin backup, p50\tp99\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f\t%.1f\t%.2f\t%.1f\t\n", r.Tool, r.Runs, r.Seconds,
			r.Files, r.Whole, r.Midway, r.Marked, r.Torn, r.Missing, r.Moving, r.Lost, r.Doubled, r.Pairs, r.Inconsistent,
			r.Databases, r.DatabasesMarked, r.DatabasesWrong, r.Idle.Median, r.Idle.P99, r.Busy.Median, r.Busy.P99)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, refused := range r.Refused {
			if _, err := fmt.Fprintf(w, "%s: a program could not save: %s\n", r.Tool, refused); err != nil {
				return err
			}
		}
	}
	return nil
}
