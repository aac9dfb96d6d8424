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
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/storage"
)

// pruneFlags are the flags of prune, which forget has as well.
type pruneFlags struct {
	maxUnused string
	maxRepack size
	dryRun    bool
	alone     bool
}

func (o *pruneFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&o.maxUnused, "max-unused", "5%", "let so much of what is stored be of no use: a `LIMIT` like 5%, 1G, or unlimited")
	f.Var(&o.maxRepack, "max-repack", "store again no more than `SIZE` of packs this time")
	f.BoolVar(&o.alone, "alone", false, "nobody else works on the repository meanwhile: needed where lists may lag behind (rclone)")
}

func newPrune(a *app) *cobra.Command {
	flags := new(pruneFlags)
	cmd := &cobra.Command{
		Use: "prune", Short: "Reclaim the space of what no snapshot needs", Args: noArgs,
		Long: `Reclaim the space of what no snapshot needs. Backups may run meanwhile, on any machine: what one of them might need stays in
the trash until it is over, and the next prune removes it. If this is interrupted nothing is lost, and the next one goes on.

Packs of which only a part is needed are stored again without the rest, as far as --max-unused asks for it.`,
		Example: `  tarn prune
  tarn prune --dry-run
  tarn prune --max-unused 0 --max-repack 10G`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			return a.prune(cmd.Context(), r, flags)
		},
	}
	flags.flags(cmd.Flags())
	cmd.Flags().BoolVarP(&flags.dryRun, "dry-run", "n", false, "change nothing, say what would be done")
	return cmd
}

// prune is the command.
func (a *app) prune(ctx context.Context, r *opened, flags *pruneFlags) error {
	if r.place.kind == kindRclone && !flags.alone && !flags.dryRun {
		return withHint(errors.New("rclone's lists may lag behind, and a backup that runs meanwhile might lose what is removed"),
			"see that nobody else works on the repository, and say so with --alone")
	}
	limit, err := prune.ParseLimit(flags.maxUnused, func(text string) (int64, error) {
		var s size
		err := s.Set(text)
		return int64(s), err
	})
	if err != nil {
		return fmt.Errorf("--max-unused %w", err)
	}
	collectAfter(gcPrune)
	var stage atomic.Value
	stage.Store(prune.Looking)
	stop := a.showProgress(func() doing { return doing{stage: string(stage.Load().(prune.Stage))} })
	begin := time.Now()
	result, err := prune.Run(ctx, r.Repo, prune.Options{
		Session:   repo.NewSession(repo.PurposePrune, hostName(), userName(), program()),
		MaxUnused: limit, MaxRepack: int64(flags.maxRepack), DryRun: flags.dryRun,
		Warn:     func(err error) { a.warnf("%v", err) },
		Progress: func(s prune.Stage, _ uint64) { stage.Store(s) },
	})
	stop()
	for _, id := range result.Evicted {
		a.notef("ended session %s, which nothing came of any more", id)
	}
	switch {
	case errors.Is(err, prune.ErrDamaged):
		return withHint(err, "nothing was removed, since that might be the rest of it; \"tarn check\" says which snapshots are damaged; \"tarn repair snapshots\" puts others in their place, or forget them")
	case errors.Is(err, prune.ErrMendable):
		return withHint(err, "nothing was removed: \"tarn repair packs\" makes it again; then prune")
	case errors.Is(err, repo.ErrEvicted):
		return withHint(err, "nothing is lost: run it again")
	case errors.Is(err, storage.ErrFull):
		return withHint(err, "nothing is lost: make room, or run \"tarn prune --max-unused unlimited\", which needs little: it only removes packs of which nothing is needed")
	case err != nil:
		return err
	}
	a.pruned(&result, flags.dryRun, time.Since(begin))
	return nil
}

type pruneLine struct {
	Type        string   `json:"type"`
	DryRun      bool     `json:"dry_run,omitempty"`
	Snapshots   int      `json:"snapshots"`
	Unconfirmed int      `json:"unconfirmed"`
	Blobs       int      `json:"blobs"`
	Packs       int      `json:"packs"`
	Bytes       int64    `json:"bytes_stored"`
	Unused      int64    `json:"bytes_unused"`
	Repacked    int      `json:"packs_repacked"`
	Read        int64    `json:"bytes_repacked"`
	Written     int64    `json:"bytes_written"`
	Trashed     int      `json:"packs_trashed"`
	TrashBytes  int64    `json:"bytes_trashed"`
	Removed     int      `json:"packs_removed"`
	Freed       int64    `json:"bytes_removed"`
	Waiting     int      `json:"packs_waiting"`
	WaitBytes   int64    `json:"bytes_waiting"`
	Locked      int      `json:"packs_locked,omitempty"`
	LockedBytes int64    `json:"bytes_locked,omitempty"`
	LockedUntil string   `json:"locked_until,omitempty"`
	Waits       []string `json:"sessions"`
	Evicted     []string `json:"evicted"`
	Left        int64    `json:"bytes_left_unused"`
	Damaged     int      `json:"packs_damaged"`
	Rescued     int      `json:"blobs_rescued"`
	Seconds     float64  `json:"seconds"`
}

func sessionTexts(list []blob.Session) []string {
	texts := []string{}
	for _, id := range list {
		texts = append(texts, id.String())
	}
	return texts
}

func (a *app) pruned(r *prune.Result, dry bool, took time.Duration) {
	lockedUntil := ""
	if r.Held.Packs > 0 {
		lockedUntil = r.HeldUntil.Format(time.RFC3339)
	}
	if a.json {
		a.emit(pruneLine{"prune_summary", dry, r.Snapshots, r.Unconfirmed, r.Blobs, r.Before.Packs, r.Before.Bytes, r.Unused, r.Repacked.Packs, r.Repacked.Bytes,
			r.Stored, r.Trashed.Packs, r.Trashed.Bytes, r.Removed.Packs, r.Removed.Bytes, r.Waiting.Packs, r.Waiting.Bytes, r.Held.Packs, r.Held.Bytes,
			lockedUntil, sessionTexts(r.Waits), sessionTexts(r.Evicted), r.Left, r.Damaged.Packs, r.Rescued, took.Seconds()})
		return
	}
	bytes := func(n int64) string { return bytesText(uint64(max(n, 0))) }
	verb := "need"
	if r.Snapshots == 1 {
		verb = "needs"
	}
	a.outf("%s %s %s; of the %s in %s about %s are of no use\n", counted(r.Snapshots, "snapshot"), verb, counted(r.Blobs, "blob"), bytes(r.Before.Bytes),
		counted(r.Before.Packs, "pack"), bytes(r.Unused))
	nothing := r.Trashed.Packs+r.Repacked.Packs+r.Removed.Packs+r.Held.Packs+r.Waiting.Packs == 0
	if nothing {
		a.outf("nothing to remove; took %s\n", tookText(took))
	}
	if dry && !nothing {
		a.outf("would remove %s, %s, and store %s, %s, again without what is of no use\n", counted(r.Trashed.Packs, "pack"), bytes(r.Trashed.Bytes),
			counted(r.Repacked.Packs, "pack"), bytes(r.Repacked.Bytes))
	}
	if dry {
		return
	}
	if r.Repacked.Packs > 0 {
		a.outf("stored %s, %s, again as %s\n", counted(r.Repacked.Packs, "pack"), bytes(r.Repacked.Bytes), bytes(r.Stored))
	}
	if !nothing {
		a.outf("removed %s, %s; took %s\n", counted(r.Removed.Packs, "pack"), bytes(r.Removed.Bytes), tookText(took))
	}
	if r.Held.Packs > 0 {
		a.outf("kept %s, %s, locked until %s at the latest: a prune after that removes them\n", counted(r.Held.Packs, "pack"), bytes(r.Held.Bytes), timeText(r.HeldUntil))
	}
	if r.Waiting.Packs > 0 {
		a.outf("%s, %s, are in the trash and wait until %s is over: the next prune removes them\n", counted(r.Waiting.Packs, "pack"), bytes(r.Waiting.Bytes),
			strings.Join(shortSessions(r.Waits), ", "))
		a.notef("\"tarn session list\" says whose these are; \"tarn session evict\" ends one that is dead")
	}
	if r.Damaged.Packs > 0 {
		a.outf("%s can't be read and were left alone: run \"tarn check --read-data\"\n", counted(r.Damaged.Packs, "pack"))
	}
}

func shortSessions(list []blob.Session) (texts []string) {
	for _, id := range list {
		texts = append(texts, "session "+id.String()[:8])
	}
	return texts
}
