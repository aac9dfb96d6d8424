package prune_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// vault refuses to remove packs until a time.
type vault struct {
	*memory.Store
	now, until time.Time
}

func (v *vault) Remove(ctx context.Context, name string) error {
	if strings.HasPrefix(name, "data/") && v.now.Before(v.until) {
		return fmt.Errorf("remove %s: %w", name, storage.HeldError{Until: v.until})
	}
	return v.Store.Remove(ctx, name)
}

// TestHeldPacks prunes where packs are locked: they stay in trash however often it is tried, nothing else suffers, and they go when their locks have
// run out.
func TestHeldPacks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1e9, 0)
	v := &vault{memory.New(), now, now.Add(time.Hour)}
	r := create(t, v)
	first := save(t, r, 1, random(rng, 5))
	files := random(rng, 5)
	second := save(t, r, 2, files)
	if err := r.RemoveSnapshot(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	objects := map[string]int{}
	for i := range 4 {
		result := run(t, r, options())
		if result.Held.Packs == 0 || !result.HeldUntil.Equal(v.until) || result.Removed.Packs != 0 || result.Waiting.Packs != 0 {
			t.Fatalf("prune %d: %+v", i, result)
		}
		now := listed(t, v)
		if i > 1 && fmt.Sprint(now) != fmt.Sprint(objects) {
			t.Errorf("prune %d left %v, the one before %v", i, now, objects)
		}
		objects = now
		whole(t, r, second, files)
	}
	v.now = v.until
	if result := run(t, r, options()); result.Held.Packs != 0 || result.Removed.Packs == 0 {
		t.Errorf("after the lock: %+v", result)
	}
	if left := listed(t, v); left["trash"] != 0 || left["wait"] != 0 {
		t.Errorf("left %v", left)
	}
	whole(t, r, second, files)
}
