package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sync/errgroup"
)

// saved is a stored snapshot.
type saved struct {
	Name        blob.Name
	Record      *snapshot.Record
	Unconfirmed bool // its session was evicted before it ended: it may lack something
}

// criteria say which snapshots a command means.
type criteria struct {
	hosts, tags, paths []string
	partial            bool
	surely             bool // "latest" means nothing while a record can't be read: it may be the latest
}

func (c *criteria) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&c.hosts, "host", nil, "only snapshots of `HOST` (any of several)")
	f.StringArrayVar(&c.tags, "tag", nil, "only snapshots with `TAG`; with all of TAG,TAG (any of several)")
	f.StringArrayVar(&c.paths, "path", nil, "only snapshots of `PATH` (all of several)")
	f.BoolVar(&c.partial, "partial", false, "also those of backups that were not finished")
}

// chooses reports whether any snapshot may be left out by where and of what it is.
func (c *criteria) chooses() bool { return len(c.hosts)+len(c.tags)+len(c.paths) > 0 }

// match reports whether a snapshot is meant.
func (c *criteria) match(r *snapshot.Record) bool {
	if r.Partial && !c.partial {
		return false
	}
	if len(c.hosts) > 0 && !slices.Contains(c.hosts, r.Host) {
		return false
	}
	for _, p := range c.paths {
		if !slices.Contains(r.Paths, absolute(p)) {
			return false
		}
	}
	if len(c.tags) == 0 {
		return true
	}
	return slices.ContainsFunc(c.tags, func(all string) bool {
		return !slices.ContainsFunc(strings.Split(all, ","), func(tag string) bool { return tag != "" && !slices.Contains(r.Tags, tag) })
	})
}

// loadSnapshot reads one snapshot. If it can't, there is its name.
func loadSnapshot(ctx context.Context, r *repo.Repo, name blob.Name) (saved, error) {
	data, err := r.LoadSnapshot(ctx, name)
	if err != nil {
		return saved{Name: name}, err
	}
	rec, err := snapshot.DecodeRecord(data)
	if err != nil {
		return saved{Name: name}, fmt.Errorf("snapshot %s: %w", name.Short(), err)
	}
	return saved{Name: name, Record: rec}, nil
}

// recordsAtOnce is how many snapshots are read at a time.
const recordsAtOnce = 8

// loadSnapshots reads the snapshots that c means, the oldest first. One that can't be read is told of and left out.
func (a *app) loadSnapshots(ctx context.Context, r *repo.Repo, c criteria) ([]saved, error) {
	list, _, err := a.loadReadable(ctx, r, c)
	return list, err
}

// loadReadable is loadSnapshots, and names those that can't be read: nobody knows whether c means them.
func (a *app) loadReadable(ctx context.Context, r *repo.Repo, c criteria) (list []saved, unreadable []blob.Name, err error) {
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		return nil, nil, err
	}
	evicted, err := r.Evictions(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex // guards list, unreadable and all
	var all []saved
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(recordsAtOnce)
	for _, n := range names {
		group.Go(func() error {
			s, err := loadSnapshot(groupCtx, r, n)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case groupCtx.Err() != nil:
				return groupCtx.Err()
			case errors.Is(err, storage.ErrNotExist): // removed meanwhile
			case err != nil:
				a.warnf("%v", err)
				unreadable = append(unreadable, n)
			default:
				s.Unconfirmed = evicted[s.Record.Session]
				all = append(all, s)
				if c.match(s.Record) {
					list = append(list, s)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(list, older)
	a.compareSeen(r, names, all)
	return list, unreadable, nil
}

func older(s, t saved) int {
	if c := s.Record.Time.Compare(t.Record.Time); c != 0 {
		return c
	}
	return strings.Compare(s.Name.String(), t.Name.String())
}

// clockSlack is by how much clocks of machines may differ and are still right.
const clockSlack = time.Minute

// selectSnapshot finds the snapshot that a selector names: the beginning of an ID, "latest" or "latest~2", and returns the path behind the
// colon, too. Of one that can't be read there is the name.
func (a *app) selectSnapshot(ctx context.Context, r *repo.Repo, selector string, c criteria) (saved, string, error) {
	id, path, _ := strings.Cut(selector, ":")
	if rest, ok := strings.CutPrefix(id, "latest"); ok {
		back, err := parseBack(rest)
		if err != nil {
			return saved{}, "", fmt.Errorf("snapshot %q: %w", id, err)
		}
		list, unreadable, err := a.loadReadable(ctx, r, c)
		if err != nil {
			return saved{}, "", err
		}
		if c.surely && len(unreadable) > 0 {
			return saved{}, "", withHint(fmt.Errorf("snapshot %q: nobody knows which one that is, since %s can't be read", id, counted(len(unreadable), "snapshot")),
				"\"tarn snapshots\" lists the others; name the one that is meant by its ID")
		}
		list = slices.DeleteFunc(list, func(s saved) bool { return s.Unconfirmed })
		if back >= len(list) {
			return saved{}, "", c.missing(id, len(list))
		}
		s := list[len(list)-1-back]
		if time.Until(s.Record.Time) > clockSlack {
			a.warnf("%s is snapshot %s, which is dated in the future, %s: a clock was or is wrong, and those before it in \"tarn snapshots\" may be newer",
				id, s.Name.Short(), timeText(s.Record.Time))
		}
		return s, path, nil
	}
	name, err := selectName(ctx, r, id)
	if err != nil {
		return saved{}, "", err
	}
	s, err := loadSnapshot(ctx, r, name)
	return s, path, err
}

func (c *criteria) missing(id string, have int) error {
	err := fmt.Errorf("snapshot %q: the repository has %s that match", id, counted(have, "snapshot"))
	if have == 0 {
		err = errors.New("no snapshot matches")
		if !c.chooses() {
			err = errors.New("the repository has no snapshots")
		}
	}
	return withHint(err, "\"tarn snapshots\" lists them; --partial shows those of backups that were not finished")
}

func parseBack(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s, "~"))
	if s[0] != '~' || err != nil || n < 0 {
		return 0, errors.New("want latest, latest~2, or the beginning of an ID")
	}
	return n, nil
}

// selectName finds the one stored snapshot whose name begins with prefix.
func selectName(ctx context.Context, r *repo.Repo, prefix string) (blob.Name, error) {
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		return blob.Name{}, err
	}
	found := byPrefix(names, prefix)
	switch {
	case prefix == "" || len(found) == 0:
		return blob.Name{}, withHint(fmt.Errorf("snapshot %q: there is none of that name", prefix), "\"tarn snapshots\" lists them")
	case len(found) > 1:
		return blob.Name{}, fmt.Errorf("snapshot %q: %s begin so: %s", prefix, count(len(found)), shortest(found))
	}
	return found[0], nil
}

func byPrefix(names []blob.Name, prefix string) []blob.Name {
	prefix = strings.ToLower(prefix)
	return slices.DeleteFunc(slices.Clone(names), func(n blob.Name) bool { return !strings.HasPrefix(n.String(), prefix) })
}

// shortest lists some names, so long that they can be told apart.
func shortest(names []blob.Name) string {
	slices.SortFunc(names, func(a, b blob.Name) int { return strings.Compare(a.String(), b.String()) })
	var list []string
	for i, n := range names {
		if i == 5 {
			list = append(list, "...")
			break
		}
		list = append(list, n.String()[:16])
	}
	return strings.Join(list, ", ")
}
