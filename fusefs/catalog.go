package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// catalog is the layout of the mount at one time. It never changes.
type catalog struct {
	made    time.Time
	names   map[blob.Name]bool // of all stored snapshots, those that are not shown included
	shots   []*shot            // that are shown, the oldest first
	shelves map[string]*shelf  // folders of the layout, by path; "" is the top
}

// shelf is a folder of the layout.
type shelf struct {
	names []string // ascending
	items map[string]item
}

// item is an entry of a shelf: a snapshot, a link, or else a further shelf.
type item struct {
	shot   *shot
	target string
}

func (c *catalog) add(at string, it item) {
	for at != "" {
		dir, name := path.Split(at)
		dir = strings.TrimSuffix(dir, "/")
		s := c.shelves[dir]
		if s == nil {
			s = &shelf{items: map[string]item{}}
			c.shelves[dir] = s
		}
		if _, ok := s.items[name]; ok {
			return
		}
		s.items[name] = it
		s.names = append(s.names, name)
		at, it = dir, item{}
	}
}

func (c *catalog) has(at string) bool {
	dir, name := path.Split(at)
	s := c.shelves[strings.TrimSuffix(dir, "/")]
	if s == nil {
		return false
	}
	_, ok := s.items[name]
	return ok
}

// arrange makes the layout. A snapshot is a folder where the first template puts it, elsewhere it is a link to that.
func (c *catalog) arrange(o *Options) {
	c.shelves = map[string]*shelf{"": {items: map[string]item{}}}
	c.add(historyName, item{})
	for _, t := range o.Templates { // folders are there also if no snapshot is
		if dir := path.Dir(t); dir != "." && !strings.Contains(dir, "%") {
			c.addShelf(dir)
		} else if first, _, _ := strings.Cut(t, "/"); !strings.Contains(first, "%") {
			c.addShelf(first)
		}
	}
	latest := map[string]item{}
	for _, s := range c.shots {
		home := ""
		for _, t := range o.Templates {
			for _, at := range expand(t, s, o.TimeForm, o.Zone) {
				for n, first := 2, at; c.has(at); n++ { // two of the same second
					at = fmt.Sprintf("%s-%d", first, n)
				}
				it := item{shot: s}
				if home != "" {
					it = item{target: relative(path.Dir(at), home)}
				} else {
					home = at
				}
				c.add(at, it)
				if strings.HasSuffix(t, "%T") {
					latest[path.Join(path.Dir(at), "latest")] = item{target: path.Base(at)}
				}
			}
		}
		s.home.Store(&home)
	}
	for at, it := range latest {
		c.add(at, it)
	}
	for _, s := range c.shelves {
		sort.Strings(s.names)
	}
}

func (c *catalog) addShelf(at string) {
	if c.shelves[at] == nil {
		c.shelves[at] = &shelf{items: map[string]item{}}
		c.add(at, item{})
	}
}

// relative is what a link in the folder dir must say to mean home.
func relative(dir, home string) string {
	if dir == "." {
		return home
	}
	return strings.Repeat("../", strings.Count(dir, "/")+1) + home
}

// librarian keeps the catalog up to date.
type librarian struct {
	o     *Options
	store *store

	turn chan struct{} // holds a token while one looks for changes

	mu     sync.Mutex // guards what follows
	now    *catalog
	looked time.Time
	bad    map[blob.Name]time.Time // records that can't be read, and when that was tried
	told   time.Time               // when it was last told that looking failed
}

const badKept = time.Minute // how long a record that can't be read is not tried again, or a failing store is not told of

func newLibrarian(o *Options, s *store) *librarian {
	return &librarian{o: o, store: s, turn: make(chan struct{}, 1), bad: map[blob.Name]time.Time{}}
}

// catalog returns the layout, not older than Options.Fresh, unless somebody else is finding out or the storage can't be reached.
func (l *librarian) catalog(ctx context.Context) (*catalog, error) {
	l.mu.Lock()
	now, fresh := l.now, time.Since(l.looked) < l.o.Fresh
	l.mu.Unlock()
	if now != nil && fresh {
		return now, nil
	}
	if now != nil {
		select {
		case l.turn <- struct{}{}:
		default:
			return now, nil
		}
	} else {
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() { <-l.turn }()
	l.mu.Lock()
	now, fresh = l.now, time.Since(l.looked) < l.o.Fresh // it may have been somebody's turn meanwhile
	l.mu.Unlock()
	if now != nil && fresh {
		return now, nil
	}
	next, err := l.look(ctx, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = time.Now()
	if err == nil {
		l.now = next
		return next, nil
	}
	if now == nil || ctx.Err() != nil {
		return now, err
	}
	if time.Since(l.told) > badKept {
		l.told = time.Now()
		l.o.Report("", fmt.Errorf("look for new snapshots: %w", err))
	}
	return now, nil
}

const recordsAtOnce = 8 // how many snapshots are loaded at a time

// look returns the catalog as it should be now; it is the same one if nothing changed.
func (l *librarian) look(ctx context.Context, old *catalog) (*catalog, error) {
	names, err := l.store.repo.SnapshotNames(ctx)
	if err != nil {
		return nil, err
	}
	next := &catalog{made: time.Now(), names: map[blob.Name]bool{}}
	var load []blob.Name
	for _, n := range names {
		if old != nil && old.names[n] {
			next.names[n] = true
		} else if l.worthTrying(n) {
			load = append(load, n)
		}
	}
	if old != nil && len(load) == 0 && len(next.names) == len(old.names) {
		return old, nil
	}
	if old != nil {
		for _, s := range old.shots {
			if next.names[s.name] {
				next.shots = append(next.shots, s)
			}
		}
	}
	if err := l.load(ctx, load, next); err != nil {
		return nil, err
	}
	slices.SortFunc(next.shots, func(a, b *shot) int {
		if c := a.time.Compare(b.time); c != 0 {
			return c
		}
		return strings.Compare(string(a.name[:]), string(b.name[:]))
	})
	next.arrange(l.o)
	return next, nil
}

func (l *librarian) worthTrying(n blob.Name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.bad[n]) > badKept
}

// load adds snapshots to c. One that can't be read is told of and left out.
func (l *librarian) load(ctx context.Context, names []blob.Name, c *catalog) error {
	var mu sync.Mutex // guards c
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(recordsAtOnce)
	for _, n := range names {
		group.Go(func() error {
			r, err := l.record(ctx, n)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				return nil
			}
			if err != nil {
				l.o.Report("", fmt.Errorf("snapshot %s: %w", n.Short(), err))
				l.mu.Lock()
				l.bad[n] = time.Now()
				l.mu.Unlock()
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			c.names[n] = true
			if l.o.Match(r) {
				c.shots = append(c.shots, newShot(l.store, n, r))
			}
			return nil
		})
	}
	return group.Wait()
}

func (l *librarian) record(ctx context.Context, n blob.Name) (*snapshot.Record, error) {
	data, err := l.store.repo.LoadSnapshot(ctx, n)
	if err != nil {
		return nil, err
	}
	return snapshot.DecodeRecord(data)
}
