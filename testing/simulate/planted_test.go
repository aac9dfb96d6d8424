package simulate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// edit is a change of a source file: old, which must be there exactly once, becomes new.
type edit struct{ file, old, new string }

// planted are bugs, each a change of the program's source that some engineer could have made. TestPlanted has to find them all.
var planted = []struct {
	name  string
	edits []edit
}{
	{"the index is not put before the snapshot", []edit{{"repo/writer.go",
		"	return w.putIndex(ctx)\n}\n\n// uploaded", "	return nil\n}\n\n// uploaded"}}},
	{"packs are not put before the snapshot", []edit{{"repo/writer.go",
		"	if err := w.Flush(ctx); err != nil {\n		return blob.Name{}, err\n	}\n	name, err := w.putObject(ctx, snapshotName",
		"	defer w.Flush(ctx)\n	name, err := w.putObject(ctx, snapshotName"}}},
	{"trash is read after the index", []edit{
		{"repo/view.go", "	if err := r.readTrash(ctx, v); err != nil {\n		return err\n	}\n	return r.list(", "	return r.list("},
		{"repo/view.go", "	return v, r.completeView(ctx, v)\n}\n\n// lookAtPacks", "	if err := r.readTrash(ctx, v); err != nil {\n		return nil, err\n	}\n" +
			"	for n := range v.Packs {\n		if v.Trashed[n] {\n			v.Doomed[n] = v.Packs[n]\n			delete(v.Packs, n)\n			v.Index.Remove(n)\n		}\n	}\n" +
			"	return v, r.completeView(ctx, v)\n}\n\n// lookAtPacks"}}},
	{"views don't look at the trash", []edit{{"repo/view.go", "		if v.Trashed[n] {\n			v.Doomed[n] = size\n			return\n		}\n", ""}}},
	{"the index is trusted for packs that are not listed", []edit{
		{"repo/view.go", "		_, listed := v.Packs[l.Name]\n		if !listed && !v.live {\n			x = v.DoomedIndex\n			_, listed = v.Doomed[l.Name]\n		}\n",
			"		if _, doomed := v.Doomed[l.Name]; doomed {\n			x = v.DoomedIndex\n		}\n"},
		{"repo/view.go", "!listed || have {", "have {"}}},
	{"writers refer to what is in trash", []edit{{"repo/writer.go",
		"	if _, ok := w.view.Index.Lookup(id); ok && (w.options", "	if ok := len(w.view.Copies(id, nil)) > 0; ok && (w.options"}}},
	{"the view is taken before the session is put", []edit{{"repo/writer.go",
		"	if err := r.BeginSession(ctx, o.Session); err != nil {\n		return nil, err\n	}\n	v, err := r.Refresh(ctx)\n",
		"	v, err := r.Refresh(ctx)\n	if err != nil {\n		return nil, err\n	}\n	err = r.BeginSession(ctx, o.Session)\n"}}},
	{"nobody asks whether the session still stands", []edit{{"repo/session.go",
		"	return sessions[id] && !evictions[id], nil", "	return len(sessions)+len(evictions) >= 0, nil"}}},
	{"the session is ended before the snapshot is put", []edit{
		{"repo/writer.go", "	name, err := w.PutSnapshot(ctx, record)\n	if err != nil {\n		return name, err\n	}\n	ok, err := w.repo.Stands(ctx, w.Session())\n",
			"	ok, err := w.repo.Stands(ctx, w.Session())\n	if err == nil && ok {\n		err = w.repo.EndSession(ctx, w.Session())\n	}\n" +
				"	if err != nil {\n		return blob.Name{}, err\n	}\n	name, err := w.PutSnapshot(ctx, record)\n"}}},
	{"an eviction leaves no mark", []edit{{"repo/session.go",
		"	if err := r.storage.Put(ctx, evictionName(id), []byte(evictionBody)); err != nil {\n		return fmt.Errorf(\"evict session %s: %w\", id, err)\n	}\n", ""}}},
	{"a snapshot whose put failed is taken for absent", []edit{{"repo/writer.go", "	if w.unsure.Load() {\n", "	if false {\n"}}},
	{"there is no second look", []edit{{"repo/prune/prune.go",
		"		if view, err = p.secondLook(ctx); err != nil { // P7", "		if view, err = p.repo.TakeView(ctx); err != nil {"}}},
	{"the second look knows the snapshots of the first only", []edit{{"repo/prune/look.go",
		"		v, err := p.repo.TakeLiveView(ctx)\n", "		if p.first != nil {\n			fresh = nil\n		}\n		v, err := p.repo.TakeLiveView(ctx)\n"}}},
	{"what is in trash only is taken for safe", []edit{{"repo/prune/look.go", "		p.trashOnly.Add(id)\n", ""}}},
	{"what is in trash only is taken for lost", []edit{{"repo/prune/look.go", "		t.err = t.pruner.repo.LookIntoTrash(ctx, t.view)\n", ""}}},
	{"packs go before their blobs are durable elsewhere", []edit{{"repo/prune/repack.go",
		"				return nil, err\n			}\n		}\n		return failed, p.writer.FinishParity(ctx)\n", "				return nil, err\n			}\n		}\n		return failed, nil\n"}}},
	{"trash waits for nobody", []edit{{"repo/prune/sessions.go", "		if s.Purpose == repo.PurposePrune {", "		if s.Purpose != \"\" {"}}},
	{"trash waits for one of the sessions, not for all", []edit{{"repo/prune/sessions.go",
		"		if len(open) == 0 {", "		if len(open) == 0 || len(open) < len(w.Sessions) {"}}},
	{"a session is over when it is old", []edit{{"repo/prune/sessions.go",
		"		if len(open) == 0 {", "		if len(open) == 0 || p.options.Now().Sub(w.Time) > 12*time.Hour {"}}},
	{"trash is ripe when it is a day old, whoever is there", []edit{{"repo/prune/sessions.go",
		"		if len(open) == 0 {", "		if p.options.Now().Sub(w.Time) > 24*time.Hour {"}}},
	{"a partial snapshot ends its session", []edit{{"repo/prune/sessions.go", "		if !b.partial {", "		if b != nil {"}}},
	{"sessions are listed before the trash is put", []edit{
		{"repo/prune/prune.go", "	if err := p.discard(ctx, plan); err != nil { // P4\n		return err\n	}\n	ripe, err := p.wait(ctx) // P5, P6\n",
			"	list, err := p.repo.Sessions(ctx)\n	if err != nil {\n		return err\n	}\n	if err := p.discard(ctx, plan); err != nil {\n		return err\n	}\n" +
				"	ripe, err := p.wait(ctx, list)\n"},
		{"repo/prune/sessions.go", "func (p *pruner) wait(ctx context.Context) (", "func (p *pruner) wait(ctx context.Context, list []repo.Session) ("},
		{"repo/prune/sessions.go", "p.putWaits(ctx, missing)", "p.putWaits(ctx, missing, list)"},
		{"repo/prune/sessions.go", "func (p *pruner) putWaits(ctx context.Context, trash []blob.Name) (", "func (p *pruner) putWaits(ctx context.Context, trash []blob.Name, list []repo.Session) ("},
		{"repo/prune/sessions.go", "	list, err := p.repo.Sessions(ctx)\n	if err != nil {\n		return nil, err\n	}\n	w := repo.Wait{", "	w := repo.Wait{"}}},
	{"a backup asks in the end whether its packs are there, and not for its session", []edit{{"repo/writer.go",
		"	ok, err := w.repo.Stands(ctx, w.Session())\n", "	ok, there := true, map[blob.Name]bool{}\n" +
			"	err = w.repo.list(ctx, dataDir, func(n blob.Name, size int64) { there[n] = true })\n" +
			"	for n := range w.view.Packs {\n		ok = ok && there[n]\n	}\n"}}},
	{"a trash object goes before its packs", []edit{{"repo/prune/empty.go",
		"	for _, d := range ripe {\n		for _, name := range v.Trash[d] {", "	for _, d := range ripe {\n		p.repo.RemoveTrash(ctx, d)\n		for _, name := range v.Trash[d] {"}}},
	{"a look that failed is gone on with", []edit{{"repo/prune/look.go",
		"		p.marker, p.seen, p.result.Unconfirmed = newMarker(p), map[blob.Name]*backup{}, 0\n", ""},
		{"repo/prune/mark.go", "	if _, ok := w.view.Index.Lookup(id); !ok && !w.pruner.trash.has(ctx, id) {\n" +
			"		w.fail(a, fmt.Errorf(\"%s %s: %w\", kind, id.Short(), errMoved))\n		return false\n	}\n	w.live.Add(id)\n",
			"	_, ok := w.view.Index.Lookup(id)\n	ok = ok || w.pruner.trash.has(ctx, id)\n	w.live.Add(id)\n	if !ok {\n		w.fail(a, fmt.Errorf(\"%s %s: %w\", kind, id.Short(), errMoved))\n		return false\n	}\n"}}},
	{"the new index forgets packs that came meanwhile", []edit{{"repo/consolidate.go",
		"	if err := r.list(ctx, dataDir, func(n blob.Name, size int64) { there[n] = true }); err != nil {\n		return 0, 0, err\n	}\n",
		"	for n := range v.Packs {\n		there[n] = true\n	}\n"}}},
	{"the old index goes before the new one is put", []edit{{"repo/consolidate.go",
		"		done = append(done, name)\n", "		done = append(done, name)\n		r.storage.Remove(ctx, indexName(name))\n"}}},
	{"a successor is not looked up, whatever is in trash", []edit{{"repo/successor/successor.go",
		"len(w.View().Trash) == 0 && !evicted", "!evicted"}}},
	{"the successor of an unconfirmed snapshot is not looked up", []edit{{"repo/successor/successor.go",
		" && !evicted[rec.Session]", " && evicted != nil"}}},
	{"nobody looks after the view whether the old snapshot is still there", []edit{
		{"repo/successor/successor.go", "	w, err := r.NewWriter(ctx, o.Writer())\n	if err != nil {\n		return name, err\n	}\n",
			"	data, err := r.LoadSnapshot(ctx, o.Old)\n	if err != nil {\n		return name, err\n	}\n" +
				"	w, err := r.NewWriter(ctx, o.Writer())\n	if err != nil {\n		return name, err\n	}\n"},
		{"repo/successor/successor.go", "record(ctx, r, w, o)", "record(ctx, r, w, o, data)"},
		{"repo/successor/successor.go", "w *repo.Writer, o Options) (*snapshot.Record, error) {\n	names, err := r.SnapshotNames(ctx)\n	if err != nil {\n" +
			"		return nil, err\n	}\n	if !slices.Contains(names, o.Old) {\n		return nil, ErrGone\n	}\n	data, err := r.LoadSnapshot(ctx, o.Old)\n	if err != nil {\n" +
			"		return nil, err\n	}\n", "w *repo.Writer, o Options, data []byte) (*snapshot.Record, error) {\n"},
		{"repo/successor/successor.go", "	\"slices\"\n", ""}}},
	{"what a successor lacks is not stored again", []edit{{"rewrite/copy.go", "	if ok && c.Has(to) {", "	if ok && (c.Has(to) || c.Same) {"}}},
}

// TestPlanted plants each bug in a copy of the source that only a compiler of its own sees, and wants the simulation to notice.
func TestPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("short: each bug takes a compiler's run")
	}
	if os.Getenv("TARN_SEED") != "" {
		t.Skip("a part of the seeds")
	}
	_, n := seeds(t)
	n = min(n, seedsUsual) // also in a soak
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, bug := range planted {
		t.Run(strings.ReplaceAll(bug.name, " ", "_"), func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "simulate.test")
			build := exec.Command("go", "test", "-c", "-o", program, "-overlay", overlay(t, root, bug.edits), ".")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			run := exec.Command(program, "-test.run", "^TestSeeds$")
			run.Env = append(os.Environ(), fmt.Sprintf("TARN_SEEDS=%d", n))
			out, err := run.CombinedOutput()
			var exit *exec.ExitError
			if err == nil {
				t.Fatalf("nobody noticed within %d seeds", n)
			}
			if !errors.As(err, &exit) || !strings.Contains(string(out), "to see it again") {
				t.Fatalf("%v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "step") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// overlay writes the changed files and returns the name of the list of them that the go command reads.
func overlay(t *testing.T, root string, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		text, ok := texts[path]
		if !ok {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has %d times, want once, what the bug changes: adapt it to the source as it is now:\n%s", e.file, n, e.old)
		}
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	list := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range texts {
		changed := filepath.Join(dir, fmt.Sprintf("%d-%s", len(list.Replace), filepath.Base(path)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list.Replace[path] = changed
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
