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

// LatencyTable prints for each run how long saves took before the backup and during it, and for all runs together. What the tool is to be
// measured by is how much the time grows that 99 of 100 saves do not take.
func LatencyTable(w io.Writer, results []*Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "tool\trun\tsaves\tp50 ms\tp99\tin backup, saves\tp50\tp99\tp50 ratio\tp99 ratio\tp99 grew by ms\t")
	line := func(tool, run string, p Latencies) {
		a, b := p.Idle, p.Backup
		ratio := func(x, y float64) float64 { return y / max(x, 1e-3) }
		fmt.Fprintf(t, "%s\t%s\t%d\t%.2f\t%.1f\t%d\t%.2f\t%.1f\t%.2f\t%.2f\t%.1f\t\n", tool, run, a.Saves, a.Median, a.P99, b.Saves, b.Median, b.P99,
			ratio(a.Median, b.Median), ratio(a.P99, b.P99), b.P99-a.P99)
	}
	for _, r := range results {
		for i, p := range r.Latencies {
			line(r.Tool, fmt.Sprint(i+1), p)
		}
		line(r.Tool, "all", Latencies{r.Idle, r.Busy})
	}
	return t.Flush()
}
