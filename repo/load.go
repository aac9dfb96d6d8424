package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// rangeGrid is what ranged reads are rounded out to, in bytes, so that a server does not learn segments' lengths from them.
const rangeGrid = 256 << 10

// Load returns a blob's plaintext, hashed again and equal to its ID. It must not be modified. If one copy is damaged the next one is
// tried. ErrNoBlob is wrapped if there is none.
func (r *Repo) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	v, err := r.currentView(ctx)
	if err != nil {
		return nil, err
	}
	data, err := r.loadIn(ctx, v, kind, id)
	if !errors.Is(err, ErrNoBlob) && !errors.Is(err, storage.ErrNotExist) {
		return data, err
	}
	// A pruner may have moved it to another pack since the index was read.
	if v, err = r.Refresh(ctx); err != nil {
		return nil, err
	}
	return r.loadIn(ctx, v, kind, id)
}

// loadIn looks in the live packs of a view, and then in those that are in trash and still there.
func (r *Repo) loadIn(ctx context.Context, v *View, kind blob.Kind, id blob.ID) ([]byte, error) {
	data, err := r.loadFrom(ctx, v.Index, kind, id)
	if err != nil && len(v.Doomed) > 0 && ctx.Err() == nil {
		if doomed, err := r.loadFrom(ctx, v.DoomedIndex, kind, id); err == nil {
			return doomed, nil
		}
	}
	return data, err
}

func (r *Repo) loadFrom(ctx context.Context, x *index.Index, kind blob.Kind, id blob.ID) ([]byte, error) {
	e, ok := x.Lookup(id)
	if !ok {
		return nil, fmt.Errorf("%s %s: %w", kind, id.Short(), ErrNoBlob)
	}
	data, err := r.loadExtent(ctx, x, kind, id, e)
	if err == nil || ctx.Err() != nil {
		return data, err
	}
	for _, other := range x.LookupAll(id, nil) {
		if other != e {
			if data, err := r.loadExtent(ctx, x, kind, id, other); err == nil {
				return data, nil
			}
		}
	}
	return nil, err
}

func (r *Repo) loadExtent(ctx context.Context, x *index.Index, kind blob.Kind, id blob.ID, e blob.Extent) ([]byte, error) {
	info, ok := x.Pack(e.Pack)
	if !ok {
		return nil, fmt.Errorf("%s %s: pack %s: %w", kind, id.Short(), e.Pack.Short(), ErrNoBlob)
	}
	plain, err := r.segment(ctx, info, e.Segment, kind)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, id.Short(), err)
	}
	if uint64(e.Offset)+uint64(e.Length) > uint64(len(plain)) {
		return nil, fmt.Errorf("%s %s: %w: it ends outside of its segment", kind, id.Short(), seal.ErrCorrupt)
	}
	data := plain[e.Offset : e.Offset+e.Length : e.Offset+e.Length]
	if r.keys.ID(kind, data) != id {
		return nil, fmt.Errorf("%s %s: pack %s: %w: the bytes are others", kind, id.Short(), e.Pack.Short(), seal.ErrCorrupt)
	}
	return data, nil
}

// Segment returns the plaintext of one segment of a pack, which is shared and must not be modified. Its blobs are not proven.
func (r *Repo) Segment(ctx context.Context, info *index.PackInfo, number uint16) ([]byte, error) {
	return r.segment(ctx, info, number, blob.Data)
}

func (r *Repo) segment(ctx context.Context, info *index.PackInfo, number uint16, kind blob.Kind) ([]byte, error) {
	return r.cache.get(ctx, segmentKey{info.Name, number}, func() ([]byte, error) {
		return r.fetch(ctx, info, number, kind)
	})
}

// DropSegments gives the memory of decoded segments back, for who will read others from now on.
func (r *Repo) DropSegments() { r.cache.clear() }

// decoder is what one fetch works with.
type decoder struct {
	dec         *pack.Decompressor
	raw, opened []byte
}

var decoders = sync.Pool{New: func() any { return &decoder{dec: pack.NewDecompressor(1)} }}

func (r *Repo) fetch(ctx context.Context, info *index.PackInfo, number uint16, kind blob.Kind) ([]byte, error) {
	s, ok := info.Segment(number)
	if !ok {
		return nil, fmt.Errorf("pack %s: no segment %d", info.Name.Short(), number)
	}
	o, err := r.keys.OpenerOf(seal.Pack, info.Epoch, &info.Salt)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", info.Name.Short(), err)
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	if kind.Meta() {
		if sealed, ok := r.far.cached(info.Name, number, &s); ok {
			var plain []byte
			if plain, d.opened, err = d.dec.Open(o, uint32(number), sealed, nil, d.opened, int(s.Plain)); err == nil {
				return plain, nil
			}
		}
	}
	sealed, err := r.sealed(ctx, info, &s, d)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", info.Name.Short(), err)
	}
	var plain []byte
	plain, d.opened, err = d.dec.Open(o, uint32(number), sealed, nil, d.opened, int(s.Plain))
	if err != nil {
		return nil, fmt.Errorf("pack %s, segment %d: %w", info.Name.Short(), number, err)
	}
	if kind.Meta() && r.far.Cache != nil {
		r.far.Cache.Put(metaKey(info.Name, number), sealed)
	}
	return plain, nil
}

// sealed reads a segment as it is stored; what it returns is good until d is used again, and shared.
func (r *Repo) sealed(ctx context.Context, info *index.PackInfo, s *index.Segment, d *decoder) ([]byte, error) {
	begin, end := onGrid(int64(s.Offset), int64(s.Offset)+int64(s.Stored), int64(info.Size))
	var raw []byte
	var err error
	if r.long != nil {
		raw, err = r.long.get(ctx, info.Name, begin, end, int64(info.Size))
	} else {
		raw = d.room(end - begin)
		err = storage.ReadRange(ctx, r.storage, packName(info.Name), raw, begin)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) { // the pack lost its end: what is before that can be read
		begin, raw = int64(s.Offset), d.room(int64(s.Stored))
		err = storage.ReadRange(ctx, r.storage, packName(info.Name), raw, begin)
	}
	if err != nil {
		return nil, err
	}
	return raw[int64(s.Offset)-begin:][:s.Stored], nil
}

// onGrid rounds a range of an object of that size out.
func onGrid(begin, end, size int64) (int64, int64) {
	return begin &^ (rangeGrid - 1), min((end+rangeGrid-1)&^(rangeGrid-1), size)
}

// room returns n bytes to read into.
func (d *decoder) room(n int64) []byte {
	if int64(cap(d.raw)) < n {
		d.raw = make([]byte, n)
	}
	return d.raw[:n]
}

// Workers is how many goroutines are worth using on this machine for work that the processor bounds.
func Workers() int { return runtime.GOMAXPROCS(0) }
