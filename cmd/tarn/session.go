package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
)

func newSession(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "session", Short: "See who is writing to the repository, and end what is dead", Args: noArgs,
		Long: `Whoever writes is a session while it runs: a backup, a prune, a copy, a repair, a change of tags. There are no locks: nobody waits for a session but the trash, whose packs
are removed when the sessions that might need them are over.

A session that was killed, or whose machine died, stays. A prune on the same machine ends it by itself, any other one after a week.`,
		Example: "  tarn session list\n  tarn session evict 1a2b3c4d",
	}
	cmd.AddCommand(newSessionList(a), newSessionEvict(a))
	return cmd
}

type sessionLine struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"`
	Purpose string    `json:"purpose"`
	Host    string    `json:"host"`
	User    string    `json:"user"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Program string    `json:"program"`
	Evicted bool      `json:"evicted,omitempty"`
}

func newSessionList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the sessions", Args: noArgs, Example: "  tarn session list",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			list, evicted, err := sessionsOf(cmd.Context(), r.Repo)
			if err != nil {
				return err
			}
			a.printSessions(list, evicted)
			return nil
		},
	}
}

// sessionsOf returns the sessions, the oldest first, and which of them were evicted and could not be removed.
func sessionsOf(ctx context.Context, r *repo.Repo) ([]repo.Session, map[blob.Session]bool, error) {
	list, err := r.Sessions(ctx)
	if err != nil {
		return nil, nil, err
	}
	evicted, err := r.Evictions(ctx)
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(list, func(s, t repo.Session) int { return s.Started.Compare(t.Started) })
	return list, evicted, nil
}

func (a *app) printSessions(list []repo.Session, evicted map[blob.Session]bool) {
	if a.json {
		for _, s := range list {
			a.emit(sessionLine{"session", s.ID.String(), string(s.Purpose), s.Host, s.User, s.PID, s.Started, s.Program, evicted[s.ID]})
		}
		return
	}
	if len(list) == 0 {
		a.notef("nobody is writing to the repository")
		return
	}
	t := table{head: []string{"ID", "Started", "Host", "User", "PID", "What", "Program"}, right: map[int]bool{4: true}, gives: []int{2, 3, 6}}
	s := &a.stdout
	for _, l := range list {
		what := string(l.Purpose)
		if what == "" {
			what = "unreadable"
		}
		if evicted[l.ID] {
			what += ", evicted"
		}
		t.add(l.ID.String()[:8], timeText(l.Started), s.name(l.Host), s.name(l.User), fmt.Sprint(l.PID), s.name(what), s.name(l.Program))
	}
	t.print(s)
}

func newSessionEvict(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "evict ID...", Short: "End sessions that are dead", Args: argsBetween(1, -1), Example: "  tarn session evict 1a2b3c4d",
		Long: `End sessions of others. This can't do harm: if one of them is alive after all, it notices before it reports success, and saves again
what was removed meanwhile.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r, err := a.open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			list, _, err := sessionsOf(ctx, r.Repo)
			if err != nil {
				return err
			}
			for _, prefix := range args {
				id, err := selectSession(list, prefix)
				if err != nil {
					return err
				}
				if err := r.Evict(ctx, id); err != nil {
					return err
				}
				if a.json {
					a.emit(keyChangeLine{"session_evicted", id.String()})
				} else {
					a.outf("session %s ended\n", id.String()[:8])
				}
			}
			return nil
		},
	}
}

func selectSession(list []repo.Session, prefix string) (found blob.Session, err error) {
	for _, s := range list {
		if prefix == "" || !strings.HasPrefix(s.ID.String(), strings.ToLower(prefix)) {
			continue
		}
		if !found.IsZero() {
			return found, fmt.Errorf("session %q: several begin so", prefix)
		}
		found = s.ID
	}
	if found.IsZero() {
		err = withHint(errors.New("session \""+prefix+"\": there is none of that name"), "\"tarn session list\" lists them")
	}
	return found, err
}
