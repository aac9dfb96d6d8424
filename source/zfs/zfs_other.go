//go:build !linux

package zfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// Plan says that nothing is held here.
func (Provider) Plan(_ context.Context, m fssnap.Mount, _ string) fssnap.Plan {
	if m.FSType != "zfs" {
		return fssnap.Plan{}
	}
	return fssnap.Plan{Why: fmt.Sprintf("zfs: dataset %s: not tried on this system yet: not taken", m.Device)}
}

// Take makes no snapshot here.
func (Provider) Take(_ context.Context, r fssnap.Request) (fssnap.Snapshot, error) {
	return nil, fmt.Errorf("zfs: hold %s: %w", r.Mount.Point, errors.ErrUnsupported)
}

// Leftovers finds none here.
func (Provider) Leftovers(context.Context, []fssnap.Mount) ([]fssnap.Leftover, error) {
	return nil, nil
}
