package simulate

import (
	"context"

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
	packs     map[blob.Name]map[index.Prefix]bool // what each pack holds that was ever put
	indexed   map[blob.Name][]blob.Name           // the packs of each index object that was ever put
	needs     map[string]need                     // by the bytes of a record
	records   map[blob.Name]need                  // of each snapshot that was ever put
	there     map[string]bool                     // objects that are stored
	promised  map[blob.Name]map[string]string
	forgotAll map[blob.Name]bool
}

// need is what a snapshot needs.
type need struct {
	session blob.Session
	blobs   []blob.ID
}

func newOracle(w *world) *oracle {
	return &oracle{world: w, packs: map[blob.Name]map[index.Prefix]bool{}, indexed: map[blob.Name][]blob.Name{}, needs: map[string]need{},
		records: map[blob.Name]need{}, there: map[string]bool{}, promised: map[blob.Name]map[string]string{}, forgotAll: map[blob.Name]bool{}}
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
func (o *oracle) confirmed(ctx context.Context, name blob.Name, s *saving) {
	if o.forgotAll[name] { // somebody forgot it in the moment between
		return
	}
	o.promised[name] = s.files
	o.check(ctx, "a backup reported success")
}

// forgotten is told that somebody is about to remove a snapshot.
func (o *oracle) forgotten(name blob.Name) {
	delete(o.promised, name)
	o.forgotAll[name] = true
}

// put is told of an object that was put.
func (o *oracle) put(ctx context.Context, object string, data []byte) {
	o.there[object] = true
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
			o.packs[name] = map[index.Prefix]bool{}
			for i := range p.Blobs {
				o.packs[name][p.Blobs[i].Prefix] = true
			}
		}
	case "index":
		var list []byte
		if _, list, err = o.world.repo.OpenObject(object, data); err == nil {
			var packs []index.Listed
			packs, err = index.DecodeList(string(list))
			for i := range packs {
				o.indexed[name] = append(o.indexed[name], packs[i].Name)
			}
		}
	case "snapshots":
		var body []byte
		if body, _, err = o.world.repo.OpenObject(object, data); err == nil {
			o.records[name] = o.needs[string(body)]
			o.check(ctx, "a snapshot was stored")
		}
	case "evictions":
		o.world.trouble, err = true, nil
	default:
		err = nil
	}
	if err != nil {
		o.world.fail("%s was stored: %w", object, err)
	}
}

// remove is told of an object that was removed.
func (o *oracle) remove(ctx context.Context, object string) {
	delete(o.there, object)
	if folder, _ := split(object); folder == "data" || folder == "index" {
		o.check(ctx, "an object of "+folder+"/ was removed")
	}
}

// cut looks at what a power cut left.
func (o *oracle) cut(ctx context.Context) {
	o.there = map[string]bool{}
	for object := range o.world.objects(ctx, o.world.disk) {
		o.there[object] = true
	}
	o.check(ctx, "the power was cut")
}

func split(object string) (folder, base string) {
	folder, _, _ = strings.Cut(object, "/")
	return folder, object[strings.LastIndexByte(object, '/')+1:]
}

func packPath(n blob.Name) string { s := n.String(); return "data/" + s[:2] + "/" + s }

// check looks whether every snapshot that must be whole is.
func (o *oracle) check(ctx context.Context, when string) {
	listed := map[blob.Name]bool{}
	for name, packs := range o.indexed {
		if o.there["index/"+name.String()] {
			for _, p := range packs {
				listed[p] = true
			}
		}
	}
	have := map[index.Prefix]bool{}
	for name, blobs := range o.packs {
		if listed[name] && o.there[packPath(name)] {
			for id := range blobs {
				have[id] = true
			}
		}
	}
	for name, n := range o.records {
		_, promised := o.promised[name]
		stored := o.there["snapshots/"+name.String()]
		if promised && !stored {
			o.world.fail("%s, and snapshot %s, which was confirmed, is gone", when, name.Short())
		}
		if !stored || !promised && o.there["evictions/"+n.session.String()] {
			continue
		}
		for _, id := range n.blobs {
			if !have[index.PrefixOf(id)] {
				o.world.fail("%s, and snapshot %s (confirmed: %v) lacks %s: %s", when, name.Short(), promised, id.Short(), o.whereabouts(id, listed))
				return
			}
		}
	}
}

// whereabouts says what became of a blob.
func (o *oracle) whereabouts(id blob.ID, listed map[blob.Name]bool) string {
	var text []string
	for name, blobs := range o.packs {
		if blobs[index.PrefixOf(id)] {
			text = append(text, fmt.Sprintf("pack %s has it (there: %v, in the index: %v)", name.Short(), o.there[packPath(name)], listed[name]))
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
	for name, n := range o.records {
		if o.there["snapshots/"+name.String()] {
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
			for id := range o.packs[name] {
				if !live[id] || seen[id] {
					return fmt.Errorf("%s holds %s, which nobody needs or which is stored twice", object, id.Short())
				}
				seen[id] = true
			}
		case "index":
			name, err := blob.ParseName(base)
			if err != nil {
				return err
			}
			for _, p := range o.indexed[name] {
				if !o.there[packPath(p)] {
					return fmt.Errorf("%s names pack %s, which is gone", object, p.Short())
				}
			}
		}
	}
	return nil
}
