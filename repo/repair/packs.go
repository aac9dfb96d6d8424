package repair

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/storage"
	"golang.org/x/sync/errgroup"
)

// PacksOptions says what to look at. The zero value looks at all packs, and at all parity.
type PacksOptions struct {
	Only []blob.Name // look at these packs only
	// Progress, if not nil, is told how many bytes were read, and how many there are. Calls don't overlap.
	Progress func(done, total int64)
}

// Way is how a damaged pack is mended.
type Way uint8

// The ways.
const (
	Leave   Way = 0 // nothing can be done
	Rebuild Way = 1 // parity gives it back its bytes
	Salvage Way = 2 // what is whole is stored again, and the pack goes to the trash
	Copy    Way = 3 // what is whole is stored again, and the pack stays
)

// PackDamage is a damaged pack, and what would be done about it.
type PackDamage struct {
	Name    blob.Name
	Size    int64 // stored bytes; 0 if it is missing
	Problem error
	Blobs   int // in it; 0 if nobody knows
	Bad     int // that can't be read
	Lost    int // of those, the ones that no other pack has, without parts of scan records
	Way     Way
	Reason  string // why it is left, or stays

	examined *examined
}

// PacksPlan is what a repair of packs would do.
type PacksPlan struct {
	Looked  int // packs that were looked at
	Read    int64
	Damaged []PackDamage
	Blobs   int // that would be stored again
	Lost    int // that can't be had any more, here
	Parity  *parity.Coverage

	repo    *repo.Repo
	parity  *parity.Set
	restore map[index.Prefix]bool // blobs to be stored again
	absent  map[index.Prefix]bool // blobs that no pack can give as it is
}

// Absent reports whether no pack can give a blob, as they are now. A backup that takes these blobs for absent stores them again.
func (p *PacksPlan) Absent(id blob.ID) bool { return p.absent[index.PrefixOf(id)] }

// Empty reports whether there is nothing to do.
func (p *PacksPlan) Empty() bool {
	return !p.Parity.Damaged() && !slices.ContainsFunc(p.Damaged, func(d PackDamage) bool { return d.Way != Leave })
}

// PlanPacks reads packs, and says what can be done for those that are damaged.
func PlanPacks(ctx context.Context, r *repo.Repo, o PacksOptions) (*PacksPlan, error) {
	p := &PacksPlan{repo: r, restore: map[index.Prefix]bool{}, absent: map[index.Prefix]bool{}}
	v, err := p.lookAtParity(ctx, o)
	if err != nil {
		return nil, err
	}
	found, err := p.look(ctx, v, o)
	if err != nil {
		return nil, err
	}
	for _, name := range p.missing(ctx, v) {
		if len(o.Only) == 0 || slices.Contains(o.Only, name) {
			err := fmt.Errorf("pack %s: %w", name.Short(), storage.ErrNotExist)
			found = append(found, &examined{name: name, problem: err, dir: told(ctx, r, v, name)})
		}
	}
	if len(o.Only) == 0 {
		more, err := p.unnamed(ctx, v)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	slices.SortFunc(found, func(a, b *examined) int { return byName(a.name, b.name) })
	live, err := r.LiveSessions(ctx)
	if err != nil {
		return nil, err
	}
	return p, p.decide(ctx, v, found, live)
}

// lookAtParity reads which parity there is, and all of it if all packs are looked at, and then takes a view: the other way round, parity of a backup
// that runs meanwhile would seem to have lost its packs.
func (p *PacksPlan) lookAtParity(ctx context.Context, o PacksOptions) (v *repo.View, err error) {
	if p.parity, err = p.repo.Parity(ctx); err != nil {
		return nil, err
	}
	if len(o.Only) == 0 {
		if err := p.parity.ProveAll(ctx); err != nil {
			return nil, err
		}
	}
	if v, err = p.repo.TakeView(ctx); err != nil {
		return nil, err
	}
	packs, err := p.repo.ParityPacks(ctx, v, nil)
	if err == nil {
		p.Parity = p.parity.Coverage(packs)
	}
	return v, err
}

// renewParity makes parity again where it was damaged, or lost a pack.
func (p *PacksPlan) renewParity(ctx context.Context) error {
	again := PacksPlan{repo: p.repo}
	v, err := again.lookAtParity(ctx, PacksOptions{})
	if err != nil || !again.Parity.Damaged() {
		return err
	}
	_, err = p.repo.RenewParity(ctx, again.parity, v) // packs that are still damaged have to do without
	return err
}

// missing returns the packs that the index names, and that are neither there nor about to be removed.
func (p *PacksPlan) missing(ctx context.Context, v *repo.View) (names []blob.Name) {
	for _, packs := range v.Objects {
		for _, n := range packs {
			_, listed := v.Packs[n]
			if !listed && !v.Trashed[n] && !slices.Contains(names, n) && !isThere(ctx, p.repo, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// unnamed returns the packs that parity alone remembers and that some snapshot needs. Most such packs were pruned, so it is asked
// first whether any snapshot lacks anything at all.
func (p *PacksPlan) unnamed(ctx context.Context, v *repo.View) (found []*examined, err error) {
	var names []blob.Name
	for _, n := range p.parity.Packs() {
		_, listed := v.Packs[n]
		if !listed && !v.Trashed[n] && !indexed(v, n) && !isThere(ctx, p.repo, n) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	lacking, err := PlanSnapshots(ctx, p.repo, nil)
	if err != nil || len(lacking.Damaged) == 0 {
		return nil, err
	}
	for _, n := range names {
		data, err := p.parity.Rebuild(ctx, n)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue
		}
		dir, err := pack.ReadDirectory(p.repo.SealKeys(), n, int64(len(data)), func(b []byte, off int64) error {
			if off < 0 || off+int64(len(b)) > int64(len(data)) {
				return io.ErrUnexpectedEOF
			}
			copy(b, data[off:])
			return nil
		})
		if err == nil && slices.ContainsFunc(dir.Blobs, func(e index.Entry) bool { return !hasCopy(v.Index, e.Prefix, nil) }) {
			found = append(found, &examined{name: n, problem: fmt.Errorf("pack %s: %w", n.Short(), storage.ErrNotExist), dir: dir})
		}
	}
	return found, nil
}

// indexed reports whether an index object names a pack.
func indexed(v *repo.View, name blob.Name) bool {
	for _, packs := range v.Objects {
		if slices.Contains(packs, name) {
			return true
		}
	}
	return false
}

// told returns what the index says that a pack holds; nil if it says nothing.
func told(ctx context.Context, r *repo.Repo, v *repo.View, name blob.Name) *index.Pack {
	for object, packs := range v.Objects {
		if !slices.Contains(packs, name) {
			continue
		}
		list, _ := r.ReadIndexObject(ctx, object) // nothing if it went away or is damaged
		for _, pack := range list {
			if pack.Name == name {
				return pack
			}
		}
	}
	return nil
}

// look examines packs side by side, and returns those that are damaged.
func (p *PacksPlan) look(ctx context.Context, v *repo.View, o PacksOptions) ([]*examined, error) {
	sizes := v.Packs
	if len(o.Only) > 0 {
		sizes = map[blob.Name]int64{}
		for _, n := range o.Only {
			if size, ok := v.Packs[n]; ok {
				sizes[n] = size
			}
		}
	}
	var total int64
	for _, size := range sizes {
		total += size
	}
	readers := sync.Pool{New: func() any { return newReader(p.repo) }}
	var mu sync.Mutex // guards found, p and the calls of Progress
	var found []*examined
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(repo.Workers())
	for name, size := range sizes {
		g.Go(func() error {
			r := readers.Get().(*reader)
			defer readers.Put(r)
			e, err := r.examine(gctx, v, name, size)
			if err != nil {
				return err
			}
			if e.problem != nil && errors.Is(e.problem, storage.ErrNotExist) && !isThere(gctx, p.repo, name) {
				return nil // pruned meanwhile
			}
			mu.Lock()
			defer mu.Unlock()
			p.Looked++
			p.Read += size
			if o.Progress != nil {
				o.Progress(p.Read, total)
			}
			if e.problem != nil {
				found = append(found, e)
			}
			return nil
		})
	}
	return found, g.Wait()
}

// decide chooses the way for each damaged pack.
func (p *PacksPlan) decide(ctx context.Context, v *repo.View, found []*examined, live map[blob.Session]bool) error {
	damaged, good := map[blob.Name]bool{}, map[index.Prefix]bool{}
	for _, e := range found {
		damaged[e.name] = true
		for i := range e.bad {
			if !e.bad[i] {
				good[e.dir.Blobs[i].Prefix] = true
			}
		}
	}
	lost := map[index.Prefix]bool{}
	for _, e := range found {
		d := PackDamage{Name: e.name, Size: e.size, Problem: e.problem, Bad: e.badBlobs(), examined: e}
		p.way(ctx, &d, live)
		if e.dir != nil {
			d.Blobs = len(e.dir.Blobs)
		}
		if e.size == 0 {
			d.Bad = d.Blobs
		}
		for i := range d.Blobs {
			id := e.dir.Blobs[i].Prefix
			bad := e.bad == nil || e.bad[i]
			if hasCopy(v.Index, id, damaged) || bad && good[id] {
				continue
			}
			if bad {
				p.absent[id] = true
			}
			switch {
			case d.Way == Rebuild:
			case bad && e.dir.Blobs[i].Kind == blob.Scan: // costs the next backup a reading, and nobody any data
			case bad:
				d.Lost++
				lost[id] = true
			default:
				p.restore[id] = true
			}
		}
		p.Damaged = append(p.Damaged, d)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	p.Blobs, p.Lost = len(p.restore), len(lost)
	return nil
}

// way chooses what is done about one pack.
func (p *PacksPlan) way(ctx context.Context, d *PackDamage, live map[blob.Session]bool) {
	e := d.examined
	if _, err := p.parity.Rebuild(ctx, e.name); err == nil {
		d.Way = Rebuild
		return
	}
	switch {
	case e.size == 0:
		d.Reason = "it is not there, and no parity can make it again"
	case e.dir == nil:
		d.Reason = "nobody knows what it holds: if there is a copy of it or of the index, put that back"
	case e.unsure:
		d.Way, d.Reason = Copy, "it is the storage that could not be read: its bytes may be right"
	case live[e.dir.Session]:
		d.Way, d.Reason = Copy, fmt.Sprintf("the session %s that wrote it is not over", e.dir.Session)
	default:
		d.Way = Salvage
	}
}

// hasCopy reports whether a blob is in a pack that is not damaged.
func hasCopy(x *index.Index, id index.Prefix, damaged map[blob.Name]bool) bool {
	var buf [4]blob.Extent
	return slices.ContainsFunc(x.LookupAll(id.ID(), buf[:0]), func(e blob.Extent) bool { return !damaged[e.Pack] })
}

// Run mends the packs, as a session.
func (p *PacksPlan) Run(ctx context.Context, s repo.Session) error {
	w, err := p.repo.NewWriter(ctx, repo.WriterOptions{Session: s, Absent: func(id blob.ID) bool { return p.restore[index.PrefixOf(id)] }})
	if err != nil {
		return err
	}
	if err = p.mend(ctx, w); err == nil {
		err = w.Confirm(ctx)
	}
	if err == nil {
		return p.renewParity(ctx)
	}
	if errors.Is(err, repo.ErrEvicted) {
		return err
	}
	return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
}

func (p *PacksPlan) mend(ctx context.Context, w *repo.Writer) error {
	r, lane := newReader(p.repo), w.Lane()
	var trash []blob.Name
	for i := range p.Damaged {
		d := &p.Damaged[i]
		var err error
		switch d.Way {
		case Rebuild:
			err = p.rebuild(ctx, w, d.Name)
		case Salvage, Copy:
			err = p.salvage(ctx, r, lane, d)
		}
		if err != nil {
			return err
		}
		if _, there := w.View().Packs[d.Name]; d.Way == Salvage && there {
			trash = append(trash, d.Name)
		}
	}
	if err := w.Flush(ctx); err != nil {
		return err
	}
	if len(trash) == 0 {
		return nil
	}
	if err := errors.Join(p.proveCopies(ctx), p.repo.KeyStands(ctx)); err != nil {
		return err
	}
	return p.repo.PutTrash(ctx, trash)
}

// rebuild puts a pack's own bytes back in its place, unless somebody is about to remove it.
func (p *PacksPlan) rebuild(ctx context.Context, w *repo.Writer, name blob.Name) error {
	if w.View().Trashed[name] {
		return nil
	}
	data, err := p.parity.Rebuild(ctx, name)
	if err != nil {
		return err
	}
	if blob.Name(sha256.Sum256(data)) != name {
		return fmt.Errorf("pack %s: what parity gives is not what it was", name.Short())
	}
	return w.PutPack(ctx, name, data)
}

// salvage stores the blobs again that are whole in a damaged pack, and in no other. Segments stay apart, as they were: what one user's files are
// compressed with is not to change.
func (p *PacksPlan) salvage(ctx context.Context, r *reader, lane *repo.Lane, d *PackDamage) error {
	dir, last := d.examined.dir, uint16(0)
	return r.segments(ctx, dir, func(entry int, plain []byte, err error) error {
		b := &dir.Blobs[entry]
		if b.Segment != last {
			last = b.Segment
			if err := lane.BreakAlways(ctx); err != nil {
				return err
			}
		}
		if err != nil || !p.restore[b.Prefix] {
			return nil // what could be read when the plan was made is proven below
		}
		_, err = lane.Save(ctx, b.Kind, plain)
		return err
	})
}

// proveCopies looks once more, in a new view, whether all that is to be saved from the damaged packs is in others.
func (p *PacksPlan) proveCopies(ctx context.Context) error {
	v, err := p.repo.TakeView(ctx)
	if err != nil {
		return err
	}
	damaged := map[blob.Name]bool{}
	for _, d := range p.Damaged {
		damaged[d.Name] = d.Way != Rebuild
	}
	for id := range p.restore {
		if !hasCopy(v.Index, id, damaged) {
			return fmt.Errorf("blob %s could be read from a damaged pack before, and can't any more: nothing was removed; run the repair again", id.Short())
		}
	}
	return nil
}
