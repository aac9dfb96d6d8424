//go:build !linux

package lvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// Plan says that this is nothing for LVM.
func (Provider) Plan(context.Context, fssnap.Mount, string) fssnap.Plan { return fssnap.Plan{} }

// Take makes no snapshot here.
func (Provider) Take(_ context.Context, r fssnap.Request) (fssnap.Snapshot, error) {
	return nil, fmt.Errorf("lvm: hold %s: %w", r.Mount.Point, errors.ErrUnsupported)
}

// Leftovers finds none here.
func (Provider) Leftovers(context.Context, []fssnap.Mount) ([]fssnap.Leftover, error) {
	return nil, nil
}
