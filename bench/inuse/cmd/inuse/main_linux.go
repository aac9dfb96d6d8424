package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/bench/inuse"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "inuse:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	plan := inuse.Plan{}
	var kinds, tarnFlags, tree string
	var asJSON, notes, latency bool
	binary := flag.String("tarn", "tarn", "the `PROGRAM` tarn")
	flag.StringVar(&tarnFlags, "tarn-flags", "", "more `FLAGS` of tarn backup, with spaces in between")
	flag.StringVar(&plan.Dir, "dir", ".", "the `FOLDER` in which to work: its file system is what is tried")
	flag.StringVar(&plan.Scratch, "scratch", os.TempDir(), "the `FOLDER` for repositories and restored copies")
	flag.IntVar(&plan.Runs, "runs", 1, "backups of each tool")
	flag.IntVar(&plan.Each, "each", 4, "writers of each kind")
	flag.IntVar(&plan.Size, "size", 512<<10, "bytes of each file")
	flag.Int64Var(&plan.Still, "still", 128<<20, "bytes of files that nobody writes to")
	flag.DurationVar(&plan.RestMin, "rest-min", 100*time.Millisecond, "the shortest rest between two saves of a file")
	flag.DurationVar(&plan.RestMax, "rest-max", 2*time.Second, "the longest")
	flag.DurationVar(&plan.Before, "before", time.Second, "how long files are saved before the backup begins")
	flag.Uint64Var(&plan.Seed, "seed", uint64(time.Now().UnixNano()), "of the rests")
	flag.StringVar(&kinds, "kinds", "closing", "closing, held, or `KINDS` with commas in between")
	flag.BoolVar(&asJSON, "json", false, "print a line of JSON for each tool")
	flag.BoolVar(&notes, "notes", false, "name what is wrong")
	flag.BoolVar(&latency, "latency", false, "print how long saves took, before and during each backup")
	flag.StringVar(&tree, "lease-cost", "", "instead of all that: what part of a backup of this `FOLDER` leases take")
	flag.Parse()
	if tree != "" {
		return leaseCost(ctx, &plan, tree, inuse.Tarn(*binary, strings.Fields(tarnFlags)...), asJSON)
	}
	plan.Size &^= 7
	switch kinds {
	case "closing":
		plan.Kinds = inuse.Closing()
	case "held":
		plan.Kinds = inuse.Held()
	default:
		for k := range strings.SplitSeq(kinds, ",") {
			plan.Kinds = append(plan.Kinds, inuse.Kind(k))
		}
	}
	peers := inuse.Peers()
	names := flag.Args()
	if len(names) == 0 {
		names = []string{"tarn"}
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", plan.Seed)
	var results []*inuse.Result
	for _, name := range names {
		tool := peers[name]
		if name == "tarn" {
			tool = inuse.Tarn(*binary, strings.Fields(tarnFlags)...)
		}
		if tool == nil {
			return fmt.Errorf("%s is not there", name)
		}
		r, err := plan.Run(ctx, tool)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if latency && !asJSON {
		if err := inuse.LatencyTable(os.Stdout, results); err != nil {
			return err
		}
	}
	return report(results, asJSON, notes)
}

func leaseCost(ctx context.Context, plan *inuse.Plan, tree string, tool inuse.Tool, asJSON bool) error {
	var rounds []*inuse.LeaseCost
	err := inuse.MeasureLeases(ctx, tree, plan.Scratch, tool, plan.Runs, func(c *inuse.LeaseCost) {
		rounds = append(rounds, c)
		if asJSON {
			_ = json.NewEncoder(os.Stdout).Encode(c)
		}
	})
	if err != nil || asJSON {
		return err
	}
	return inuse.LeaseTable(os.Stdout, rounds)
}

func report(results []*inuse.Result, asJSON, notes bool) error {
	if !asJSON {
		if err := inuse.Table(os.Stdout, results); err != nil {
			return err
		}
	}
	var errs []error
	for _, r := range results {
		if asJSON {
			errs = append(errs, json.NewEncoder(os.Stdout).Encode(r))
		} else if notes {
			for _, note := range r.Notes {
				fmt.Printf("%s: %s\n", r.Tool, note)
			}
		}
	}
	return errors.Join(errs...)
}
