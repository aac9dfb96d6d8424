package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
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
	list, _, err := a.chosen(ctx, r.Repo, f.criteria, args)
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
		rec := *s.Record
		rec.Tags, rec.Original = tags, s.Name
		if err := a.replaceSnapshot(ctx, r.Repo, s.Name, replaceOld, same(&rec)); err != nil {
			return err
		}
		changed++
	}
	if !a.json {
		a.outf("%s changed\n", counted(changed, "snapshot"))
	}
	return nil
}

// same gives a record that refers to nothing new.
func same(rec *snapshot.Record) func(context.Context, *repo.Writer) (*snapshot.Record, error) {
	return func(context.Context, *repo.Writer) (*snapshot.Record, error) { return rec, nil }
}

// oldSnapshot says what becomes of a snapshot that has a successor.
type oldSnapshot uint8

const (
	replaceOld oldSnapshot = iota // it goes
	keepOld                       // it stays
)

// replaceSnapshot stores what record gives as the successor of a snapshot. The session is begun before, so that a prune which goes on
// meanwhile waits; the old snapshot goes when the new one is durable and confirmed, and not while somebody prunes.
func (a *app) replaceSnapshot(ctx context.Context, r *repo.Repo, old blob.Name, what oldSnapshot,
	record func(context.Context, *repo.Writer) (*snapshot.Record, error)) error {
	for try := 1; ; try++ {
		name, err := a.successor(ctx, r, old, record)
		if errors.Is(err, repo.ErrEvicted) && try < sessionsMax {
			if err := r.RemoveSnapshot(ctx, name); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", old.Short(), err)
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
}

// stillThere asks the storage for a snapshot that name was made from, and removes name if it is gone.
func stillThere(ctx context.Context, r *repo.Repo, old, name blob.Name) error {
	names, err := r.SnapshotNames(ctx)
	if err != nil || slices.Contains(names, old) {
		return err
	}
	return errors.Join(errors.New("it was removed meanwhile, so nothing was put in its place"), r.RemoveSnapshot(ctx, name))
}

// successor stores the new snapshot in a session of its own. Whether the old one is still there it looks at when the new one is durable: a prune
// that looks for what is needed before that sees the old one, and one that looks later sees the new one. If the old one was forgotten
// meanwhile, packs that both refer to may be gone, and the new one goes as well.
func (a *app) successor(ctx context.Context, r *repo.Repo, old blob.Name,
	record func(context.Context, *repo.Writer) (*snapshot.Record, error)) (name blob.Name, err error) {
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: a.session(repo.PurposeTag)})
	if err != nil {
		return name, err
	}
	var rec *snapshot.Record
	if _, err = r.LoadSnapshot(ctx, old); err == nil {
		rec, err = record(ctx, w)
	}
	if err == nil {
		rec.Session = w.Session()
		name, err = w.Commit(ctx, rec.Encode())
		if err == nil {
			return name, stillThere(ctx, r, old, name)
		}
		if errors.Is(err, repo.ErrEvicted) {
			return name, err
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	return name, errors.Join(err, w.Abort(last))
}
