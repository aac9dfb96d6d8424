package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/source"
	"github.com/tarn-backup/tarn/source/fssnap"
)

// heldLine says how a folder is, or would be, held still.
type heldLine struct {
	Type   string `json:"type"`
	Path   string `json:"path"`
	FSType string `json:"fs_type"`
	Method string `json:"method"`
	Reason string `json:"reason"`
}

// leftoverLine is a file system snapshot that seems to be tarn's.
type leftoverLine struct {
	Type    string `json:"type"`
	Kind    string `json:"kind"`
	Where   string `json:"where"`
	Removed bool   `json:"removed"`
	Reason  string `json:"reason,omitempty"`
}

func newSource(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "source", Short: "Say how files are held still, and clean up after backups that were killed",
		Example: "  tarn source list / /home\n  tarn source clean",
		Long: `Say how files are held still while a backup reads them, and remove file system snapshots that killed backups left.
docs/files-in-use.md explains it.`,
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list PATH...", Short: "Say from what each path would be read, and why", Example: `  tarn source list / /home`,
			Args: argsBetween(1, -1), RunE: func(cmd *cobra.Command, args []string) error { return a.sourceList(cmd.Context(), args) }},
		&cobra.Command{Use: "clean", Short: "Remove file system snapshots that killed backups left", Args: noArgs, Example: "  tarn source clean",
			Long: `Remove file system snapshots that killed backups left. Only those are touched that are proven to be tarn's, and whose backup is
proven to be gone.`,
			RunE: func(cmd *cobra.Command, args []string) error { return a.sourceClean(cmd.Context()) }},
	)
	return cmd
}

// howText says how a folder is read, by the method that a snapshot's record has for it.
func howText(method string) string {
	if method == "live" {
		return "file by file"
	}
	return "from a snapshot of " + method
}

func (a *app) sourceList(ctx context.Context, args []string) error {
	var paths []string
	for _, arg := range args {
		paths = append(paths, absolute(arg))
	}
	decisions, err := source.Plan(ctx, paths)
	if err != nil {
		return err
	}
	for _, d := range decisions {
		method := "live"
		if d.Plan.Kind != fssnap.None {
			method = d.Plan.Kind.String()
		}
		if a.json {
			a.emit(heldLine{"held", d.Dir, d.Mount.FSType, method, d.Plan.Why})
			continue
		}
		a.outf("%s: read %s (%s)\n", a.stdout.name(d.Dir), howText(method), a.stdout.text(d.Plan.Why))
	}
	return nil
}

func (a *app) sourceClean(ctx context.Context) error {
	list, failed := source.Leftovers(ctx)
	removed := 0
	for _, l := range list {
		reason := l.Doubt
		switch {
		case reason != "":
		case l.Life == fssnap.Alive:
			reason = "its backup still runs"
		case l.Life == fssnap.Unknown:
			reason = "it can't be told from here whether its backup still runs"
		default:
			if err := l.Remove(ctx); err != nil {
				reason = err.Error()
			} else {
				removed++
			}
		}
		if a.json {
			a.emit(leftoverLine{"leftover", l.Kind.String(), l.Where, reason == "", reason})
		} else if reason != "" {
			a.outf("kept %s %s: %s\n", l.Kind, a.stdout.text(l.Where), a.stdout.text(reason))
		} else {
			a.outf("removed %s %s\n", l.Kind, a.stdout.text(l.Where))
		}
	}
	if failed != nil {
		return fmt.Errorf("look for leftovers: %w", failed)
	}
	a.notef("%s removed", counted(uint64(removed), "snapshot"))
	return nil
}
