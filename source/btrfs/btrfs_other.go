//go:build !linux || mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64

package btrfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// Plan says that nothing is held here.
func (Provider) Plan(_ context.Context, m fssnap.Mount, _ string) fssnap.Plan {
	if m.FSType != "btrfs" {
		return fssnap.Plan{}
	}
	return fssnap.Plan{Why: "btrfs: not known how to hold it on this kind of machine: not taken"}
}

// Take makes no snapshot here.
func (Provider) Take(_ context.Context, r fssnap.Request) (fssnap.Snapshot, error) {
	return nil, fmt.Errorf("btrfs: hold %s: %w", r.Folder(), errors.ErrUnsupported)
}

// Leftovers finds none here.
func (Provider) Leftovers(context.Context, []fssnap.Mount) ([]fssnap.Leftover, error) {
	return nil, nil
}

// Nested finds none here.
func Nested(context.Context, string) ([]Subvolume, error) { return nil, nil }
