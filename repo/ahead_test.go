package repo_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/faulty"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// dataOf are the IDs of the data among blobs.
func dataOf(blobs []saved) (ids []blob.ID) {
	for _, b := range blobs {
		if b.kind == blob.Data {
			ids = append(ids, b.id)
		}
	}
	return ids
}

// gate holds ranged reads of packs back until so many wait at the same time.
type gate struct {
	storage.Storage
	mu      sync.Mutex // guards waiting
	waiting int
	want    int
	open    chan struct{} // closed when they do
}

func (g *gate) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if !strings.HasPrefix(name, "data/") {
		return g.Storage.Get(ctx, name, offset, length)
	}
	g.mu.Lock()
	if g.waiting++; g.waiting == g.want {
		close(g.open)
	}
	g.mu.Unlock()
	select {
	case <-g.open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.Storage.Get(ctx, name, offset, length)
}

// TestAheadInFlight announces all there is over a store that answers nobody until six ask at the same time.
func TestAheadInFlight(t *testing.T) {
	store := memory.New()
	blobs := fill(t, store, repo.Far{})
	g := &gate{Storage: store, want: 6, open: make(chan struct{})}
	r := openFar(t, g, repo.Far{Requests: 8, ReadAhead: 4 << 20})
	a := r.ReadAhead(t.Context())
	defer a.Close()
	done := a.Announce(dataOf(blobs))
	<-g.open
	if err := loadAll(t.Context(), r, blobs); err != nil {
		t.Error(err)
	}
	done()
}

// TestAheadRequests announces some blobs at a time, as a restore does, and counts requests.
func TestAheadRequests(t *testing.T) {
	store := memory.New()
	blobs := fill(t, store, repo.Far{})
	for name, far := range map[string]repo.Far{"near": {}, "far": {Requests: 8, ReadAhead: 4 << 20}} {
		counted := faulty.Wrap(store, faulty.Options{})
		r := openFar(t, counted, far)
		a := r.ReadAhead(t.Context())
		const step, ahead = 5, 20 // MiB are about as many blobs, each a fifth of one
		var dones []func()
		for at := 0; at < len(blobs); at += step {
			dones = append(dones, a.Announce(dataOf(blobs[at:at+step])))
			if behind := at - ahead*step; behind >= 0 {
				if err := loadAll(t.Context(), r, blobs[behind:behind+step]); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				dones[behind/step]()
			}
		}
		if err := loadAll(t.Context(), r, blobs[len(blobs)-ahead*step:]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a.Close()
		packs := 0
		for _, op := range counted.Ops() {
			if op.Method == faulty.Get && strings.HasPrefix(op.Name, "data/") {
				packs++
			}
		}
		t.Logf("%s: %d requests", name, packs)
		if packs > 70 { // 20 segments of data, 24 of trees, and what was asked for when nothing was announced yet
			t.Errorf("%s: %d requests", name, packs)
		}
	}
}

// TestAheadFails has a request in the background fail: who loads the blob asks again. And Close ends requests that hang.
func TestAheadFails(t *testing.T) {
	store := memory.New()
	blobs := fill(t, store, repo.Far{})
	bad := faulty.Wrap(store, faulty.Options{Faults: []faulty.Fault{{Method: faulty.Get, Prefix: "data/", Nth: 1, Err: syscall.EIO}}})
	r := openFar(t, bad, repo.Far{})
	a := r.ReadAhead(t.Context())
	done := a.Announce(dataOf(blobs[:1]))
	if err := loadAll(t.Context(), r, blobs[:1]); err != nil && !errors.Is(err, syscall.EIO) { // it may be the first to ask
		t.Error(err)
	}
	done()
	if err := loadAll(t.Context(), r, blobs); err != nil {
		t.Error(err)
	}
	a.Close()

	g := &gate{Storage: store, want: 1 << 30, open: make(chan struct{})}
	r = openFar(t, g, repo.Far{Requests: 8, ReadAhead: 4 << 20})
	a = r.ReadAhead(t.Context())
	a.Announce(dataOf(blobs))
	a.Close()
	if len(dataOf(blobs)) == 0 {
		t.Error("nothing was announced")
	}
}
