package restore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// announced notes what a run says that it is going to load.
type announced struct {
	mu   sync.Mutex // guards what follows
	ids  map[blob.ID]bool
	open int // announcements that are not done
	most int
}

func (a *announced) announce(ids []blob.ID) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids == nil {
		a.ids = map[blob.ID]bool{}
	}
	for _, id := range ids {
		a.ids[id] = true
	}
	a.open++
	a.most = max(a.most, a.open)
	return func() {
		a.mu.Lock()
		a.open--
		a.mu.Unlock()
	}
}

// TestAnnounce wants to be told of all that is loaded, some way ahead, and of nothing else.
func TestAnnounce(t *testing.T) {
	m := newMemory()
	var folders []snapshot.Node
	data := map[blob.ID]bool{}
	for i := range 40 {
		var files []snapshot.Node
		for j := range 10 {
			f := m.file(t, fmt.Sprintf("%02d", j), randomText(100+i*10+j))
			data[f.Content.Elements[0].ID] = true
			files = append(files, f)
		}
		folders = append(folders, m.dir(t, fmt.Sprintf("%02d", i), files...))
	}
	large := m.file(t, "large", randomText(20<<20))
	for e, err := range snapshot.Elements(t.Context(), m, large.Content) {
		must(t, err)
		data[e.ID] = true
	}
	root, target := m.dir(t, "", append(folders, large)...), t.TempDir()
	check := func(what string, o restore.Options, want int) {
		t.Helper()
		var a announced
		o.Announce, o.Sum = a.announce, sumData
		run(t, m, root, target, o)
		if len(a.ids) != want || a.open != 0 {
			t.Errorf("%s: %d blobs were announced, want %d; %d announcements are not done", what, len(a.ids), want, a.open)
		}
		for id := range a.ids {
			if !data[id] {
				t.Errorf("%s: %s is no data", what, id)
			}
		}
		if want > 0 && a.most < 2 {
			t.Errorf("%s: nothing was announced ahead", what)
		}
	}
	check("dry run", restore.Options{DryRun: true}, 0)
	check("new", restore.Options{Workers: 2}, len(data))
	check("unchanged", restore.Options{Workers: 2, Overwrite: restore.OverwriteIfChanged, Verify: true}, 0)
	check("over again", restore.Options{Workers: 2, Overwrite: restore.OverwriteAlways}, len(data))
}

// TestAnnounceEnds ends a run in the middle: what was announced is done all the same.
func TestAnnounceEnds(t *testing.T) {
	m := newMemory()
	var files []snapshot.Node
	for i := range 3000 {
		files = append(files, m.file(t, fmt.Sprintf("%04d", i), randomText(i+1)))
	}
	root := m.dir(t, "", append(files, m.file(t, "large", randomText(20<<20)))...)
	for _, after := range []uint64{1, 500_000, 10 << 20} {
		var a announced
		ctx, cancel := context.WithCancel(t.Context())
		_, err := restore.Run(ctx, m, root, t.TempDir(), restore.Options{Workers: 2, Announce: a.announce}, &stopper{after: after, stop: cancel})
		if err == nil || a.open != 0 {
			t.Errorf("after %d bytes: %v, %d announcements are not done", after, err, a.open)
		}
		cancel()
	}
}

// stopper ends a run after some bytes.
type stopper struct {
	mu    sync.Mutex // guards after
	after uint64
	stop  func()
}

func (s *stopper) Event(restore.Event) {}

func (s *stopper) Wrote(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after = s.after - min(n, s.after); s.after == 0 {
		s.stop()
	}
}
