package prune

import (
	"context"
	"slices"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
)

// staleAge is how long a session may stand in a list of those that a trash object waits for before it is evicted. The clock need not be
// right: an eviction is always safe, and costs a writer that lives no more than to look again.
const staleAge = 7 * 24 * time.Hour

// sessions is who is there, and what is known of the end of each.
type sessions struct {
	listed  map[blob.Session]bool
	evicted map[blob.Session]bool
	final   map[blob.Session]bool // a final snapshot names it
}

// over reports whether a session has ended: it is gone, it was evicted, or a final snapshot names it, so that nothing new will refer
// to what it saw. Nothing else ends a session, above all no clock.
func (s *sessions) over(id blob.Session) bool { return !s.listed[id] || s.evicted[id] || s.final[id] }

// sessions lists the sessions. Those that a final snapshot names are known from the last look.
func (p *pruner) sessions(ctx context.Context) (*sessions, error) {
	s := &sessions{final: map[blob.Session]bool{}}
	var err error
	if s.listed, err = p.repo.SessionIDs(ctx); err != nil {
		return nil, err
	}
	if s.evicted, err = p.repo.Evictions(ctx); err != nil {
		return nil, err
	}
	for _, b := range p.seen {
		if !b.partial {
			s.final[b.session] = true
		}
	}
	return s, nil
}

// evictDead ends the sessions of processes that are known to have ended, and those for which a trash object has waited too long.
func (p *pruner) evictDead(ctx context.Context) error {
	s, err := p.sessions(ctx)
	if err != nil {
		return err
	}
	delete(s.listed, p.options.Session.ID)
	if len(s.listed) == 0 {
		return nil
	}
	list, err := p.repo.Sessions(ctx)
	if err != nil {
		return err
	}
	waits, err := p.repo.Waits(ctx)
	if err != nil {
		return err
	}
	stale := map[blob.Session]bool{}
	for _, w := range waits {
		if !w.Time.IsZero() && p.options.Now().Sub(w.Time) > staleAge {
			for _, id := range slices.Concat(w.Sessions, w.Pruners) {
				stale[id] = true
			}
		}
	}
	for _, session := range list {
		id := session.ID
		if !s.listed[id] || !stale[id] && !p.options.Gone(session) {
			continue
		}
		if s.final[id] && !s.evicted[id] { // its snapshot is good, and an eviction would cast doubt on it
			err = p.repo.EndSession(ctx, id)
		} else {
			err = p.repo.Evict(ctx, id)
		}
		if err != nil {
			return err
		}
		p.result.Evicted = append(p.result.Evicted, id)
	}
	return nil
}

// wait is steps P5 and P6: it sees to it that each trash object has a list of the sessions that it waits for, and returns the trash
// objects that wait for none any more.
func (p *pruner) wait(ctx context.Context) ([]blob.Name, error) {
	trash, err := p.repo.TrashNames(ctx)
	if err != nil || len(trash) == 0 {
		return nil, err
	}
	for _, name := range trash {
		if err := p.repo.SettleTrash(ctx, name); err != nil {
			return nil, err
		}
	}
	waits, err := p.repo.Waits(ctx)
	if err != nil {
		return nil, err
	}
	var missing []blob.Name
	for _, name := range trash {
		if !slices.ContainsFunc(waits, func(w repo.Wait) bool { return w.Trash == name }) {
			missing = append(missing, name)
		}
	}
	made, err := p.putWaits(ctx, missing)
	if err != nil {
		return nil, err
	}
	waits = append(waits, made...)
	s, err := p.sessions(ctx)
	if err != nil {
		return nil, err
	}
	waiting := map[blob.Session]bool{}
	var ripe []blob.Name
	for _, name := range trash {
		ok, for_ := p.ripe(waits, s, name)
		if ok {
			ripe = append(ripe, name)
			continue
		}
		for _, id := range for_ {
			waiting[id] = true
		}
	}
	for id := range waiting {
		p.result.Waits = append(p.result.Waits, id)
	}
	slices.SortFunc(p.result.Waits, func(a, b blob.Session) int { return slices.Compare(a[:], b[:]) })
	return ripe, p.settle(ctx, waits, s)
}

// putWaits makes the lists of sessions for trash objects that have none. The sessions are listed now, when the trash objects are there: who
// begins later sees them.
func (p *pruner) putWaits(ctx context.Context, trash []blob.Name) (made []repo.Wait, err error) {
	if len(trash) == 0 {
		return nil, nil
	}
	list, err := p.repo.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	w := repo.Wait{Time: p.options.Now()}
	for _, s := range list {
		if s.Purpose == repo.PurposePrune {
			w.Pruners = append(w.Pruners, s.ID)
		} else {
			w.Sessions = append(w.Sessions, s.ID)
		}
	}
	for _, name := range trash {
		w.Trash = name
		if err := p.repo.PutWait(ctx, &w); err != nil {
			return nil, err
		}
		made = append(made, w)
	}
	return made, nil
}

// ripe reports whether all sessions are over that one of the lists for a trash object names; each of the lists has all that matter. If not it
// returns those of the shortest list.
func (p *pruner) ripe(waits []repo.Wait, s *sessions, trash blob.Name) (ok bool, for_ []blob.Session) {
	for _, w := range waits {
		if w.Trash != trash {
			continue
		}
		var open []blob.Session
		for _, id := range w.Sessions {
			if !s.over(id) {
				open = append(open, id)
			}
		}
		if len(open) == 0 {
			return true, nil
		}
		if for_ == nil || len(open) < len(for_) {
			for_ = open
		}
	}
	return false, for_
}

// settle makes the evictions durable that decided something here: that one can be seen does not mean that its Put has returned.
func (p *pruner) settle(ctx context.Context, waits []repo.Wait, s *sessions) error {
	done := map[blob.Session]bool{}
	for _, w := range waits {
		for _, id := range w.Sessions {
			if !s.listed[id] || !s.evicted[id] || done[id] {
				continue
			}
			done[id] = true
			if err := p.repo.Evict(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}
