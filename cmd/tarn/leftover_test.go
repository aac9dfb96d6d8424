package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// signed is a store that notes which large objects are put without the name of a session: what a kill leaves of one is never removed.
type signed struct {
	storage.Storage
	label string
	notes *notes
}

type notes struct {
	mu       sync.Mutex // guards unsigned
	unsigned []string
}

func (s signed) WithSession(label string) storage.Storage {
	s.label = label
	return s
}

func (s signed) Put(ctx context.Context, name string, data []byte) error {
	if folder, _, _ := strings.Cut(name, "/"); s.label == "" && (folder == "data" || folder == "parity") {
		s.notes.mu.Lock()
		s.notes.unsigned = append(s.notes.unsigned, name)
		s.notes.mu.Unlock()
	}
	return s.Storage.Put(ctx, name, data)
}

func (s signed) Leftovers(context.Context) ([]storage.Leftover, error) { return nil, nil }

func (s signed) RemoveLeftovers(context.Context, func(storage.Leftover) bool) ([]storage.Leftover, error) {
	return nil, nil
}

// TestPutsAreSigned: packs and parity that a backup, a prune or a repair puts carry its session, so that the next prune knows what a kill has left.
func TestPutsAreSigned(t *testing.T) {
	s := signed{Storage: memory.New(), notes: new(notes)}
	j := newJob(t, s)
	ratio := parity.Ratio{Width: 2, Shards: 1}
	if err := j.repo.SetParityPolicy(t.Context(), repo.Policy{Data: ratio, Meta: ratio}); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, err error) {
		t.Helper()
		if err != nil || len(s.notes.unsigned) > 0 {
			t.Errorf("%s: %v; without a session: %v", what, err, s.notes.unsigned)
		}
		s.notes.unsigned = nil
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(j.options.Paths[0], name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("kept", "the next snapshot needs it, too")
	first, err := j.run(t.Context())
	expect("backup", err)
	write("file", "changed")
	_, err = j.run(t.Context())
	expect("another backup", err)
	if err := j.repo.RemoveSnapshot(t.Context(), first.Name); err != nil {
		t.Fatal(err)
	}
	result, err := prune.Run(t.Context(), j.repo, prune.Options{Session: repo.NewSession(repo.PurposePrune, "h", "u", "p"), MaxUnused: prune.Limit{Bounded: true}})
	expect("prune", err)
	if result.Removed.Packs == 0 || result.Stored == 0 {
		t.Errorf("prune: %+v", result)
	}
	v, err := j.repo.TakeView(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name := range v.Packs {
		if err := j.repo.RemovePack(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		break
	}
	p, err := repair.PlanPacks(t.Context(), j.repo, repair.PacksOptions{})
	if err == nil && (len(p.Damaged) != 1 || p.Damaged[0].Way != repair.Rebuild) {
		t.Errorf("the plan is %+v", p.Damaged)
	}
	if err == nil {
		err = p.Run(t.Context(), repo.NewSession(repo.PurposeRepair, "h", "u", "p"))
	}
	expect("repair", err)
}
