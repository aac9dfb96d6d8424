package parity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	slices.SortFunc(c.missing, func(a, b Pack) int {
		return cmp.Or(cmp.Compare(a.Ratio.Width, b.Ratio.Width), cmp.Compare(a.Ratio.Shards, b.Ratio.Shards), cmp.Compare(a.Size, b.Size),
			strings.Compare(a.Name.String(), b.Name.String())) // equals together waste least
	})
	return c
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

// Cover makes parity for the packs that lack it, and then removes groups that are not sound any more. A pack whose bytes are not what its name
// says gets none; if it is in an unsound group, that group stays, since it may be what is needed to mend it. progress, if not nil,
// is told of each pack that was read.
func (s *Set) Cover(ctx context.Context, packs []Pack, progress func(Pack)) (damaged []blob.Name, err error) {
	c := s.Coverage(packs)
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
