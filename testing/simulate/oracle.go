package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/snapshot"
)

// oracle knows what is on the disk, and what was promised to whom.
type oracle struct {
	world     *world
	packs     map[blob.Name]*heldPack // all that were ever put
	indexed   map[string][]blob.Name  // the packs that each index object names that was ever put
	needs     map[string]need         // by the bytes of a record
	records   map[blob.Name]*record   // of each snapshot that was ever put
	there     map[string]bool         // objects that are stored
	have      map[index.Prefix]int    // in how many packs that are there and that an index object names each blob is
	promised  map[blob.Name]map[string]string
	forgotAll map[blob.Name]bool
}

// heldPack is a pack.
type heldPack struct {
	object string
	blobs  map[index.Prefix]bool
	there  bool
	named  int // by so many index objects that are there
}

func (p *heldPack) found() bool { return p.there && p.named > 0 }

// need is what a snapshot needs.
type need struct {
	session blob.Session
	blobs   []blob.ID
}

// record is a snapshot that was put.
type record struct {
	need
	object, eviction string
}

func newOracle(w *world) *oracle {
	return &oracle{world: w, packs: map[blob.Name]*heldPack{}, indexed: map[string][]blob.Name{}, needs: map[string]need{},
		records: map[blob.Name]*record{}, there: map[string]bool{}, have: map[index.Prefix]int{}, promised: map[blob.Name]map[string]string{},
		forgotAll: map[blob.Name]bool{}}
}

// pack returns what is known of a pack, if only from index objects that name it.
func (o *oracle) pack(name blob.Name) *heldPack {
	p := o.packs[name]
	if p == nil {
		p = &heldPack{object: packPath(name), blobs: map[index.Prefix]bool{}}
		o.packs[name] = p
	}
	return p
}

// change changes what is known of a pack, and reports whether a blob can't be found any more.
func (o *oracle) change(p *heldPack, how func()) (lost bool) {
	before := p.found()
	how()
	by := 0
	switch after := p.found(); {
	case after && !before:
		by = 1
	case before && !after:
		by = -1
	}
	for id := range p.blobs {
		o.have[id] += by
		lost = lost || by < 0 && o.have[id] == 0
	}
	return lost
}

// setThere notes that an object is stored or not, and reports whether a blob can't be found any more.
func (o *oracle) setThere(object string, there bool) (lost bool) {
	if o.there[object] == there {
		return false
	}
	if o.there[object] = there; !there {
		delete(o.there, object)
	}
	switch folder, base := split(object); folder {
	case "data":
		if name, err := blob.ParseName(base); err == nil {
			p := o.pack(name)
			return o.change(p, func() { p.there = there })
		}
	case "index":
		for _, name := range o.indexed[object] {
			p := o.pack(name)
			lost = o.change(p, func() {
				if there {
					p.named++
				} else {
					p.named--
				}
			}) || lost
		}
	}
	return lost
}

// announce is told what a record needs before it is stored.
func (o *oracle) announce(record []byte, blobs []blob.ID) {
	rec, err := snapshot.DecodeRecord(record)
	if err != nil {
		o.world.fail("a record can't be read: %w", err)
		return
	}
	o.needs[string(record)] = need{rec.Session, append([]blob.ID{}, blobs...)}
}

// confirmed is told that a backup reported success.
func (o *oracle) confirmed(name blob.Name, s *saving) {
	if o.forgotAll[name] { // somebody forgot it in the moment between
		return
	}
	o.promised[name] = s.files
	o.check("a backup reported success")
}

// stands reports whether a snapshot was confirmed, and nobody is about to remove it.
func (o *oracle) stands(name blob.Name) bool {
	_, ok := o.promised[name]
	return ok
}

// forgotten is told that somebody is about to remove a snapshot.
func (o *oracle) forgotten(name blob.Name) {
	delete(o.promised, name)
	o.forgotAll[name] = true
}

// put is told of an object that was put.
func (o *oracle) put(object string, data []byte) {
	folder, base := split(object)
	name, err := blob.ParseName(base)
	switch folder {
	case "data":
		var p *index.Pack
		if err == nil {
			p, err = pack.ReadDirectory(o.world.repo.SealKeys(), name, int64(len(data)), func(b []byte, off int64) error {
				copy(b, data[off:])
				return nil
			})
		}
		if err == nil {
			held := o.pack(name)
			for i := range p.Blobs {
				held.blobs[p.Blobs[i].Prefix] = true
			}
		}
	case "index":
		var list []byte
		if _, list, err = o.world.repo.OpenObject(object, data); err == nil {
			var packs []index.Listed
			packs, err = index.DecodeList(string(list))
			names := make([]blob.Name, len(packs))
			for i := range packs {
				names[i] = packs[i].Name
			}
			o.indexed[object] = names
		}
	case "snapshots":
		var body []byte
		if body, _, err = o.world.repo.OpenObject(object, data); err == nil {
			n, announced := o.needs[string(body)]
			if !announced {
				err = errors.New("nobody said what it needs")
			}
			o.records[name] = &record{n, object, "evictions/" + n.session.String()}
		}
	case "evictions":
		o.world.trouble, err = true, nil
	default:
		err = nil
	}
	if err != nil {
		o.world.fail("%s was stored: %w", object, err)
	}
	o.setThere(object, true)
	if folder == "snapshots" {
		o.check("a snapshot was stored")
	}
}

// remove is told of an object that was removed.
func (o *oracle) remove(object string) {
	if o.setThere(object, false) {
		o.check(object + " was removed")
	}
}

// cut looks at what a power cut left.
func (o *oracle) cut(ctx context.Context) {
	left := o.world.objects(ctx, o.world.disk)
	for object := range o.there {
		if _, there := left[object]; !there {
			o.setThere(object, false)
		}
	}
	for object := range left {
		o.setThere(object, true)
	}
	o.check("the power was cut")
}

func split(object string) (folder, base string) {
	folder, _, _ = strings.Cut(object, "/")
	return folder, object[strings.LastIndexByte(object, '/')+1:]
}

func packPath(n blob.Name) string { s := n.String(); return "data/" + s[:2] + "/" + s }

// check looks whether every snapshot that must be whole is.
func (o *oracle) check(when string) {
	for name, n := range o.records {
		_, promised := o.promised[name]
		stored := o.there[n.object]
		if promised && !stored {
			o.world.fail("%s, and snapshot %s, which was confirmed, is gone", when, name.Short())
		}
		if !stored || !promised && o.there[n.eviction] {
			continue
		}
		for _, id := range n.blobs {
			if o.have[index.PrefixOf(id)] == 0 {
				o.world.fail("%s, and snapshot %s (confirmed: %v) lacks %s: %s", when, name.Short(), promised, id.Short(), o.whereabouts(id))
				return
			}
		}
	}
}

// whereabouts says what became of a blob.
func (o *oracle) whereabouts(id blob.ID) string {
	var text []string
	for name, p := range o.packs {
		if p.blobs[index.PrefixOf(id)] {
			text = append(text, fmt.Sprintf("pack %s has it (there: %v, in the index: %v)", name.Short(), p.there, p.named > 0))
		}
	}
	if text == nil {
		return "it was never stored"
	}
	slices.Sort(text)
	return strings.Join(text, ", ")
}

// restore loads all that was promised and compares it with what was saved.
func (o *oracle) restore(ctx context.Context) error {
	r, err := o.world.repo.WithStorage(o.world.disk)
	if err != nil {
		return err
	}
	for name, files := range o.promised {
		data, err := r.LoadSnapshot(ctx, name)
		if err != nil {
			return err
		}
		rec, err := snapshot.DecodeRecord(data)
		if err != nil {
			return err
		}
		found := 0
		err = snapshot.Walk(ctx, r, rec.Root, func(path string, n *snapshot.Node, err error) error {
			if err != nil || n.Type != snapshot.File {
				return err
			}
			found++
			content, err := r.Load(ctx, blob.Data, n.Content.Elements[0].ID)
			if err == nil && string(content) != files[path] {
				err = fmt.Errorf("%s holds %q", path, content)
			}
			return err
		})
		if err == nil && found != len(files) {
			err = fmt.Errorf("%d files, want %d", found, len(files))
		}
		if err != nil {
			return fmt.Errorf("snapshot %s, which was confirmed, can't be restored: %w", name.Short(), err)
		}
	}
	return nil
}

// live is all that stored snapshots need and that is there.
func (o *oracle) live() map[index.Prefix]bool {
	live := map[index.Prefix]bool{}
	for _, n := range o.records {
		if o.there[n.object] {
			for _, id := range n.blobs {
				live[index.PrefixOf(id)] = true
			}
		}
	}
	return live
}

// garbage looks for what no snapshot needs, or is stored twice.
func (o *oracle) garbage() error {
	live, seen := o.live(), map[index.Prefix]bool{}
	for object := range o.there {
		folder, base := split(object)
		switch folder {
		case "trash", "wait", "sessions":
			return fmt.Errorf("%s is left", object)
		case "data":
			name, err := blob.ParseName(base)
			if err != nil {
				return err
			}
			for id := range o.pack(name).blobs {
				if !live[id] || seen[id] {
					return fmt.Errorf("%s holds %s, which nobody needs or which is stored twice", object, id.Short())
				}
				seen[id] = true
			}
		case "index":
			for _, p := range o.indexed[object] {
				if !o.pack(p).there {
					return fmt.Errorf("%s names pack %s, which is gone", object, p.Short())
				}
			}
		}
	}
	return nil
}
