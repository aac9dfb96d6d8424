package prune_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func create(t testing.TB, s storage.Storage) *repo.Repo {
	t.Helper()
	r, err := repo.Init(context.Background(), s, []byte("p"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// backup is a session that saves files of one blob each.
type backup struct {
	t     testing.TB
	w     *repo.Writer
	lane  *repo.Lane
	files map[string]string
}

func begin(t testing.TB, r *repo.Repo) *backup {
	t.Helper()
	w, err := r.NewWriter(context.Background(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "host", "user", "test")})
	if err != nil {
		t.Fatal(err)
	}
	return &backup{t, w, w.Lane(), map[string]string{}}
}

// record saves files, and returns the record of a snapshot of them.
func (b *backup) record(at int, files map[string]string) *snapshot.Record {
	b.t.Helper()
	ctx := context.Background()
	lists := snapshot.Lists{Saver: b.lane, Cutter: cutter{}, Max: 1 << 20}
	tree := lists.NewTreeBuilder()
	for i := range 1000 {
		name := fmt.Sprintf("%03d", i)
		text, ok := files[name]
		if !ok {
			continue
		}
		id, err := b.lane.Save(ctx, blob.Data, []byte(text))
		if err != nil {
			b.t.Fatal(err)
		}
		n := snapshot.Node{Name: name, Type: snapshot.File, Size: uint64(len(text)),
			Content: snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(len(text))}}}}
		if err := tree.Add(ctx, &n); err != nil {
			b.t.Fatal(err)
		}
	}
	content, err := tree.Finish(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return &snapshot.Record{Time: time.Unix(int64(at), 0), Host: "host", Paths: []string{"/"}, Session: b.w.Session(),
		Root: snapshot.Node{Type: snapshot.Dir, Content: content}}
}

// cutter never cuts.
type cutter struct{}

func (cutter) Cut(p []byte) int { return len(p) }

func (b *backup) commit(at int, files map[string]string) blob.Name {
	b.t.Helper()
	name, err := b.w.Commit(context.Background(), b.record(at, files).Encode())
	if err != nil {
		b.t.Fatal(err)
	}
	return name
}

func save(t testing.TB, r *repo.Repo, at int, files map[string]string) blob.Name {
	t.Helper()
	return begin(t, r).commit(at, files)
}

func options() prune.Options {
	return prune.Options{Session: repo.NewSession(repo.PurposePrune, "host", "user", "test"), MaxUnused: prune.Limit{Bounded: true}}
}

func run(t testing.TB, r *repo.Repo, o prune.Options) prune.Result {
	t.Helper()
	o.Warn = func(err error) { t.Errorf("warning: %v", err) }
	result, err := prune.Run(context.Background(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, r)
	return result
}

func sound(t testing.TB, r *repo.Repo) {
	t.Helper()
	_, err := check.Run(context.Background(), r, check.Options{ReadData: true}, func(f check.Finding) { t.Errorf("check: %v", f) })
	if err != nil {
		t.Errorf("check: %v", err)
	}
}

// whole reads all files of a snapshot.
func whole(t testing.TB, r *repo.Repo, name blob.Name, want map[string]string) {
	t.Helper()
	ctx := context.Background()
	body, err := r.LoadSnapshot(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := snapshot.DecodeRecord(body)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for n, err := range snapshot.Entries(ctx, r, rec.Root.Content) {
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Load(ctx, blob.Data, n.Content.Elements[0].ID)
		if err != nil || string(data) != want[n.Name] {
			t.Fatalf("file %s: %d bytes, %v", n.Name, len(data), err)
		}
		got++
	}
	if got != len(want) {
		t.Errorf("%d files, want %d", got, len(want))
	}
}

func listed(t testing.TB, s storage.Storage) map[string]int {
	t.Helper()
	count := map[string]int{}
	err := s.List(context.Background(), "", func(name string, size int64) error {
		folder, _, _ := strings.Cut(name, "/")
		count[folder]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// random makes files of which changed ones have new contents.
func random(rng *rand.Rand, files int) map[string]string {
	m := map[string]string{}
	for i := range files {
		m[fmt.Sprintf("%03d", i)] = text(rng)
	}
	return m
}

func text(rng *rand.Rand) string {
	b := make([]byte, 100+rng.IntN(3000))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

func change(rng *rand.Rand, files map[string]string) map[string]string {
	m := map[string]string{}
	for name, old := range files {
		if m[name] = old; rng.IntN(3) == 0 {
			m[name] = text(rng)
		}
	}
	return m
}

// TestForgetAndPrune forgets snapshots of a changing tree one after the other: what is left is whole, and nothing else is stored.
func TestForgetAndPrune(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := memory.New()
	r := create(t, s)
	var names []blob.Name
	var contents []map[string]string
	files := random(rng, 60)
	for i := range 12 {
		names, contents = append(names, save(t, r, i, files)), append(contents, files)
		files = change(rng, files)
	}
	for len(names) > 0 {
		n := rng.IntN(len(names))
		if err := r.RemoveSnapshot(t.Context(), names[n]); err != nil {
			t.Fatal(err)
		}
		names, contents = append(names[:n], names[n+1:]...), append(contents[:n], contents[n+1:]...)
		dry := options()
		dry.DryRun, dry.Session = true, repo.Session{}
		before := listed(t, s)
		planned := run(t, r, dry)
		if after := listed(t, s); fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("a dry run changed %v to %v", before, after)
		}
		result := run(t, r, options())
		if planned.Trashed.Packs+planned.Repacked.Packs != result.Removed.Packs || result.Waiting.Packs != 0 || result.Left != 0 {
			t.Errorf("planned %+v, did %+v", planned, result)
		}
		for i := range names {
			whole(t, r, names[i], contents[i])
		}
		if again := run(t, r, options()); again.Trashed.Packs != 0 || again.Unused != 0 || again.Stored != 0 {
			t.Errorf("there was something left to do: %+v", again)
		}
		if got := listed(t, s); got["trash"]+got["wait"]+got["sessions"] > 0 || got["index"] > 1 {
			t.Errorf("stored: %v", got)
		}
	}
	if got := listed(t, s); got["data"]+got["index"] > 0 {
		t.Errorf("nothing is needed, and there is %v", got)
	}
}

// TestWaits has a backup under way that refers to what is put into trash: its packs stay until it is over, and then what it needs is taken out.
func TestWaits(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	s := memory.New()
	r := create(t, s)
	files := random(rng, 20)
	old := save(t, r, 1, files)
	b := begin(t, r)
	if err := r.RemoveSnapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	result := run(t, r, options())
	if result.Removed.Packs != 0 || result.Waiting.Packs == 0 || len(result.Waits) != 1 || result.Waits[0] != b.w.Session() {
		t.Fatalf("while a backup is under way: %+v", result)
	}
	later := begin(t, r)
	if later.w.View().Index.Len() != 0 {
		t.Error("who begins later sees what is in trash")
	}
	if err := later.w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := b.commit(2, files)
	if _, _, stored := b.w.Added(); stored > 200<<10 {
		t.Errorf("the backup stored %d bytes, though it might refer to what is there", stored)
	}
	fresh, err := r.Fresh()
	if err != nil {
		t.Fatal(err)
	}
	whole(t, fresh, name, files) // from trash
	sound(t, r)
	result = run(t, r, options())
	if result.Rescued == 0 || result.Removed.Packs == 0 || result.Waiting.Packs != 0 {
		t.Errorf("when it is over: %+v", result)
	}
	whole(t, r, name, files)
	if again := run(t, r, options()); again.Trashed.Packs+again.Removed.Packs > 0 {
		t.Errorf("again: %+v", again)
	}
}

// TestEvicted has a backup that is evicted while it runs: prune goes on without it, and it must not succeed.
func TestEvicted(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	s := memory.New()
	r := create(t, s)
	files := random(rng, 20)
	old := save(t, r, 1, files)
	b := begin(t, r)
	if err := r.RemoveSnapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if result := run(t, r, options()); result.Removed.Packs != 0 {
		t.Fatal("removed")
	}
	if err := r.Evict(t.Context(), b.w.Session()); err != nil {
		t.Fatal(err)
	}
	if result := run(t, r, options()); result.Removed.Packs == 0 || result.Waiting.Packs > 0 {
		t.Errorf("after the eviction: %+v", result)
	}
	if _, err := b.w.Commit(t.Context(), b.record(2, files).Encode()); !errors.Is(err, repo.ErrEvicted) {
		t.Errorf("got %v", err)
	}
	// The unconfirmed snapshot stops nobody.
	o := options()
	result, err := prune.Run(t.Context(), r, o)
	if err != nil || result.Unconfirmed != 1 {
		t.Errorf("with an unconfirmed snapshot: %+v, %v", result, err)
	}
}

// TestGone evicts the sessions of processes that ended, and those that stood in a list for a week.
func TestGone(t *testing.T) {
	s := memory.New()
	r := create(t, s)
	rng := rand.New(rand.NewPCG(4, 4))
	old := save(t, r, 1, random(rng, 5))
	dead, silent := begin(t, r), begin(t, r)
	if err := r.RemoveSnapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Gone = func(s repo.Session) bool { return s.ID == dead.w.Session() }
	result := run(t, r, o)
	if len(result.Evicted) != 1 || result.Evicted[0] != dead.w.Session() || len(result.Waits) != 1 || result.Removed.Packs != 0 {
		t.Errorf("first: %+v", result)
	}
	o = options()
	o.Now = func() time.Time { return time.Now().Add(6 * 24 * time.Hour) }
	if result := run(t, r, o); len(result.Evicted) != 0 || result.Removed.Packs != 0 {
		t.Errorf("after six days: %+v", result)
	}
	o = options()
	o.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	if result := run(t, r, o); len(result.Evicted) != 1 || result.Evicted[0] != silent.w.Session() || result.Removed.Packs == 0 {
		t.Errorf("after eight days: %+v", result)
	}
}

// TestDamagedStops: while a snapshot needs what is nowhere, nothing is removed.
func TestDamagedStops(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	s := memory.New()
	r := create(t, s)
	first := save(t, r, 1, random(rng, 10))
	save(t, r, 2, random(rng, 10))
	if err := r.RemoveSnapshot(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	var packs []string
	s.List(t.Context(), "data/", func(name string, size int64) error { packs = append(packs, name); return nil })
	before := listed(t, s)["data"]
	for _, name := range packs {
		broken := s.Clone()
		if err := broken.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		rb, err := r.WithStorage(broken)
		if err != nil {
			t.Fatal(err)
		}
		_, err = prune.Run(t.Context(), rb, options())
		if errors.Is(err, prune.ErrDamaged) {
			if got := listed(t, broken)["data"]; got != before-1 {
				t.Errorf("%d packs are left of %d", got, before-1)
			}
			if got := listed(t, broken); got["sessions"] > 0 || got["trash"] > 0 {
				t.Errorf("left behind: %v", got)
			}
			return
		}
		if err != nil {
			t.Errorf("got %v", err)
		}
	}
	t.Error("no pack is missed")
}

// TestMaxRepack and the limit of what may be unused bound what is stored again.
func TestLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	r := create(t, memory.New())
	var names []blob.Name
	files := random(rng, 60)
	for i := range 6 {
		names = append(names, save(t, r, i, files))
		files = change(rng, files)
	}
	for _, n := range names[:3] {
		if err := r.RemoveSnapshot(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	o := options()
	o.MaxUnused = prune.Limit{Share: 1, Bounded: true}
	if result := run(t, r, o); result.Repacked.Packs != 0 || result.Left == 0 {
		t.Errorf("unlimited: %+v", result)
	}
	o = options()
	o.MaxRepack = 1
	if result := run(t, r, o); result.Repacked.Packs != 0 || result.Left == 0 {
		t.Errorf("nothing may be stored again: %+v", result)
	}
	if result := run(t, r, options()); result.Repacked.Packs == 0 || result.Left != 0 {
		t.Errorf("no limit: %+v", result)
	}
}

// TestMerge puts small packs together, once.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	s := memory.New()
	r := create(t, s)
	contents := map[blob.Name]map[string]string{}
	for i := range 10 {
		files := random(rng, 10)
		contents[save(t, r, i, files)] = files
	}
	if result := run(t, r, options()); result.Repacked.Packs != 10 || result.Removed.Packs != 10 || result.IndexMade != 1 {
		t.Errorf("got %+v", result)
	}
	if got := listed(t, s); got["data"] != 1 || got["index"] != 1 {
		t.Errorf("stored: %v", got)
	}
	for name, files := range contents {
		whole(t, r, name, files)
	}
}
