package repo_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// vault is a store that holds objects, with a clock of its own.
type vault struct {
	*memory.Store
	hold time.Duration

	mu    sync.Mutex // guards what follows
	now   time.Time
	until map[string]time.Time
	holds int // requests
	order []string
}

func newVault(hold time.Duration) *vault {
	return &vault{Store: memory.New(), hold: hold, now: time.Unix(1e9, 0), until: map[string]time.Time{}}
}

func (v *vault) Put(ctx context.Context, name string, data []byte) error {
	v.mu.Lock()
	if !strings.HasPrefix(name, "sessions/") {
		v.until[name] = storage.HoldUntil(v.now, v.hold)
	}
	v.mu.Unlock()
	return v.Store.Put(ctx, name, data)
}

func (v *vault) HoldTime() time.Duration { return v.hold }

func (v *vault) Hold(ctx context.Context, name string, until time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.holds++
	v.order = append(v.order, name)
	if until.After(v.until[name]) {
		v.until[name] = until
	}
	return nil
}

func (v *vault) Held(ctx context.Context, name string) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.until[name], nil
}

// TestHold backs up once a day for two months, the same and something new, and wants all of it to be locked for the hold time after each backup, by few
// requests.
func TestHold(t *testing.T) {
	const day = 24 * time.Hour
	v := newVault(30 * day)
	fill(t, v, repo.Far{})
	r := openFar(t, v, repo.Far{})
	objects := func() (names []string) {
		for _, folder := range []string{"config", "keys/", "data/", "index/", "snapshots/"} {
			if folder == "config" {
				names = append(names, folder)
				continue
			}
			if err := v.List(t.Context(), folder, func(name string, _ int64) error {
				names = append(names, name)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		return names
	}
	passes := 0
	for range 60 {
		v.now = v.now.Add(day)
		w, err := r.NewWriter(t.Context(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Lane().Save(t.Context(), blob.Data, []byte(v.now.String())); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context(), []byte("record "+v.now.String())); err != nil {
			t.Fatal(err)
		}
		held, err := r.Hold(t.Context(), v.now)
		if err != nil {
			t.Fatal(err)
		}
		if held > 0 {
			passes++
			if last := v.order[len(v.order)-1]; last != "config" {
				t.Errorf("%s was held last, which says that all is held", last)
			}
		}
		for _, name := range objects() {
			if left := v.until[name].Sub(v.now); left < v.hold {
				t.Fatalf("%s: %s is held for %s", v.now, name, left)
			}
		}
	}
	if want := 60/15 + 1; passes < 2 || passes > want {
		t.Errorf("all was held anew %d times in two months, want at most %d", passes, want)
	}
	t.Logf("%d passes, %d requests for %d objects", passes, v.holds, len(objects()))
}

// TestHoldLeavesTrash sees that what nobody needs is not locked for longer.
func TestHoldLeavesTrash(t *testing.T) {
	v := newVault(time.Hour)
	fill(t, v, repo.Far{})
	r := openFar(t, v, repo.Far{})
	view, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var trashed blob.Name
	for name := range view.Packs {
		trashed = name
	}
	if err := r.PutTrash(t.Context(), []blob.Name{trashed}); err != nil {
		t.Fatal(err)
	}
	if held, err := r.Hold(t.Context(), v.now.Add(40*time.Minute)); err != nil || held < 2 {
		t.Fatalf("held %d, %v", held, err)
	}
	for _, name := range v.order {
		if strings.HasSuffix(name, trashed.String()) {
			t.Errorf("%s is in trash, and was locked for longer", name)
		}
	}
	if held, err := r.Hold(t.Context(), v.now.Add(50*time.Minute)); err != nil || held != 0 {
		t.Errorf("held %d again, %v", held, err)
	}
}
