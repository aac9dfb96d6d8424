package repo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/storage"
)

// Hold sees to it that nobody can remove what snapshots need before the hold time of the storage has passed since now. What is put is held by
// the storage; this is for what was put long ago and is still needed. It returns how many objects it held for longer.
//
// One request tells whether there is anything to do: the config is held last and like everything else, so nothing that was there then is held
// for less, nor is what was put since. Only when that is less than the hold time from now on is each object held anew, by a request of its own;
// since each is held for half as long again as asked, that is once in half of the hold time. Packs in trash are left out, so that
// their locks run out.
func (r *Repo) Hold(ctx context.Context, now time.Time) (held int, err error) {
	h, ok := r.storage.(storage.Holder)
	if !ok || h.HoldTime() <= 0 {
		return 0, nil
	}
	all, err := h.Held(ctx, configName)
	if err != nil || all.Sub(now) >= h.HoldTime() {
		return 0, err
	}
	names, err := r.lasting(ctx)
	if err != nil {
		return 0, err
	}
	until := storage.HoldUntil(now, h.HoldTime())
	var n atomic.Int64
	some, each := errgroup.WithContext(ctx)
	some.SetLimit(r.far.requests())
	for _, name := range names {
		some.Go(func() error {
			err := h.Hold(each, name, until)
			if errors.Is(err, storage.ErrNotExist) { // a pruner removed it meanwhile
				return nil
			}
			n.Add(1)
			return err
		})
	}
	if err = some.Wait(); err == nil {
		err = h.Hold(ctx, configName, until)
	}
	return int(n.Load()), err
}

// lasting lists what is to be held: all but the config that is not in trash and does not come and go.
func (r *Repo) lasting(ctx context.Context) (names []string, err error) {
	var v View
	if err := r.lookAtPacks(ctx, &v); err != nil {
		return nil, err
	}
	if v.Blind != nil {
		return nil, fmt.Errorf("lock what snapshots need: %w", v.Blind)
	}
	for name := range v.Packs {
		names = append(names, packName(name))
	}
	for _, folder := range []string{indexDir, snapshotsDir, keysDir} {
		if err := r.list(ctx, folder, func(n blob.Name, _ int64) { names = append(names, folder+n.String()) }); err != nil {
			return nil, err
		}
	}
	return names, nil
}
