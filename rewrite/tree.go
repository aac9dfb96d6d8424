package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
	"golang.org/x/sync/errgroup"
)

// Action says what becomes of an entry.
type Action uint8

// The actions.
const (
	Keep Action = iota // it stays, as it is now; a folder is gone through
	Drop               // it is left out, with all below it
	Done               // a folder: it stays, and its content is the new one already
)

// levelsMax bounds the depth of folders, as readers do.
const levelsMax = 16384

// batchMax is how many entries are held at a time.
const batchMax = 256

// Tree rewrites folders. From, Lists and Edit must be set.
type Tree struct {
	From  snapshot.Loader
	Lists snapshot.Lists // where the new folders are stored
	// Edit decides about an entry, and may change it. path has no slash in front. worker is from 0 to below Workers, and no two calls with the
	// same one are under way.
	Edit    func(ctx context.Context, worker int, path string, n *snapshot.Node) (Action, error)
	Workers int // how many calls of Edit may run at a time; at least 1
	// Lost is told that some entries of a folder can't be read, after those that can; what it returns is added, unless the name is taken.
	// Without it that is an error.
	Lost func(ctx context.Context, path string, dir *snapshot.Node, names []string, err error) ([]snapshot.Node, error)
	// Left, if not nil, is told of each folder that was gone through, as it was and as it is now.
	Left func(path string, was, is *snapshot.Node)
}

// entry is one that waits to be stored.
type entry struct {
	node   snapshot.Node
	action Action
	err    error
}

// Folder goes through a folder and sets its content to the new one. path is the folder's own, empty for the root.
func (t *Tree) Folder(ctx context.Context, path string, dir *snapshot.Node) error {
	return t.folder(ctx, path, dir, 0)
}

func (t *Tree) folder(ctx context.Context, path string, dir *snapshot.Node, level int) error {
	if level > levelsMax {
		return fmt.Errorf("%s: folders nested more than %d deep", path, levelsMax)
	}
	was := *dir
	b := t.Lists.NewTreeBuilder()
	var names []string
	var lost error
	var lostNodes []snapshot.Node
	add := func(batch []entry) error { return t.batch(ctx, path, level, b, batch) }
	var batch []entry
	if t.Lost == nil { // nothing has to be looked at twice
		err := t.parts(ctx, dir.Content, func(n *snapshot.Node, err error) error {
			if err != nil {
				return fmt.Errorf("folder %q: %w", path, err)
			}
			if batch = append(batch, entry{node: *n}); len(batch) < batchMax {
				return nil
			}
			err = add(batch)
			batch = batch[:0]
			return err
		})
		if err != nil {
			return err
		}
	} else {
		err := t.parts(ctx, dir.Content, func(n *snapshot.Node, err error) error {
			if err != nil {
				lost = errors.Join(lost, err)
				return nil
			}
			batch, names = append(batch, entry{node: *n}), append(names, n.Name)
			return nil
		})
		if err != nil {
			return err
		}
		if lost != nil {
			if lostNodes, err = t.Lost(ctx, path, dir, names, lost); err != nil {
				return err
			}
		}
		for _, n := range lostNodes {
			if !slices.Contains(names, n.Name) {
				batch = append(batch, entry{node: n})
			}
		}
		slices.SortFunc(batch, func(x, y entry) int { return strings.Compare(x.node.Name, y.node.Name) })
	}
	if err := add(batch); err != nil {
		return err
	}
	content, err := b.Finish(ctx)
	if err != nil {
		return err
	}
	dir.Content = content
	if t.Left != nil {
		t.Left(path, &was, dir)
	}
	return nil
}

// batch edits entries and adds them to a folder.
func (t *Tree) batch(ctx context.Context, path string, level int, b *snapshot.TreeBuilder, batch []entry) error {
	if path != "" {
		path += "/"
	}
	if err := t.edit(ctx, path, batch); err != nil {
		return err
	}
	for i := range batch {
		e := &batch[i]
		if e.action == Drop {
			continue
		}
		if e.node.Type == snapshot.Dir && e.action == Keep {
			if err := t.folder(ctx, path+e.node.Name, &e.node, level+1); err != nil {
				return err
			}
		}
		if err := b.Add(ctx, &e.node); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (t *Tree) edit(ctx context.Context, prefix string, batch []entry) error {
	workers := min(max(t.Workers, 1), len(batch))
	if workers <= 1 {
		for i := range batch {
			var err error
			if batch[i].action, err = t.Edit(ctx, 0, prefix+batch[i].node.Name, &batch[i].node); err != nil {
				return err
			}
		}
		return nil
	}
	next := make(chan *entry)
	g, gctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			for e := range next {
				if gctx.Err() != nil {
					continue // the channel must run dry
				}
				if e.action, e.err = t.Edit(gctx, w, prefix+e.node.Name, &e.node); e.err != nil {
					return e.err
				}
			}
			return nil
		})
	}
	for i := range batch {
		select {
		case next <- &batch[i]:
		case <-gctx.Done():
		}
	}
	close(next)
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// parts calls fn for each node of a folder, and with an error for each part of it that can't be read. It goes on as long as fn returns nil.
func (t *Tree) parts(ctx context.Context, c snapshot.Content, fn func(*snapshot.Node, error) error) error {
	last := ""
	for _, e := range c.Elements {
		data, err := t.load(ctx, e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err != nil:
			err = fn(nil, err)
		case c.Depth == 0:
			err = nodes(data, &last, fn)
		default:
			var below []snapshot.Element
			if below, err = list(data, e); err != nil {
				err = fn(nil, err)
			} else {
				err = t.parts(ctx, snapshot.Content{Depth: c.Depth - 1, Elements: below}, fn)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) load(ctx context.Context, e snapshot.Element) (string, error) {
	if e.IsZeros() {
		return "", errors.New("zeros stand where a folder should be")
	}
	data, err := t.From.Load(ctx, blob.Tree, e.ID)
	return string(data), err
}

// list decodes a list of elements, whose lengths must add up to what the element above it says.
func list(data string, above snapshot.Element) (below []snapshot.Element, err error) {
	var sum uint64
	for data != "" {
		var e snapshot.Element
		if e, data, err = snapshot.CutElement(data); err != nil {
			return nil, fmt.Errorf("content list %s: %w", above.ID.Short(), err)
		}
		if sum += e.Length; sum > above.Length {
			break
		}
		below = append(below, e)
	}
	if sum != above.Length {
		return nil, fmt.Errorf("content list %s: its length is wrong", above.ID.Short())
	}
	return below, nil
}

// nodes decodes the nodes in one blob of a folder.
func nodes(data string, last *string, fn func(*snapshot.Node, error) error) error {
	for data != "" {
		n := new(snapshot.Node)
		rest, err := snapshot.CutNode(data, n)
		if err == nil && n.Name <= *last {
			err = fmt.Errorf("folder entry %q comes after %q", n.Name, *last)
		}
		if err != nil {
			return fn(nil, err)
		}
		*last, data = n.Name, rest
		if err := fn(n, nil); err != nil {
			return err
		}
	}
	return nil
}
