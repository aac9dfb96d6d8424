package backup_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// crew is a store whose first lane that saves data can't go on before another one has done so, too.
type crew struct {
	store
	mu     sync.Mutex
	first  *crewLane
	others map[*crewLane]bool
	helped chan struct{}
}

type crewLane struct {
	backup.Lane
	crew *crew
}

func (c *crew) Lane() backup.Lane { return &crewLane{c.store.Lane(), c} }

func (l *crewLane) Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	if kind == blob.Data {
		if err := l.crew.turn(ctx, l); err != nil {
			return blob.ID{}, err
		}
	}
	return l.Lane.Save(ctx, kind, plain)
}

func (c *crew) turn(ctx context.Context, l *crewLane) error {
	c.mu.Lock()
	if c.first == nil {
		c.first = l
	}
	first := c.first == l
	if !first {
		if len(c.others) == 0 {
			close(c.helped)
		}
		c.others[l] = true
	}
	c.mu.Unlock()
	if !first {
		return nil
	}
	select {
	case <-c.helped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestLargeFile saves one large file with several readers: all that have nothing to read help, and the content is in order.
func TestLargeFile(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{7}).Read(data) // never fails
	clear(data[10<<20 : 12<<20])            // an element that has no chunk
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	r := create(t, memory.New())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // for a crew that doesn't help
	defer cancel()
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	c := &crew{store: store{w}, others: map[*crewLane]bool{}, helped: make(chan struct{})}
	rec, err := backup.Run(ctx, c, backup.Options{Paths: []string{dir}, Data: r.DataChunker(), Meta: r.MetaChunker(), Readers: 4,
		Capture: live.Options{Settle: -1}, Record: snapshot.Record{Time: time.Now(), Session: w.Session()}}, new(backup.Progress))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ctx, rec.Encode()); err != nil {
		t.Fatal(err)
	}
	sound(t, r)
	restored(t, r, rec, dir, dir)
	t.Logf("%d lanes helped", len(c.others))
}
