package parity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/reedsolomon"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// group is what is left of a group: those of its shards that can be read.
type group struct {
	head   *head
	shards []*shard // by number; nil for those that are not there

	damaged []int // shards that are damaged somewhere, as far as that was looked at; the rest of them may still be of use
}

// complete reports whether all of its shards are there.
func (g *group) complete() bool { return !slices.Contains(g.shards, nil) && len(g.damaged) == 0 }

// Set is all parity of a repository.
type Set struct {
	keys   *seal.Keys
	store  storage.Storage
	path   func(blob.Name) string
	groups []*group
	bad    []string // objects that can't be read
	Faults []error  // why not
}

// Load reads which groups there are. path is a pack's name in storage.
func Load(ctx context.Context, keys *seal.Keys, s storage.Storage, path func(blob.Name) string) (*Set, error) {
	set := &Set{keys: keys, store: s, path: path}
	sizes := map[string]int64{}
	err := s.List(ctx, Folder, func(name string, size int64) error {
		if _, err := blob.ParseName(strings.TrimPrefix(name, Folder)); err == nil {
			sizes[name] = size
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", Folder, err)
	}
	byGroup := map[[16]byte]*group{}
	for name, size := range sizes {
		sh, err := readShard(ctx, keys, s, name, size)
		if errors.Is(err, seal.ErrVersion) { // or it is the byte of the version that is damaged
			if _, damaged := set.readNamed(ctx, name); damaged != nil {
				err = damaged
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, storage.ErrNotExist) {
			continue // replaced meanwhile
		}
		if err != nil {
			set.bad, set.Faults = append(set.bad, name), append(set.Faults, fmt.Errorf("%s: %w", name, err))
			continue
		}
		g := byGroup[sh.head.group]
		if g == nil {
			g = &group{head: sh.head, shards: make([]*shard, sh.head.ratio.Shards)}
			byGroup[sh.head.group] = g
			set.groups = append(set.groups, g)
		}
		if sh.head.ratio == g.head.ratio {
			g.shards[sh.head.shard] = sh
		}
	}
	return set, nil
}

// Packs are the packs of all groups, those that are gone included.
func (s *Set) Packs() (names []blob.Name) {
	seen := map[blob.Name]bool{}
	for _, g := range s.groups {
		for _, m := range g.head.members {
			if !seen[m.name] {
				seen[m.name] = true
				names = append(names, m.name)
			}
		}
	}
	return names
}

// Has reports whether a pack is in a group.
func (s *Set) Has(name blob.Name) bool {
	return slices.ContainsFunc(s.groups, func(g *group) bool {
		return slices.ContainsFunc(g.head.members, func(m member) bool { return m.name == name })
	})
}

// ErrNoParity says that a pack is in no group.
var ErrNoParity = errors.New("there is no parity for it")

// Rebuild returns the bytes of a pack, which have the hash that is its name: from what is left of it, of the others in its group, and of
// their parity.
func (s *Set) Rebuild(ctx context.Context, name blob.Name) ([]byte, error) {
	err := ErrNoParity
	for _, g := range s.groups {
		at := slices.IndexFunc(g.head.members, func(m member) bool { return m.name == name })
		if at < 0 {
			continue
		}
		var data []byte
		if data, err = s.rebuild(ctx, g, at); err == nil {
			return data, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("pack %s: %w", name.Short(), err)
}

// rebuild gives one member of a group its bytes back, block by block.
func (s *Set) rebuild(ctx context.Context, g *group, at int) ([]byte, error) {
	m := &g.head.members[at]
	data := make([]byte, m.size)
	code, err := newCode(g.head.ratio)
	if err != nil {
		return nil, err
	}
	for b := range blocks(int(m.size)) {
		n := min(blockSize, int(m.size)-b*blockSize)
		part := data[b*blockSize:][:n]
		if s.member(ctx, m, b, part) == nil {
			continue
		}
		row, err := s.row(ctx, code, g, at, b)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", b, err)
		}
		copy(part, row)
	}
	if blob.Name(sha256.Sum256(data)) != m.name {
		return nil, fmt.Errorf("%w: what parity gives has another hash", seal.ErrCorrupt)
	}
	return data, nil
}

// member reads a block of a pack into p, and compares its sum.
func (s *Set) member(ctx context.Context, m *member, number int, p []byte) error {
	if err := storage.ReadRange(ctx, s.store, s.path(m.name), p, int64(number)*blockSize); err != nil {
		return err
	}
	if h := sha256.Sum256(p); !bytes.Equal(h[:sumSize], m.sums[number*sumSize:][:sumSize]) {
		return seal.ErrCorrupt
	}
	return nil
}

// row makes a block of one member again from the same block of the others.
func (s *Set) row(ctx context.Context, code reedsolomon.Encoder, g *group, want, number int) ([]byte, error) {
	length := min(blockSize, g.head.length()-number*blockSize)
	row := make([][]byte, g.head.ratio.Width+g.head.ratio.Shards)
	lost := 0
	for i := range g.head.ratio.Width {
		p := make([]byte, length)
		if i < len(g.head.members) {
			m := &g.head.members[i]
			n := min(length, int(m.size)-number*blockSize)
			if i == want || n > 0 && s.member(ctx, m, number, p[:n]) != nil {
				lost++
				continue
			}
		}
		row[i] = p
	}
	have := 0
	for i, sh := range g.shards {
		if sh == nil {
			continue
		}
		if p, err := sh.block(ctx, s.store, number); err == nil {
			row[g.head.ratio.Width+i] = p
			have++
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if lost > have {
		return nil, fmt.Errorf("%d of the group's packs are damaged there, and %d shards of parity are left: %w", lost, have, seal.ErrCorrupt)
	}
	needed := make([]bool, len(row))
	needed[want] = true
	if err := code.ReconstructSome(row, needed); err != nil {
		return nil, err
	}
	return row[want], nil
}

// ProveAll reads all shards and takes those for lost that are damaged anywhere.
func (s *Set) ProveAll(ctx context.Context) error {
	for _, g := range s.groups {
		for i, sh := range g.shards {
			if sh == nil {
				continue
			}
			data, err := s.readNamed(ctx, sh.object)
			if err == nil {
				err = Prove(s.keys, data)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				g.damaged = append(g.damaged, i)
				s.bad, s.Faults = append(s.bad, sh.object), append(s.Faults, fmt.Errorf("%s: %w", sh.object, err))
			}
		}
	}
	return nil
}

// readNamed reads a whole shard's object, and compares the hash of its bytes with its name.
func (s *Set) readNamed(ctx context.Context, object string) ([]byte, error) {
	data, err := storage.ReadAll(ctx, s.store, object, objectSizeMax)
	if err == nil && Folder+blob.Name(sha256.Sum256(data)).String() != object {
		err = fmt.Errorf("%w: the hash of its bytes is not its name", seal.ErrCorrupt)
	}
	return data, err
}
