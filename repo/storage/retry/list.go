package retry

import (
	"context"

	"github.com/tarn-backup/tarn/repo/storage"
)

// List reports each object once, however often it has to begin anew.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	l := &lister{attempt: s.attempt(), fn: fn}
	ordered, _ := s.store.(storage.Ordered)
	for {
		var err error
		if ordered != nil {
			err = ordered.ListAfter(ctx, prefix, l.last, l.report)
		} else {
			err = s.store.List(ctx, prefix, l.reportNew)
		}
		if l.callers != nil {
			return l.callers
		}
		if err == nil {
			s.seen.answered.Store(true)
			return nil
		}
		if err := l.again(ctx, err); err != nil {
			return err
		}
	}
}

type lister struct {
	*attempt
	fn      func(name string, size int64) error
	callers error // the error of fn, which is not ours to explain
	last    string
	seen    map[string]bool
}

func (l *lister) report(name string, size int64) error {
	l.last = name
	l.callers = l.fn(name, size)
	l.restart()
	return l.callers
}

// reportNew reports an object unless an earlier try did.
func (l *lister) reportNew(name string, size int64) error {
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	if l.seen[name] {
		return nil
	}
	l.seen[name] = true
	l.callers = l.fn(name, size)
	return l.callers
}
