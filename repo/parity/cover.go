package parity

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// Pack is a pack that is to have parity.
type Pack struct {
	Name  blob.Name
	Size  int64
	Ratio Ratio // zero: it needs none
}

// Coverage says which packs have the parity that they should.
type Coverage struct {
	Covered   int // packs in sound groups
	Uncovered int // that should be, and are not
	Long      int // that are too long for parity
	Groups    int // that are sound
	Unsound   int // groups that lack members or shards, or have less parity than they should

	missing []Pack
	remove  []string // objects of unsound groups, and those that can't be read
}

// Damaged reports whether parity that was made is not what it should be any more.
func (c *Coverage) Damaged() bool { return len(c.remove) > 0 }

// Coverage compares the groups with the packs that there are. A group is sound if all of its packs are there and all of its shards.
func (s *Set) Coverage(packs []Pack) *Coverage {
	c := new(Coverage)
	want := map[blob.Name]Pack{}
	for _, p := range packs {
		want[p.Name] = p
	}
	covered := map[blob.Name]bool{}
	for _, g := range s.groups {
		if s.sound(g, want) {
			c.Groups++
			for _, m := range g.head.members {
				covered[m.name] = true
			}
			continue
		}
		c.Unsound++
		for _, sh := range g.shards {
			if sh != nil {
				c.remove = append(c.remove, sh.object)
			}
		}
	}
	for _, p := range packs {
		switch {
		case covered[p.Name]:
			c.Covered++
		case p.Ratio.IsZero():
		case p.Size > PackSizeMax:
			c.Long++
		default:
			c.Uncovered++
			c.missing = append(c.missing, p)
		}
	}
	for i, name := range s.bad {
		if errors.Is(s.Faults[i], seal.ErrCorrupt) { // else it is the storage that could not be read, or a newer version's
			c.remove = append(c.remove, name)
		}
	}
	c.order()
	return c
}

// joinMin is how many short groups there are at least before they are joined: a pack is read again for it a few times at most.
const joinMin = 4

// join has the packs of short groups covered anew and those groups removed, if half as many do. Each session leaves a short group, and one of
// a single pack is a copy of it. Groups that are left by a join that was interrupted go the same way.
func (s *Set) join(c *Coverage, packs []Pack) {
	want, full := map[blob.Name]Pack{}, map[blob.Name]bool{}
	for _, p := range packs {
		want[p.Name] = p
	}
	short := map[Ratio][]*group{}
	for _, g := range s.groups {
		ratio, wanted := g.head.ratio, s.sound(g, want)
		for _, m := range g.head.members {
			wanted = wanted && want[m.name].Ratio == ratio
		}
		switch {
		case wanted && len(g.head.members) < ratio.Width:
			short[ratio] = append(short[ratio], g)
		case wanted:
			for _, m := range g.head.members {
				full[m.name] = true
			}
		}
	}
	for ratio, groups := range short {
		again := map[blob.Name]bool{}
		for _, g := range groups {
			for _, m := range g.head.members {
				again[m.name] = !full[m.name]
			}
		}
		maps.DeleteFunc(again, func(_ blob.Name, missing bool) bool { return !missing })
		after := (len(again) + ratio.Width - 1) / ratio.Width
		if len(groups) < joinMin || 2*after > len(groups) {
			continue
		}
		for name := range again {
			c.missing = append(c.missing, want[name])
		}
		for _, g := range groups {
			for _, sh := range g.shards {
				c.remove = append(c.remove, sh.object)
			}
		}
	}
	c.order()
}

// order puts what is to be done in an order that depends on nothing else; packs of about one size together waste least.
func (c *Coverage) order() {
	slices.SortFunc(c.missing, func(a, b Pack) int {
		return cmp.Or(cmp.Compare(a.Ratio.Width, b.Ratio.Width), cmp.Compare(a.Ratio.Shards, b.Ratio.Shards), cmp.Compare(a.Size, b.Size),
			bytes.Compare(a.Name[:], b.Name[:]))
	})
	slices.Sort(c.remove)
}

func (s *Set) sound(g *group, want map[blob.Name]Pack) bool {
	if !g.complete() {
		return false
	}
	for _, m := range g.head.members {
		p, ok := want[m.name]
		if !ok || p.Size != int64(m.size) || p.Ratio.Shards > g.head.ratio.Shards {
			return false
		}
	}
	return true
}

// Cover makes parity for the packs that lack it, joins short groups if there are many, and then removes groups that are not sound any more or were joined. A pack whose bytes are not what its name
// says gets none; if it is in an unsound group, that group stays, since it may be what is needed to mend it. progress, if not nil,
// is told of each pack that was read.
func (s *Set) Cover(ctx context.Context, packs []Pack, progress func(Pack)) (damaged []blob.Name, err error) {
	c := s.Coverage(packs)
	s.join(c, packs)
	var e *Encoder
	var ratio Ratio
	for _, p := range c.missing {
		if e == nil || p.Ratio != ratio {
			if e != nil {
				if err := s.put(ctx, e.Finish()); err != nil {
					return damaged, err
				}
			}
			if e, err = NewEncoder(s.keys, p.Ratio); err != nil {
				return damaged, err
			}
			ratio = p.Ratio
		}
		data, err := storage.ReadAll(ctx, s.store, s.path(p.Name), PackSizeMax)
		if ctx.Err() != nil {
			return damaged, ctx.Err()
		}
		if errors.Is(err, storage.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil || blob.Name(sha256.Sum256(data)) != p.Name {
			damaged = append(damaged, p.Name)
			continue
		}
		objects, err := e.Add(p.Name, data)
		if err == nil {
			err = s.put(ctx, objects)
		}
		if err != nil {
			return damaged, err
		}
		if progress != nil {
			progress(p)
		}
	}
	if e != nil {
		if err := s.put(ctx, e.Finish()); err != nil {
			return damaged, err
		}
	}
	if len(damaged) > 0 {
		return damaged, nil
	}
	for _, name := range c.remove {
		if err := s.store.Remove(ctx, name); err != nil {
			return nil, fmt.Errorf("remove parity that is no longer needed: %w", err)
		}
	}
	return nil, nil
}

func (s *Set) put(ctx context.Context, objects []Object) error { return Put(ctx, s.store, objects) }

// Put stores shards.
func Put(ctx context.Context, s storage.Storage, objects []Object) error {
	for _, o := range objects {
		if err := s.Put(ctx, o.Name, o.Data); err != nil {
			return fmt.Errorf("store parity: %w", err)
		}
	}
	return nil
}
