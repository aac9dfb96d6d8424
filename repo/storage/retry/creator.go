package retry

import (
	"context"
	"errors"

	"github.com/tarn-backup/tarn/repo/storage"
)

// PutNew tries to put an object that replaces none. It is errors.ErrUnsupported of a store that can't.
func (s *Store) PutNew(ctx context.Context, name string, data []byte) error {
	c, ok := s.store.(storage.Creator)
	if !ok {
		return errors.ErrUnsupported
	}
	return s.run(ctx, len(data), func(ctx context.Context) error { return c.PutNew(ctx, name, data) })
}
