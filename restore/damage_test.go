package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// What can't be read is reported, nothing is left that looks complete, and the rest is restored.
func TestMissingBlobs(t *testing.T) {
	for _, size := range []int{100, 3*chunk + 5, 20 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m, target := newMemory(), t.TempDir()
			content := randomText(size)
			root := m.dir(t, "", m.file(t, "after", "good"), m.dir(t, "d", m.file(t, "damaged", content)), m.file(t, "z", "good"))
			last := (size - 1) / chunk * chunk
			lost := sumData([]byte(content[last:]))
			m.lose(lost)
			sum, err := restore.Run(context.Background(), m, root, target, restore.Options{Verify: true}, nil)
			if !errors.Is(err, restore.ErrIncomplete) || !strings.Contains(err.Error(), "d/damaged") || !strings.Contains(err.Error(), lost.String()) {
				t.Errorf("error %v", err)
			}
			if sum.Failed.Count != 1 || sum.Files != 2 || sum.Verified != 2 {
				t.Errorf("%+v", sum)
			}
			absent(t, target, "d", "damaged")
			read(t, target, "after")
			read(t, target, "z")
		})
	}
}

// A damaged blob of a long list takes only its own entries with it.
func TestDamagedFolderList(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	var nodes []snapshot.Node
	for i := range 1000 {
		nodes = append(nodes, m.file(t, fmt.Sprintf("file-%04d", i), "x"))
	}
	root := m.dir(t, "", m.dir(t, "many", nodes...), m.file(t, "z", "good"))
	many := m.dir(t, "many", nodes...)
	var blobs []blob.ID
	for e, err := range snapshot.Elements(context.Background(), m, many.Content) {
		must(t, err)
		blobs = append(blobs, e.ID)
	}
	if len(blobs) < 4 {
		t.Fatalf("%d blobs", len(blobs))
	}
	m.lose(blobs[1])
	sum, err := restore.Run(context.Background(), m, root, target, restore.Options{}, nil)
	if !errors.Is(err, restore.ErrIncomplete) || sum.Failed.Examples[0].Path != "many" {
		t.Errorf("error %v", err)
	}
	read(t, target, "many", "file-0000")
	read(t, target, "many", "file-0999")
	read(t, target, "z")
	if sum.Files < 500 || sum.Files > 990 {
		t.Errorf("%d files", sum.Files)
	}
}

func TestDoubtful(t *testing.T) {
	m := newMemory()
	torn, carried := m.file(t, "torn", "1"), m.file(t, "carried", "2")
	torn.State, carried.State = snapshot.Torn, snapshot.Carried
	sum := run(t, m, m.dir(t, "", m.dir(t, "d", carried, torn)), t.TempDir(), restore.Options{})
	for state, path := range map[snapshot.State]string{snapshot.Torn: "d/torn", snapshot.Carried: "d/carried"} {
		tally := sum.Doubtful[state]
		if tally.Count != 1 || tally.Examples[0].Path != path {
			t.Errorf("%v: %+v", state, tally)
		}
	}
}

// An interrupted run leaves no file that is not complete, and the next one finishes the work.
func TestInterrupted(t *testing.T) {
	m := newMemory()
	root, want := sample(t, m)
	for stop := 1; stop < 300; stop = stop*2 + 1 {
		target := filepath.Join(t.TempDir(), "target")
		ctx, cancel := context.WithCancelCause(context.Background())
		errEnough := errors.New("enough")
		n := 0
		m.onGet = func(blob.ID) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if n++; n == stop {
				cancel(errEnough)
			}
			return nil
		}
		_, err := restore.Run(ctx, m, root, target, restore.Options{Workers: 2}, nil)
		if !errors.Is(err, errEnough) {
			t.Fatalf("stopped after %d loads: %v", stop, err)
		}
		m.onGet = nil
		for path, content := range want {
			if b, err := os.ReadFile(filepath.Join(target, path)); err == nil && string(b) != content {
				t.Errorf("stopped after %d loads: %s is there with %d of %d bytes", stop, path, len(b), len(content))
			}
		}
		run(t, m, root, target, restore.Options{Overwrite: restore.OverwriteIfChanged})
		checkSample(t, target, want)
		cancel(nil)
	}
}

func TestVerifyFindsChanges(t *testing.T) {
	m, target := newMemory(), t.TempDir()
	root := m.dir(t, "", m.file(t, "x", "right"))
	when := time.Unix(someTime.Sec, int64(someTime.Nsec))
	must(t, os.Chtimes(write(t, "wrong", target, "x"), when, when))
	for _, sum := range []func([]byte) blob.ID{nil, sumData} {
		o := restore.Options{Overwrite: restore.OverwriteIfChanged, Verify: true, Sum: sum}
		if _, err := restore.Run(context.Background(), m, root, target, o, nil); !errors.Is(err, restore.ErrIncomplete) {
			t.Errorf("error %v", err)
		}
	}
}
