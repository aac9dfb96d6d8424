package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
)

type repositoryStatsLine struct {
	Type      string  `json:"type"`
	Snapshots int     `json:"snapshots"`
	Packs     int     `json:"packs"`
	Stored    uint64  `json:"bytes_stored"` // by the packs
	Blobs     uint64  `json:"blobs"`
	DataBlobs uint64  `json:"data_blobs"`
	Data      uint64  `json:"data_bytes"`     // before compression
	Metadata  uint64  `json:"metadata_bytes"` // the same, of trees and scan records
	Ratio     float64 `json:"ratio"`          // bytes before compression for each that is stored
	Restored  uint64  `json:"restored_bytes"` // of all files of all snapshots
}

func newStats(a *app) *cobra.Command {
	var c criteria
	var raw bool
	cmd := &cobra.Command{
		Use: "stats [ID]", Short: "Say how much is stored", Args: argsBetween(0, 1),
		Long:    "Say how much the repository stores, or with an ID how much a snapshot has and what it added. --raw tells to the byte what takes the space.",
		Example: "  tarn stats\n  tarn stats --raw\n  tarn stats latest --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r, err := a.open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			if raw && len(args) > 0 {
				return errors.New("--raw is about the whole repository: leave out the ID")
			}
			if raw {
				return a.rawStats(ctx, r.Repo)
			}
			if len(args) == 0 {
				return a.repositoryStats(ctx, r, c)
			}
			s, _, err := a.selectSnapshot(ctx, r.Repo, args[0], c)
			if err != nil {
				return err
			}
			a.snapshotStats(s)
			return nil
		},
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVar(&raw, "raw", false, "say where each stored byte goes")
	return cmd
}

func (a *app) repositoryStats(ctx context.Context, r *opened, c criteria) error {
	list, err := a.loadSnapshots(ctx, r.Repo, c)
	if err != nil {
		return err
	}
	view, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	for _, err := range view.Warnings {
		a.warnf("%v", err)
	}
	l := repositoryStatsLine{Type: "repository_stats", Snapshots: len(list), Packs: len(view.Packs)}
	for _, size := range view.Packs {
		l.Stored += uint64(size)
	}
	for _, rows := range view.Index.Blobs() {
		for i := range rows {
			l.Blobs++
			if rows[i].Kind == blob.Data {
				l.DataBlobs++
				l.Data += uint64(rows[i].Length)
			} else {
				l.Metadata += uint64(rows[i].Length)
			}
		}
	}
	for _, s := range list {
		l.Restored += s.Record.Stats.Bytes
	}
	if l.Stored > 0 {
		l.Ratio = float64(l.Data+l.Metadata) / float64(l.Stored)
	}
	if a.json {
		a.emit(l)
		return nil
	}
	a.outf("%s of %s in all\n", counted(l.Snapshots, "snapshot"), bytesText(l.Restored))
	a.outf("%s of data and %s of metadata, in %s\n", bytesText(l.Data), bytesText(l.Metadata), counted(l.Blobs, "blob"))
	a.outf("%s stored, in %s: %s\n", bytesText(l.Stored), counted(l.Packs, "pack"), ratioText(l.Ratio))
	return nil
}

// ratioText says what compression does. Small repositories grow by it, since packs are padded.
func ratioText(ratio float64) string {
	if ratio == 0 {
		return "nothing yet"
	}
	return fmt.Sprintf("compressed to %.0f %%", 100/ratio)
}

func (a *app) snapshotStats(s saved) {
	if a.json {
		l := snapshotLineOf(s)
		l.Type = "snapshot_stats"
		a.emit(l)
		return
	}
	r := s.Record
	a.outf("snapshot %s of %s: %s\n", a.stdout.bold(s.Name.Short()), timeText(r.Time), healthText(r))
	a.outf("%s, %s, %s; a restore writes %s\n", counted(r.Stats.Files, "file"), counted(r.Stats.Folders, "folder"), counted(r.Stats.Others, "other entry"),
		bytesText(r.Stats.Bytes))
	a.outf("%s; added %s, stored %s\n", changesText(r), bytesText(r.Stats.Added), bytesText(r.Stats.Stored))
	for i, n := range r.Capture.Methods {
		if n > 0 {
			a.outf("  %s read by the method %q\n", counted(n, "file"), methodText(i))
		}
	}
	for _, m := range r.Mounts {
		a.outf("  %s: read %s (%s)\n", a.stdout.name(m.Point), a.stdout.text(howText(m.Method)), a.stdout.text(m.Reason))
	}
}
