package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
)

// mender makes the best of snapshots that lost something. It serves one goroutine.
type mender struct {
	from  snapshot.Loader
	has   func(blob.ID) bool
	lists snapshot.Lists
	all   []*saved
	whole map[blob.ID]bool // folders that were found to have lost nothing, and are passed over; nil if all is to be counted

	near    []*saved // snapshots to take lost entries from, the nearest first
	changes []Change
	more    int
	rec     *snapshot.Record // the new one
	taken   []string         // folders that are taken from another snapshot, with a slash behind them, and why
	reasons []string
}

// donorsMax is how many other snapshots are asked for what one lost.
const donorsMax = 16

func newMender(r *repo.Repo, from snapshot.Loader, has func(blob.ID) bool, to snapshot.Saver, all []*saved) *mender {
	return &mender{from: from, has: has, all: all,
		lists: snapshot.Lists{Saver: to, Cutter: r.MetaChunker(), Max: r.MetaChunker().Params().Max}}
}

// mend returns the record of what can be had of a snapshot, which counts that if whole is nil; changes says what is not as it was. The new record has no scan record, so that
// the next backup reads all files and finds again what was lost, where it is still there.
func (m *mender) mend(ctx context.Context, s *saved) (*snapshot.Record, error) {
	rec := *s.rec
	rec.Original, rec.Scan, rec.Problems = s.name, snapshot.Content{}, slices.Clone(s.rec.Problems)
	m.changes, m.more, m.rec, m.taken, m.reasons = nil, 0, &rec, nil, nil
	rec.ClearCount()
	m.near = m.neighbours(s)
	m.attributes("", &rec.Root)
	t := rewrite.Tree{From: m.from, Lists: m.lists, Edit: m.edit, Lost: m.lost, Left: m.left}
	if err := t.Folder(ctx, "", &rec.Root); err != nil {
		return nil, err
	}
	return &rec, nil
}

// neighbours are other snapshots of the same host and paths, the nearest in time first.
func (m *mender) neighbours(s *saved) []*saved {
	var near []*saved
	for _, o := range m.all {
		if o != s && o.name != s.name && o.rec.Original != s.name && o.rec.Host == s.rec.Host && slices.Equal(o.rec.Paths, s.rec.Paths) {
			near = append(near, o)
		}
	}
	slices.SortStableFunc(near, func(a, b *saved) int {
		return int(a.rec.Time.Sub(s.rec.Time).Abs()>>20) - int(b.rec.Time.Sub(s.rec.Time).Abs()>>20)
	})
	return near[:min(len(near), donorsMax)]
}

func (m *mender) change(path string, kind snapshot.ProblemKind, format string, args ...any) {
	c := Change{path, kind, fmt.Sprintf(format, args...)}
	if len(m.changes) == changesMax {
		m.more++
	} else {
		m.changes = append(m.changes, c)
	}
	m.rec.Problems = append(m.rec.Problems, snapshot.Problem{Kind: kind, Path: "/" + path, Reason: c.Reason})
}

// edit decides about one entry, and counts what stays.
func (m *mender) edit(ctx context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
	action, err := m.decide(ctx, path, n)
	if err == nil && action == rewrite.Keep {
		m.rec.Count(n)
	}
	return action, err
}

func (m *mender) decide(ctx context.Context, path string, n *snapshot.Node) (rewrite.Action, error) {
	if n.Type == snapshot.Dir && len(n.Content.Elements) == 1 && m.whole[n.Content.Elements[0].ID] && !m.fromOther(path, n) && !m.hasRefs(n) {
		return rewrite.Done, nil
	}
	m.attributes(path, n)
	if n.Type != snapshot.File {
		return rewrite.Keep, nil
	}
	lost, err := m.content(ctx, n)
	if err != nil {
		return rewrite.Drop, err
	}
	if lost == 0 {
		m.fromOther(path, n)
		return rewrite.Keep, nil
	}
	return m.replace(ctx, path, n, lost)
}

func (m *mender) hasRefs(n *snapshot.Node) bool {
	return slices.ContainsFunc(n.Xattrs, func(x snapshot.Xattr) bool { return !x.Ref.IsZero() })
}

// fromOther marks what lies in a folder that another snapshot gave, and reports whether it does.
func (m *mender) fromOther(path string, n *snapshot.Node) bool {
	for i, prefix := range m.taken {
		if path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path+"/", prefix) {
			if n.Type == snapshot.File {
				n.State = n.State.AsCarried()
				m.change(path, snapshot.ProblemCarry, "%s", m.reasons[i])
			}
			return true
		}
	}
	return false
}

// attributes leaves out extended attributes whose values are lost.
func (m *mender) attributes(path string, n *snapshot.Node) {
	if !m.hasRefs(n) {
		return
	}
	n.Xattrs = slices.DeleteFunc(slices.Clone(n.Xattrs), func(x snapshot.Xattr) bool {
		if x.Ref.IsZero() || m.has(x.Ref) {
			return false
		}
		m.change(path, snapshot.ProblemAttr, "the value of its attribute %s is lost", x.Name)
		return true
	})
}

// content sets a file's content to what is left of it, with zeros for what is not, and returns how many bytes are lost.
func (m *mender) content(ctx context.Context, n *snapshot.Node) (lost uint64, err error) {
	var left []snapshot.Element
	if lost, err = m.leafs(ctx, n.Content, &left); err != nil || lost == 0 {
		return lost, err
	}
	b := m.lists.NewContentBuilder()
	for _, e := range left {
		if err := b.Add(ctx, e); err != nil {
			return lost, err
		}
	}
	n.Content, err = b.Finish(ctx)
	return lost, err
}

// leafs appends the elements of a content that are left, and returns how many bytes are lost.
func (m *mender) leafs(ctx context.Context, c snapshot.Content, left *[]snapshot.Element) (lost uint64, err error) {
	for _, e := range c.Elements {
		if c.Depth == 0 {
			if !e.IsZeros() && !m.has(e.ID) {
				lost += e.Length
				e.ID = blob.ID{}
			}
			*left = append(*left, e)
			continue
		}
		at := len(*left)
		var below uint64
		for part, err := range snapshot.Below(ctx, m.from, snapshot.Content{Depth: c.Depth, Elements: []snapshot.Element{e}}) {
			if err == nil {
				below, err = m.leafs(ctx, part, left)
			}
			if ctx.Err() != nil {
				return lost, ctx.Err()
			}
			if err != nil { // the list itself is lost
				*left, below = append((*left)[:at], snapshot.Element{Length: e.Length}), e.Length
			}
		}
		lost += below
	}
	return lost, nil
}

// replace puts something in the place of a file that lost bytes: another snapshot's version, or its own with zeros, or nothing.
func (m *mender) replace(ctx context.Context, path string, n *snapshot.Node, lost uint64) (rewrite.Action, error) {
	was := n.Size
	other, from, err := m.donor(ctx, path, snapshot.File)
	if err != nil {
		return rewrite.Drop, err
	}
	switch {
	case other != nil:
		name := n.Name
		*n = *other
		n.Name, n.State = name, other.State.AsCarried()
		m.change(path, snapshot.ProblemCarry, "%d of its %d bytes are lost: it stands as snapshot %s has it", lost, was, from.Short())
	case lost == was:
		m.change(path, snapshot.Unreadable, "its content is lost")
		return rewrite.Drop, nil
	default:
		n.State = snapshot.Torn
		m.change(path, snapshot.ProblemTorn, "%d of its %d bytes are lost and read as zeros", lost, was)
	}
	return rewrite.Keep, nil
}

// donor finds an entry of a type in the neighbouring snapshots that has lost nothing itself.
func (m *mender) donor(ctx context.Context, path string, want snapshot.Type) (*snapshot.Node, blob.Name, error) {
	for _, s := range m.near {
		n, err := snapshot.Lookup(ctx, m.from, s.rec.Root, path)
		if ctx.Err() != nil {
			return nil, blob.Name{}, ctx.Err()
		}
		if err != nil || n.Type != want || m.hasRefs(&n) {
			continue
		}
		if want == snapshot.Dir {
			if len(n.Content.Elements) > 0 && readable(ctx, m.from, n) {
				return &n, s.name, nil
			}
			continue
		}
		var left []snapshot.Element
		if lost, err := m.leafs(ctx, n.Content, &left); err == nil && lost == 0 {
			return &n, s.name, nil
		}
	}
	return nil, blob.Name{}, ctx.Err()
}

// readable reports whether all entries of a folder can be read; what they contain is another question.
func readable(ctx context.Context, l snapshot.Loader, dir snapshot.Node) bool {
	for _, err := range snapshot.Entries(ctx, l, dir.Content) {
		if err != nil {
			return false
		}
	}
	return true
}

// lost gives what a neighbouring snapshot has in a folder, for entries that can't be read.
func (m *mender) lost(ctx context.Context, path string, _ *snapshot.Node, names []string, why error) ([]snapshot.Node, error) {
	other, from, err := m.donor(ctx, path, snapshot.Dir)
	if err != nil {
		return nil, err
	}
	if other == nil {
		m.change(path, snapshot.Unreadable, "entries of this folder are lost (%v)", firstLine(why))
		return nil, nil
	}
	reason := fmt.Sprintf("entries of its folder are lost: it stands as snapshot %s has it", from.Short())
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	var nodes []snapshot.Node
	for n, err := range snapshot.Entries(ctx, m.from, other.Content) {
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, n.Name) {
			continue
		}
		nodes = append(nodes, n)
		at := prefix + n.Name
		if n.Type == snapshot.Dir {
			at += "/"
		}
		m.taken, m.reasons = append(m.taken, at), append(m.reasons, reason)
	}
	m.change(path, snapshot.ProblemAttr, "entries of this folder are lost: snapshot %s gives %d in their place", from.Short(), len(nodes))
	return nodes, nil
}

func firstLine(err error) error {
	line, _, more := strings.Cut(err.Error(), "\n")
	if more {
		line += ", and others"
	}
	return errors.New(line)
}

// left notes folders that came out as they went in: they need not be gone through again in another snapshot.
func (m *mender) left(_ string, was, is *snapshot.Node) {
	if a, b := was.Content.Elements, is.Content.Elements; m.whole != nil && len(a) == 1 && len(b) == 1 && a[0] == b[0] && was.Content.Depth == is.Content.Depth {
		m.whole[a[0].ID] = true
	}
}
