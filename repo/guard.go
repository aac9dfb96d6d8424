package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/tlv"
)

// Policy says how much parity packs get.
type Policy struct {
	Data parity.Ratio // packs that hold data, or data and metadata
	Meta parity.Ratio // packs that hold nothing but metadata
}

// DefaultPolicy holds where nothing else was said: metadata is small, and much depends on it. It is never assigned to.
func DefaultPolicy() Policy { return Policy{Meta: parity.Ratio{Width: 10, Shards: 1}} }

// Tags of the setting.
const (
	setGeneration tlv.Tag = 3
	setDataWidth  tlv.Tag = 5
	setDataShards tlv.Tag = 7
	setMetaWidth  tlv.Tag = 9
	setMetaShards tlv.Tag = 11

	whatParity = 1
)

// policySetting is a stored Policy. The one of the highest generation holds; among equals, the one whose object has the greatest name.
type policySetting struct {
	Policy
	generation uint64
	name       blob.Name
}

func (p *policySetting) encode() []byte {
	b := tlv.AppendUint(nil, setWhat, whatParity)
	b = tlv.AppendUint(b, setGeneration, p.generation)
	b = tlv.AppendUint(b, setDataWidth, uint64(p.Data.Width))
	b = tlv.AppendUint(b, setDataShards, uint64(p.Data.Shards))
	b = tlv.AppendUint(b, setMetaWidth, uint64(p.Meta.Width))
	return tlv.AppendUint(b, setMetaShards, uint64(p.Meta.Shards))
}

func decodePolicy(body []byte) (p policySetting, err error) {
	r := tlv.NewReader(string(body))
	what := uint64(0)
	for r.Next() {
		switch r.Tag() {
		case setWhat:
			what = r.Uint()
		case setGeneration:
			p.generation = r.Uint()
		case setDataWidth:
			p.Data.Width = int(r.UintMax(parity.WidthMax))
		case setDataShards:
			p.Data.Shards = int(r.UintMax(parity.ShardsMax))
		case setMetaWidth:
			p.Meta.Width = int(r.UintMax(parity.WidthMax))
		case setMetaShards:
			p.Meta.Shards = int(r.UintMax(parity.ShardsMax))
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return p, err
	}
	for _, ratio := range []parity.Ratio{p.Data, p.Meta} {
		if what != whatParity || !ratio.IsZero() && !ratio.Valid() {
			return p, fmt.Errorf("%w: no setting of parity", seal.ErrCorrupt)
		}
	}
	return p, nil
}

// policies reads all settings of parity, the one that holds first. Damaged ones are left out.
func (r *Repo) policies(ctx context.Context) (list []policySetting, err error) {
	var names []blob.Name
	if err := r.list(ctx, settingsDir, func(n blob.Name, size int64) { names = append(names, n) }); err != nil {
		return nil, err
	}
	for _, n := range names {
		body, _, err := r.getObject(ctx, seal.Setting, settingsDir+n.String(), n)
		if err == nil {
			var p policySetting
			if p, err = decodePolicy(body); err == nil {
				p.name = n
				list = append(list, p)
				if first := &list[0]; p.generation > first.generation || p.generation == first.generation && bytes.Compare(n[:], first.name[:]) > 0 {
					list[0], list[len(list)-1] = list[len(list)-1], list[0]
				}
			}
		}
		if err != nil && !IsCorrupt(err) && !errors.Is(err, storage.ErrNotExist) {
			return nil, fmt.Errorf("setting %s: %w", n.Short(), err)
		}
	}
	return list, nil
}

// ParityPolicy is how much parity packs get.
func (r *Repo) ParityPolicy(ctx context.Context) (Policy, error) {
	list, err := r.policies(ctx)
	if err != nil || len(list) == 0 {
		return DefaultPolicy(), err
	}
	return list[0].Policy, nil
}

// SetParityPolicy sets it for all later sessions; Cover does it for the packs that there are.
func (r *Repo) SetParityPolicy(ctx context.Context, p Policy) error {
	if err := r.CanWrite(); err != nil {
		return err
	}
	list, err := r.policies(ctx)
	if err != nil {
		return err
	}
	next := policySetting{Policy: p, generation: 1}
	if len(list) > 0 {
		next.generation = list[0].generation + 1
	}
	path := func(n blob.Name) string { return settingsDir + n.String() }
	if _, err := r.putObject(ctx, path, sealObject(r.keys, seal.Setting, next.encode(), 0)); err != nil {
		return fmt.Errorf("store the setting: %w", err)
	}
	for _, old := range list {
		if err := r.storage.Remove(ctx, path(old.name)); err != nil {
			return fmt.Errorf("remove the old setting: %w", err)
		}
	}
	return nil
}

// Parity reads which parity there is.
func (r *Repo) Parity(ctx context.Context) (*parity.Set, error) {
	return parity.Load(ctx, r.keys, r.storage, packName)
}

// Parity is the Repo's; what is put to it is of this session.
func (w *Writer) Parity(ctx context.Context) (*parity.Set, error) {
	return parity.Load(ctx, w.repo.keys, w.storage, packName)
}

// ParityPacks are the live packs of a view with the parity that they should have, but for those that are about to go. A prune calls
// Set.Cover with them before it removes packs, so that the others keep their parity.
func (r *Repo) ParityPacks(ctx context.Context, v *View, without map[blob.Name]bool) ([]parity.Pack, error) {
	policy, err := r.ParityPolicy(ctx)
	if err != nil {
		return nil, err
	}
	holds := metaPacks(v.Index)
	var packs []parity.Pack
	for n, size := range v.Packs {
		if without[n] {
			continue
		}
		p := parity.Pack{Name: n, Size: size, Ratio: policy.Data}
		if holds[n] {
			p.Ratio = policy.Meta
		}
		packs = append(packs, p)
	}
	return packs, nil
}

// RenewParity makes parity for the packs of a view that should have it and are in no sound group, and then removes groups that lost a member
// or a shard. A prune calls it after its second look and before it removes packs: the view has none of those that are about to go, so that
// the others never are without parity. It returns the packs whose bytes are damaged; nothing is removed then.
//
// The parity must have been read before the view was taken: a group comes after its packs, so one with a pack that the view does not have lost it. In
// parity that is younger it may be a backup's that runs meanwhile.
func (r *Repo) RenewParity(ctx context.Context, set *parity.Set, v *View) (damaged []blob.Name, err error) {
	packs, err := r.ParityPacks(ctx, v, nil)
	if err != nil {
		return nil, err
	}
	return set.Cover(ctx, packs, nil)
}

// metaPacks are the packs that hold nothing but metadata.
func metaPacks(x *index.Index) map[blob.Name]bool {
	meta := map[blob.Name]bool{}
	for info := range x.Packs() {
		meta[info.Name] = true
	}
	var last *index.PackInfo
	for info, row := range x.All() {
		if !row.Kind.Meta() && info != last {
			meta[info.Name] = false
			last = info
		}
	}
	return meta
}

// guard makes parity of the packs of a session. A nil guard makes none.
type guard struct {
	mu      sync.Mutex // guards encoder
	encoder *parity.Encoder
}

// guard begins the parity of a session.
func (w *Writer) guard(ctx context.Context) error {
	policy, err := w.repo.ParityPolicy(ctx)
	if err != nil {
		return err
	}
	if w.data.parity, err = newGuard(w.repo.keys, policy.Data); err != nil {
		return err
	}
	w.meta.parity, err = newGuard(w.repo.keys, policy.Meta)
	return err
}

func newGuard(keys *seal.Keys, ratio parity.Ratio) (*guard, error) {
	if ratio.IsZero() {
		return nil, nil
	}
	e, err := parity.NewEncoder(keys, ratio)
	return &guard{encoder: e}, err
}

// add takes a pack that was put, and puts the shards of a group that is full with it.
func (g *guard) add(ctx context.Context, w *Writer, name blob.Name, data []byte) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	objects, err := g.encoder.Add(name, data)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return w.putParity(ctx, objects)
}

func (w *Writer) putParity(ctx context.Context, objects []parity.Object) error {
	for _, o := range objects {
		w.putBytes.Add(uint64(len(o.Data)))
	}
	return parity.Put(ctx, w.storage, objects)
}

// FinishParity makes all that was saved durable, and the parity of it.
func (w *Writer) FinishParity(ctx context.Context) error {
	if err := w.Flush(ctx); err != nil {
		return err
	}
	for _, g := range []*guard{w.data.parity, w.meta.parity} {
		if g == nil {
			continue
		}
		g.mu.Lock()
		objects := g.encoder.Finish()
		g.mu.Unlock()
		if err := w.putParity(ctx, objects); err != nil {
			return err
		}
	}
	return nil
}
