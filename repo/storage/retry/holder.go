package retry

import (
	"context"
	"errors"
	"time"

	"github.com/tarn-backup/tarn/repo/storage"
)

// HoldTime is that of the store that is tried; 0 if it can't hold objects.
func (s *Store) HoldTime() time.Duration {
	if h, ok := s.store.(storage.Holder); ok {
		return h.HoldTime()
	}
	return 0
}

// Hold tries to hold an object.
func (s *Store) Hold(ctx context.Context, name string, until time.Time) error {
	h, ok := s.store.(storage.Holder)
	if !ok {
		return errors.ErrUnsupported
	}
	return s.run(ctx, 0, func(ctx context.Context) error { return h.Hold(ctx, name, until) })
}

// Held asks until when an object is held.
func (s *Store) Held(ctx context.Context, name string) (until time.Time, err error) {
	if h, ok := s.store.(storage.Holder); ok {
		err = s.run(ctx, 0, func(ctx context.Context) error {
			until, err = h.Held(ctx, name)
			return err
		})
	}
	return until, err
}
