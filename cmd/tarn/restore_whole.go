package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// wholeLine tells that a torn file is restored as an older snapshot has it.
type wholeLine struct {
	Type string `json:"type"`
	rawPath
	Snapshot string    `json:"snapshot"`
	Time     time.Time `json:"time"`
}

// wholes puts older versions, which are whole, in the places of torn files. The trees that change by this are kept in memory; nothing is
// written to the repository.
type wholes struct {
	app    *app
	repo   *repo.Repo
	older  []saved // of the same host, the newest first
	filter restore.Filter
	trees  sync.Map // of blob.ID: []byte
	took   []olderVersion
}

// olderVersion is the place in which a torn file was found whole.
type olderVersion struct {
	path string
	from saved
}

// wholesFor looks for the snapshots before s.
func (a *app) wholesFor(ctx context.Context, r *repo.Repo, s saved, f restore.Filter) (*wholes, error) {
	list, err := a.loadSnapshots(ctx, r, criteria{hosts: []string{s.Record.Host}})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(o saved) bool { return older(o, s) >= 0 })
	slices.Reverse(list)
	return &wholes{app: a, repo: r, older: list, filter: f}, nil
}

// Load is snapshot.Loader's.
func (w *wholes) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	if data, ok := w.trees.Load(id); ok && kind == blob.Tree {
		return data.([]byte), nil
	}
	return w.repo.Load(ctx, kind, id)
}

// Save is snapshot.Saver's.
func (w *wholes) Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	id := w.repo.ID(kind, plain)
	w.trees.Store(id, slices.Clone(plain))
	return id, ctx.Err()
}

// replace returns n, which the snapshot has at path, with whole versions in the places of torn files.
func (w *wholes) replace(ctx context.Context, path string, n snapshot.Node) (snapshot.Node, error) {
	path = strings.Trim(path, "/")
	if n.Type == snapshot.File && n.State == snapshot.Torn {
		return w.version(ctx, path, n.Name, n)
	}
	touched := map[string]bool{}
	err := snapshot.Walk(ctx, w, n, func(p string, n *snapshot.Node, err error) error {
		if err != nil || n.State != snapshot.Torn || n.Type != snapshot.File || !w.wanted(p) {
			return nil // what can't be read is told of by the restore
		}
		for touched[p] = true; p != ""; touched[p] = true {
			p = p[:max(strings.LastIndexByte(p, '/'), 0)]
		}
		return nil
	})
	if err != nil || len(touched) == 0 {
		return n, err
	}
	return w.rewrite(ctx, path, "", n, touched)
}

// wanted reports whether the restore takes a file.
func (w *wholes) wanted(path string) bool {
	if w.filter == nil {
		return true
	}
	for i := range path {
		if path[i] == '/' && w.filter.Match(path[:i], snapshot.Dir) == restore.Skip {
			return false
		}
	}
	return w.filter.Match(path, snapshot.File) == restore.Take
}

// rewrite copies the folder at a path below top, and goes below only where something is torn.
func (w *wholes) rewrite(ctx context.Context, top, at string, dir snapshot.Node, touched map[string]bool) (snapshot.Node, error) {
	meta := w.repo.MetaChunker()
	tree := (&snapshot.Lists{Saver: w, Cutter: meta, Max: meta.Params().Max}).NewTreeBuilder()
	cur := snapshot.NewCursor(ctx, w, dir.Content)
	defer cur.Close()
	var n snapshot.Node
	for cur.Next(&n) {
		path := strings.TrimPrefix(at+"/"+n.Name, "/")
		var err error
		switch {
		case !touched[path]:
			if err := tree.AddEncoded(ctx, n.Name, cur.Encoded()); err != nil {
				return dir, err
			}
			continue
		case n.Type == snapshot.Dir:
			n, err = w.rewrite(ctx, top, path, n, touched)
		default:
			n, err = w.version(ctx, strings.TrimPrefix(top+"/"+path, "/"), path, n)
		}
		if err == nil {
			err = tree.Add(ctx, &n)
		}
		if err != nil {
			return dir, err
		}
	}
	err := cur.Err()
	if err == nil {
		dir.Content, err = tree.Finish(ctx)
	}
	return dir, err
}

// version returns the newest whole version of a torn file, or the torn one if there is none.
func (w *wholes) version(ctx context.Context, path, shown string, torn snapshot.Node) (snapshot.Node, error) {
	for _, s := range w.older {
		n, err := snapshot.Lookup(ctx, w.repo, s.Record.Root, path)
		switch {
		case err != nil && !errors.Is(err, snapshot.ErrNotFound):
			w.app.warnf("look for %s in snapshot %s: %v", path, s.Name.Short(), err)
		case err == nil && n.Type == snapshot.File && n.State == snapshot.Whole:
			w.took = append(w.took, olderVersion{shown, s})
			return n, ctx.Err()
		}
	}
	return torn, ctx.Err()
}

// tell says what was taken from where.
func (w *wholes) tell() {
	if w.app.json {
		for _, v := range w.took {
			w.app.emit(wholeLine{"whole_version", rawPathOf(v.path), v.from.Name.String(), v.from.Record.Time})
		}
		return
	}
	if len(w.took) == 0 {
		return
	}
	w.app.sayf("%s torn in the snapshot, in whose place older versions were taken, which are whole:\n", counted(len(w.took), "file"))
	for i, v := range w.took {
		if i == problemsShown && !w.app.verbose {
			w.app.sayf("  and %s more: --verbose names all\n", count(len(w.took)-i))
			break
		}
		w.app.sayf("  %s: of %s (%s)\n", w.app.stderr.name(v.path), timeText(v.from.Record.Time), v.from.Name.Short())
	}
}
