package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/bench"
)

// benchFlags are what the measuring commands share.
type benchFlags struct {
	peers  []string
	runs   int
	dir    string
	report string
}

func (b *benchFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringSliceVar(&b.peers, "peer", nil, "compare with `NAME`: restic, borg, kopia, rustic (any number; those that are installed)")
	f.IntVar(&b.runs, "runs", 3, "measure `N` rounds")
	f.StringVar(&b.dir, "dir", filepath.Join(os.TempDir(), "tarn-bench"), "work in `FOLDER` (tarn-bench among the temporary files); workloads stay there for the next time")
	f.Lookup("dir").DefValue = "" // the environment is no part of the help
	f.StringVar(&b.report, "report", "", "write what was measured to `FILE`, as JSON")
}

func (b *benchFlags) options(a *app) (o bench.Options, err error) {
	if b.runs < 1 {
		return o, fmt.Errorf("--runs %d: want 1 or more", b.runs)
	}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	dir, err := filepath.Abs(b.dir)
	return bench.Options{Self: self, Dir: dir, Peers: b.peers, Runs: b.runs, Say: a.notef}, err
}

func newBench(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure tarn beside other programs", Args: noArgs,
		Long: `Measure tarn beside restic, borg and others, and beside what this machine can do at best. docs/benchmarks.md has figures and says how
to read them.`,
		Example: "  tarn bench run --peer restic,borg\n  tarn bench grow --runs 1",
	}
	cmd.AddCommand(newBenchRun(a), newBenchGrow(a), newBenchShow(a), newBenchPipe(a), newBenchIndex(a))
	return cmd
}

func newBenchRun(a *app) *cobra.Command {
	var b benchFlags
	var workloads, steps []string
	cmd := &cobra.Command{
		Use: "run", Short: "Back up, restore, mount and check workloads with each program in turn", Args: noArgs,
		Long: `Take each program through the same steps with the same files, in rounds, each time into a new repository. Beside them find, cp, tar and a pipe
that only reads, hashes and compresses show what the machine can do.

Workloads: linux, small, media, versions, vm, million, or any folder, which is copied first. Steps: first, unchanged, changed, restore,
mount-find, mount-tar, check, prune. This needs room for several times the workload, and patience.`,
		Example: `  tarn bench run --peer restic,borg
  tarn bench run --workload small,media --peer restic --runs 5 --dir /var/tmp/bench
  tarn bench run --workload ~/Photos --step first,unchanged --report photos.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := b.options(a)
			if err != nil {
				return err
			}
			o.Workloads = workloads
			for _, s := range steps {
				step, err := bench.ParseStep(s)
				if err != nil {
					return err
				}
				o.Steps = append(o.Steps, step)
			}
			report, err := bench.Run(cmd.Context(), o)
			return a.benchDone(report, b.report, err)
		},
	}
	cmd.Flags().StringSliceVar(&workloads, "workload", []string{"linux"}, "what to back up: `NAME` or a folder (any number)")
	cmd.Flags().StringSliceVar(&steps, "step", nil, "measure `STEP` only (any number); first comes always")
	b.flags(cmd.Flags())
	return cmd
}

func newBenchGrow(a *app) *cobra.Command {
	var b benchFlags
	var o bench.GrowOptions
	cmd := &cobra.Command{
		Use: "grow", Short: "Measure how time and memory grow", Args: noArgs,
		Long:    "Measure how time and memory grow: of backups with the number of files, and of the index with the number of blobs.",
		Example: "  tarn bench grow --runs 1 --report growth.json\n  tarn bench grow --files 1000,10000 --blobs 1000,1000000",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Options, err = b.options(a); err != nil {
				return err
			}
			report, err := bench.Grow(cmd.Context(), o)
			return a.benchDone(report, b.report, err)
		},
	}
	cmd.Flags().IntSliceVar(&o.Files, "files", []int{1e3, 1e4, 1e5, 1e6}, "so many `FILES` (any number of numbers)")
	cmd.Flags().IntSliceVar(&o.Blobs, "blobs", []int{1e3, 1e4, 1e5, 1e6, 1e7}, "so many `BLOBS`")
	b.flags(cmd.Flags())
	return cmd
}

func newBenchShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show FILE...", Short: "Show reports, several of one machine as one", Args: argsBetween(1, -1),
		Long:    "Show reports that were written by --report. Several of the same machine are shown as one; with --json, as one that can be written to a file.",
		Example: "  tarn bench show linux.json growth.json\n  tarn bench show linux.json growth.json --json >all.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := bench.ReadReports(args)
			if err != nil {
				return err
			}
			return a.benchDone(all, "", nil)
		},
	}
}

// benchDone shows what was measured, also if it ended early.
func (a *app) benchDone(report *bench.Report, path string, err error) error {
	if report == nil {
		return err
	}
	if path != "" {
		data, encoding := json.MarshalIndent(report, "", " ")
		if encoding == nil {
			encoding = os.WriteFile(path, append(data, '\n'), 0o644)
		}
		if encoding != nil {
			return fmt.Errorf("write the report: %w", encoding)
		}
	}
	if a.json {
		a.emit(struct {
			Type string `json:"type"`
			*bench.Report
		}{"bench", report})
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if showing := report.WriteTable(a.stdout); err == nil {
		err = showing
	}
	return err
}

// newBenchPipe is what bench run measures as "pipe".
func newBenchPipe(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "pipe FOLDER", Short: "Read, hash and compress all files, and write nothing", Args: argsBetween(1, 1),
		Long:    "Read, hash and compress all files below a folder on all processors, and write nothing: no backup that does these can be faster.",
		Example: "  time tarn bench pipe ~/Photos",
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := bench.Pipe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				a.emit(done)
			} else {
				a.outf("%s, %s read, %s when compressed\n", counted(done.Files, "file"), bytesText(uint64(done.Read)), bytesText(uint64(done.Packed)))
			}
			return nil
		},
	}
}

// newBenchIndex is what bench grow runs for each size, so that no memory of another size is counted.
func newBenchIndex(a *app) *cobra.Command {
	var as, dir string
	var blobs int
	var fill bool
	cmd := &cobra.Command{
		Use: "index", Short: "Measure one index", Hidden: true, Args: noArgs,
		Long: "Open an index of made-up blobs and look some up; with --fill, make it.", Example: "  tarn bench index --blobs 1000000 --dir cache --fill",
		RunE: func(cmd *cobra.Command, args []string) error {
			if blobs < 1 {
				return fmt.Errorf("--blobs %d: want 1 or more", blobs)
			}
			if fill {
				return bench.FillIndex(cmd.Context(), dir, blobs)
			}
			return a.benchIndex(as, dir, blobs)
		},
	}
	f := cmd.Flags()
	f.StringVar(&as, "as", bench.IndexInCache, "cache or map")
	f.StringVar(&dir, "dir", "", "the cache's `FOLDER`")
	f.IntVar(&blobs, "blobs", 1e6, "so many `BLOBS`")
	f.BoolVar(&fill, "fill", false, "make it")
	return cmd
}

func (a *app) benchIndex(as, dir string, blobs int) error {
	g, err := bench.MeasureIndex(as, dir, blobs)
	if err != nil {
		return err
	}
	if a.json {
		a.emit(g)
		return nil
	}
	a.outf("%s in a %s: open in %.1f ms, %s of own memory, %.1f million found a second\n", counted(g.Blobs, "blob"), g.As, g.OpenSeconds*1000,
		bytesText(g.Anonymous), g.Hits/1e6)
	return nil
}
