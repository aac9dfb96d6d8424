package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/successor"
	"github.com/tarn-backup/tarn/snapshot"
)

type tagFlags struct {
	add, remove, set []string
	criteria
}

func newTag(a *app) *cobra.Command {
	f := new(tagFlags)
	cmd := &cobra.Command{
		Use: "tag [ID...]", Short: "Change the tags of snapshots", Args: argsBetween(0, -1),
		Long: `Change the tags of the snapshots that are named, or of all that match. A snapshot never changes, so each gets a successor
with an ID of its own, which is there before the old one goes.`,
		Example: `  tarn tag --add keep latest
  tarn tag --remove weekly --host laptop
  tarn tag --set monthly,offsite 1a2b3c4d`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.tag(cmd.Context(), f, args) },
	}
	cmd.Flags().StringArrayVar(&f.add, "add", nil, "add `TAG` (or TAG,TAG)")
	cmd.Flags().StringArrayVar(&f.remove, "remove", nil, "take `TAG` away")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "have `TAG` and no others; none at all if it is empty")
	f.flags(cmd.Flags())
	return cmd
}

func (a *app) tag(ctx context.Context, f *tagFlags, args []string) error {
	add, remove, set := splitTags(f.add), splitTags(f.remove), splitTags(f.set)
	switch {
	case f.set == nil && len(add)+len(remove) == 0:
		return usageError{errors.New("no tag is named: use --add, --remove or --set"), "tarn tag"}
	case f.set != nil && len(add)+len(remove) > 0:
		return usageError{errors.New("--set goes with neither --add nor --remove"), "tarn tag"}
	}
	r, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	list, unreadable, err := a.chosen(ctx, r.Repo, f.criteria, args)
	if err != nil {
		return err
	}
	changed := 0
	for _, s := range list {
		tags := set
		if f.set == nil {
			tags = slices.DeleteFunc(slices.Clone(s.Record.Tags), func(t string) bool { return slices.Contains(remove, t) })
			for _, t := range add {
				if !slices.Contains(tags, t) {
					tags = append(tags, t)
				}
			}
		}
		if slices.Equal(tags, s.Record.Tags) {
			continue
		}
		if err := a.replaceSnapshot(ctx, r.Repo, s.Name, replaceOld, retag(s.Name, tags)); err != nil {
			return err
		}
		changed++
	}
	if !a.json {
		a.outf("%s changed\n", counted(changed, "snapshot"))
	}
	return missedSnapshots(unreadable, "no tag was changed there")
}

// retag gives the record of a snapshot other tags.
func retag(old blob.Name, tags []string) func(context.Context, *repo.Writer, *snapshot.Record) error {
	return func(_ context.Context, _ *repo.Writer, rec *snapshot.Record) error {
		rec.Tags, rec.Original = tags, old
		return nil
	}
}

// oldSnapshot says what becomes of a snapshot that has a successor.
type oldSnapshot uint8

const (
	replaceOld oldSnapshot = iota // it goes
	keepOld                       // it stays
)

// replaceSnapshot stores the successor of a snapshot, whose record change makes of the old one. The old snapshot goes when the new one is durable and
// confirmed, and not while somebody prunes.
func (a *app) replaceSnapshot(ctx context.Context, r *repo.Repo, old blob.Name, what oldSnapshot,
	change func(context.Context, *repo.Writer, *snapshot.Record) error) error {
	name, err := successor.Put(ctx, r, successor.Options{Old: old, Record: change,
		Writer: func() repo.WriterOptions { return repo.WriterOptions{Session: a.session(repo.PurposeTag)} }})
	if err != nil {
		err = fmt.Errorf("snapshot %s: %w", old.Short(), err)
		if errors.Is(err, repo.ErrNoBlob) {
			err = withHint(err, "unless it was forgotten just now it is damaged: \"tarn repair snapshots\" puts another in its place, or forget it")
		}
		return err
	}
	removed := false
	if what == replaceOld {
		if removed, err = r.ReplaceSnapshot(ctx, old); err != nil {
			return fmt.Errorf("remove snapshot %s, which %s takes the place of: %w", old.Short(), name.Short(), err)
		}
	}
	if removed {
		a.forgetSeen(r, []blob.Name{old})
	}
	switch {
	case a.json:
		a.emit(replacedLine{"replaced", old.String(), name.String(), removed})
	case removed:
		a.outf("snapshot %s takes the place of %s\n", name.Short(), old.Short())
	default:
		a.outf("snapshot %s stands beside %s\n", name.Short(), old.Short())
	}
	if what == replaceOld && !removed {
		a.warnf("snapshot %s stays, since somebody prunes just now: forget it later", old.Short())
	}
	return nil
}
