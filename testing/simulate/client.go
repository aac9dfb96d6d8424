package simulate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/forget"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/prune"
	"github.com/tarn-backup/tarn/snapshot"
)

// client runs programs, one after the other, each in a life that may end early.
type client struct {
	world   *world
	number  int
	rng     *mathrand.Rand
	turn    chan verdict
	pending *request // what it waits for; nil when it is done
	life    *life
	asleep  int  // turns that it misses
	doomed  bool // it dies at its next turn
	last    bool // no further program is begun
	skew    time.Duration
	files   map[string]string // what it saved last
	saved   blob.Name         // as this snapshot

	programs int // that it runs, of which the first is given if it is not nil
	first    func(context.Context, *repo.Repo) error
	again    bool // the next backup saves the same files once more
}

// run is the client's goroutine.
func (c *client) run(ctx context.Context) {
	c.skew = time.Duration(c.rng.IntN(48)-24) * time.Hour
	for i := range c.programs {
		if c.last {
			break
		}
		c.life = &life{client: c}
		r, err := c.world.repo.WithStorage(c.life)
		if err == nil && i == 0 && c.first != nil {
			err = c.first(ctx, r)
		} else if err == nil {
			err = c.program(ctx, r)
		}
		if err != nil && !c.world.trouble {
			c.world.fail("client %d: nothing was in its way, and it failed: %w", c.number, err)
		}
	}
	c.world.events <- event{client: c}
}

func (c *client) now() time.Time { return c.world.now.Add(c.skew) }

func (c *client) program(ctx context.Context, r *repo.Repo) error {
	switch n := c.rng.IntN(26); {
	case n < 10:
		return c.backup(ctx, r)
	case n < 15:
		return c.prune(ctx, r)
	case n < 19:
		return c.forget(ctx, r)
	case n < 21:
		return c.check(ctx, r)
	case n < 23:
		return c.copy(ctx, r)
	case n < 25:
		return c.tag(ctx, r)
	case c.world.options.Quiet:
		return nil
	}
	return c.evict(ctx, r)
}

// session makes a session of this life.
func (c *client) session(purpose repo.Purpose) repo.Session {
	s := repo.Session{Purpose: purpose, Host: fmt.Sprintf("host-%d", c.number), Program: "simulate", Started: c.now()}
	rand.Read(s.ID[:])
	c.world.owners[s.ID] = c.life
	return s
}

// packSize is where packs are full, in bytes.
const packSize = 16 << 10

// texts are what files hold: few, so that clients share them.
const texts = 14

func text(n int) string {
	return fmt.Sprintf("this is what the file number %d holds, and nothing else", n)
}

// change makes the files of the next backup from those of the last one.
func (c *client) change() {
	files := map[string]string{}
	for name, t := range c.files {
		files[name] = t
	}
	for range 1 + c.rng.IntN(4) {
		files[fmt.Sprintf("f%d", c.rng.IntN(4))] = text(c.rng.IntN(texts))
	}
	if c.rng.IntN(3) == 0 { // the same folder for all
		files["z/a"], files["z/b"] = text(0), text(c.rng.IntN(3))
	}
	c.files = files
}

// backup saves files as the command does: if its session is evicted it begins again, and removes the unconfirmed snapshot at the end.
func (c *client) backup(ctx context.Context, r *repo.Repo) error {
	if !c.again {
		c.change()
	}
	c.again = false
	var replaced []blob.Name
	for try := 1; ; try++ {
		s := &saving{client: c, files: c.files}
		name, err := s.session(ctx, r)
		if errors.Is(err, repo.ErrEvicted) && try < 3 {
			replaced = append(replaced, name)
			continue
		}
		if err != nil {
			return err
		}
		c.world.oracle.confirmed(name, s)
		c.world.report.Backups++
		c.saved = name
		for _, name := range replaced {
			if err := r.RemoveSnapshot(ctx, name); err != nil {
				return err
			}
		}
		_, err = r.RemoveReplaced(ctx, s.partials)
		return err
	}
}

// saving is one session of a backup.
type saving struct {
	client   *client
	files    map[string]string
	writer   *repo.Writer
	lane     *repo.Lane
	blobs    []blob.ID // that the snapshot needs
	root     []blob.ID // of these, the contents of the files in the root
	partials []blob.Name
}

// Save notes what is needed.
func (s *saving) Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	id, err := s.lane.Save(ctx, kind, plain)
	s.blobs = append(s.blobs, id)
	return id, err
}

// cutter never cuts.
type cutter struct{}

func (cutter) Cut(p []byte) int { return len(p) }

func (s *saving) session(ctx context.Context, r *repo.Repo) (blob.Name, error) {
	if err := s.begin(ctx, r, repo.PurposeBackup); err != nil {
		return blob.Name{}, err
	}
	name, err := s.save(ctx)
	if err != nil && !errors.Is(err, repo.ErrEvicted) {
		return name, errors.Join(err, s.writer.Abort(ctx))
	}
	return name, err
}

func (s *saving) save(ctx context.Context) (blob.Name, error) {
	c := s.client
	lists := snapshot.Lists{Saver: s, Cutter: cutter{}, Max: 1 << 20}
	root, below := lists.NewTreeBuilder(), lists.NewTreeBuilder()
	for _, name := range []string{"f0", "f1", "f2", "f3", "z/a", "z/b"} {
		content, ok := s.files[name]
		if !ok {
			continue
		}
		id, err := s.Save(ctx, blob.Data, []byte(content))
		if err != nil {
			return blob.Name{}, err
		}
		n := &snapshot.Node{Name: name, Type: snapshot.File, Size: uint64(len(content)),
			Content: snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(len(content))}}}}
		tree := root
		if n.Name[0] == 'z' {
			n.Name = n.Name[2:]
			tree = below
		} else {
			s.root = append(s.root, id)
		}
		if err := tree.Add(ctx, n); err != nil {
			return blob.Name{}, err
		}
		if c.rng.IntN(5) == 0 {
			if err := s.writer.Flush(ctx); err != nil {
				return blob.Name{}, err
			}
		}
		if c.rng.IntN(6) == 0 {
			if err := s.partial(ctx, root); err != nil {
				return blob.Name{}, err
			}
		}
	}
	content, err := below.Finish(ctx)
	if err != nil {
		return blob.Name{}, err
	}
	if len(content.Elements) > 0 {
		if err := root.Add(ctx, &snapshot.Node{Name: "z", Type: snapshot.Dir, Content: content}); err != nil {
			return blob.Name{}, err
		}
	}
	record, err := s.record(ctx, root, false)
	if err != nil {
		return blob.Name{}, err
	}
	return s.writer.Commit(ctx, record)
}

// partial leaves a snapshot of what is done so far.
func (s *saving) partial(ctx context.Context, root *snapshot.TreeBuilder) error {
	all := s.blobs
	s.blobs = slices.Clone(s.root) // it has another tree than the final one, and lacks the folder
	record, err := s.record(ctx, root.Clone(), true)
	s.blobs = all
	if err != nil {
		return err
	}
	name, err := s.writer.PutSnapshot(ctx, record)
	if err == nil {
		s.partials = append(s.partials, name)
	}
	return err
}

func (s *saving) record(ctx context.Context, root *snapshot.TreeBuilder, partial bool) ([]byte, error) {
	content, err := root.Finish(ctx)
	if err != nil {
		return nil, err
	}
	c := s.client
	rec := &snapshot.Record{Time: c.now(), Host: fmt.Sprintf("host-%d", c.number), Paths: []string{"/"}, Session: s.writer.Session(), Partial: partial,
		Root: snapshot.Node{Type: snapshot.Dir, Content: content}}
	data := rec.Encode()
	c.world.oracle.announce(data, s.blobs)
	return data, nil
}

// forget removes snapshots by a policy.
func (c *client) forget(ctx context.Context, r *repo.Repo) error {
	names, err := r.SnapshotNames(ctx)
	if err != nil {
		return err
	}
	evicted, err := r.Evictions(ctx)
	if err != nil {
		return err
	}
	var list []forget.Snapshot
	for _, name := range names {
		data, err := r.LoadSnapshot(ctx, name)
		if err != nil {
			continue // removed meanwhile, or out of reach
		}
		rec, err := snapshot.DecodeRecord(data)
		if err != nil {
			return err
		}
		list = append(list, forget.Snapshot{Name: name, Time: rec.Time, Host: rec.Host, Paths: rec.Paths, Doubtful: rec.Partial || evicted[rec.Session]})
	}
	policy := forget.Policy{Last: 1 + c.rng.IntN(2)}
	var keys []forget.Key
	if c.rng.IntN(2) == 0 {
		keys = []forget.Key{forget.ByHost}
	}
	for _, g := range forget.GroupBy(list, keys) {
		for _, d := range policy.Apply(g.Snapshots, c.now()) {
			if d.Keep {
				continue
			}
			c.world.oracle.forgotten(d.Name)
			if err := r.RemoveSnapshot(ctx, d.Name); err != nil {
				return err
			}
		}
	}
	c.world.report.Forgets++
	return nil
}

// prune prunes, with limits or without. It may know who is dead on its machine.
func (c *client) prune(ctx context.Context, r *repo.Repo) error {
	informed := c.rng.IntN(2) == 0
	o := prune.Options{Session: c.session(repo.PurposePrune), Workers: 1, Inline: true, PackSize: packSize, Now: c.now, Compression: pack.Off,
		MaxUnused: prune.Limit{Bounded: true}, Gone: func(s repo.Session) bool { l := c.world.owners[s.ID]; return informed && l != nil && l.dead }}
	if c.rng.IntN(3) == 0 {
		o.MaxUnused = prune.Limit{Share: 0.5, Bounded: true}
	}
	result, err := prune.Run(ctx, r, o)
	if errors.Is(err, prune.ErrDamaged) {
		c.world.fail("client %d: %w", c.number, err)
	}
	c.world.report.PacksRemoved += result.Removed.Packs
	c.world.report.Rescued += result.Rescued
	if err == nil {
		c.world.report.Prunes++
	}
	return err
}

// evict evicts anybody, as people do.
func (c *client) evict(ctx context.Context, r *repo.Repo) error {
	list, err := r.Sessions(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	c.world.trouble = true
	c.world.report.Evictions++
	return r.Evict(ctx, list[c.rng.IntN(len(list))].ID)
}
