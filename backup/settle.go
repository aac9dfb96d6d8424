package backup

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// settleRounds bounds how often folders that keep changing are listed again.
const settleRounds = 5

// youngFolder is how old a folder's ctime must be when it is listed, so that a change right after it gets another one: a clock tick, or 2 s
// on file systems that keep whole seconds.
const youngFolder = 20 * time.Millisecond

// look is what a folder was like just before it was listed.
type look struct {
	path   string
	inode  inode
	ctime  snapshot.Time
	mtime  snapshot.Time
	young  bool
	fs     source.FileSystem
	origin origin
}

// newLook says what a folder was like that was looked at after the moment at.
func newLook(dir *folder, st *source.Stat, at time.Time) look {
	l := look{path: dir.path, fs: dir.fs, origin: *dir.origin}
	l.set(st, at)
	return l
}

func (l *look) set(st *source.Stat, at time.Time) {
	l.inode, l.ctime, l.mtime = inode{st.Device, st.Inode}, st.ChangeTime, st.ModTime
	age := youngFolder
	if st.ChangeTime.Nsec == 0 {
		age = raceWindow
	}
	l.young = at.Sub(st.ChangeTime.Time()) < age
}

func (l *look) same(st *source.Stat) bool {
	return !l.young && l.inode == inode{st.Device, st.Inode} && l.ctime == st.ChangeTime && l.mtime == st.ModTime
}

// settler looks at all folders again when everything was read, lists those again that changed, and adds what came: a file that is moved from
// a folder not yet listed to one that was would be lost otherwise. What was captured is never dropped, unless it is the older name of a
// file that was moved.
type settler struct {
	*pipeline
	assembler *assembler
	looks     []look
	blind     bool              // some folder can't be looked at by its path, or not be listed again
	came      map[string]uint64 // inodes of files with one name that came in any round, by paths: the scan record does not have them
	fresh     map[string]bool   // paths of all that came in any round
	moved     map[uint64]bool   // inodes of files that left a folder or came to one, in any round
	stirred   bool              // a folder has changed since it was listed
}

// patch is what changes in one folder of the snapshot.
type patch struct {
	add  []snapshot.Node // ascending by name
	drop map[string]bool
}

// drops reports whether a path in the patch's folder is to go.
func (p *patch) drops(path string) bool {
	return p != nil && p.drop[path[strings.LastIndexByte(path, '/')+1:]]
}

// folderOf is the path of the folder that an absolute path is in.
func folderOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 1)] }

// settle looks again, and in the end sees to it that no folder is in the snapshot twice.
func (s *settler) settle(ctx context.Context) error {
	if err := s.rounds(ctx); err != nil {
		return err
	}
	return s.foldersOnce(ctx)
}

// rounds repeats until a round finds nothing changed, which proves that all names are of one moment.
func (s *settler) rounds(ctx context.Context) error {
	for n := range settleRounds {
		if n > 0 { // or all rounds could be over while a folder that changed once is still young
			if err := rest(ctx, youngFolder); err != nil {
				return err
			}
		}
		changed, err := s.changed(ctx)
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			s.assembler.record.Settled = !s.blind
			return nil
		}
		s.stirred = true
		if err := s.store.Flush(ctx); err != nil { // what was saved is loaded again below
			return err
		}
		if err := s.round(ctx, changed); err != nil {
			return err
		}
	}
	return s.single(ctx)
}

// single sees to it, when the last round is over and files still move, that none of them is in the snapshot under two names: one that was captured
// on its way there and on its way back.
func (s *settler) single(ctx context.Context) error {
	if len(s.moved) == 0 {
		return nil
	}
	if err := s.store.Flush(ctx); err != nil { // what was saved is loaded again below
		return err
	}
	names := map[uint64][]string{}
	err := s.known(ctx, func(path string, inode uint64) {
		if s.moved[inode] && !slices.Contains(names[inode], path) {
			names[inode] = append(names[inode], path)
		}
	})
	if err != nil {
		return err
	}
	patches := map[string]*patch{}
	for _, list := range names {
		for _, old := range list {
			for _, other := range list {
				if n, err := s.captured(ctx, other); err == nil && other != old && !patches[folderOf(other)].drops(other) {
					s.drop(ctx, old, &n.ModTime, patches)
				}
			}
		}
	}
	return s.apply(ctx, patches)
}

// captured returns the file with one name that the snapshot has at a path.
func (s *settler) captured(ctx context.Context, path string) (snapshot.Node, error) {
	n, err := snapshot.Lookup(ctx, s.store, s.assembler.record.Root, path)
	if err == nil && (n.Type != snapshot.File || !n.Link.IsZero()) {
		err = snapshot.ErrNotFound
	}
	return n, err
}

// rest waits, unless ctx ends first.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// changed looks at all folders, and returns those that are no longer as they were.
func (s *settler) changed(ctx context.Context) ([]*look, error) {
	var changed []*look
	for i := range s.looks {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l := &s.looks[i]
		at := time.Now()
		st, err := source.Lstat(l.path)
		if err != nil || st.Type != snapshot.Dir {
			s.blind = s.blind || err != nil && !source.IsGone(err)
			continue // gone: what it held was captured, or went elsewhere
		}
		if !l.same(&st) {
			l.set(&st, at)
			changed = append(changed, l)
		}
	}
	return changed, nil
}

// round lists folders again and changes the snapshot's trees.
func (s *settler) round(ctx context.Context, changed []*look) error {
	patches := map[string]*patch{}
	m := moves{arrived: map[uint64]string{}, left: map[string]bool{}}
	for _, l := range changed {
		nodes, err := s.arrivals(ctx, l, &m)
		if err != nil {
			return err
		}
		if len(nodes) > 0 {
			patches[l.path] = &patch{add: nodes}
		}
	}
	if err := s.departures(ctx, &m, patches); err != nil {
		return err
	}
	return s.apply(ctx, patches)
}

// apply changes the snapshot's trees.
func (s *settler) apply(ctx context.Context, patches map[string]*patch) error {
	if len(patches) == 0 {
		return nil
	}
	if err := s.store.Flush(ctx); err != nil {
		return err
	}
	root, err := s.rewrite(ctx, "", s.assembler.record.Root.Content, patches, above(patches))
	if err != nil {
		return err
	}
	s.assembler.record.Root.Content = root
	return s.assembler.lane.Flush(ctx)
}

// moves is what a round has found out about files that were moved.
type moves struct {
	arrived map[uint64]string // inodes of files with one name that came, and the path of that
	left    map[string]bool   // paths that the snapshot has and that are gone
}

// arrivals captures the entries of a folder that the snapshot does not have.
func (s *settler) arrivals(ctx context.Context, l *look, m *moves) ([]snapshot.Node, error) {
	node, err := snapshot.Lookup(ctx, s.store, s.assembler.record.Root, l.path)
	if errors.Is(err, snapshot.ErrNotFound) {
		return nil, nil // the folder itself came with another one, or went
	}
	if err != nil {
		return nil, err
	}
	var have []string
	for n, err := range snapshot.Entries(ctx, s.store, node.Content) {
		if err != nil {
			return nil, err
		}
		have = append(have, n.Name)
	}
	dir, err := source.OpenDir(l.path)
	if err != nil {
		s.blind = s.blind || !source.IsGone(err)
		return nil, nil
	}
	defer dir.Release()
	names, err := dir.List()
	if err != nil {
		s.blind = s.blind || !source.IsGone(err)
		return nil, nil
	}
	for _, name := range have {
		if _, there := slices.BinarySearch(names, name); !there {
			m.left[strings.TrimSuffix(l.path, "/")+"/"+name] = true
		}
	}
	sub := &folder{Dir: dir, path: l.path, fs: l.fs, device: l.inode.device, origin: &l.origin}
	a := s.assembler.looseAssembler(s.o)
	looks, err := s.run(ctx, func(list *lister) error {
		if left, ok := tagged(s.o, sub, names); ok {
			names = left
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			_, ok := slices.BinarySearch(have, name)
			return ok || s.assembler.dropped[pathIn(l.path, name)] || ofDatabase(dir, have, name)
		})
		return list.each(sub, names)
	}, &previous{}, a)
	if err != nil {
		return nil, err
	}
	s.looks = append(s.looks, looks...)
	for i := range a.loose {
		n := &a.loose[i]
		path := pathIn(l.path, n.Name)
		s.fresh[path] = true
		if n.Type == snapshot.File && n.Link.IsZero() {
			inode := a.inodes[n.Name]
			m.arrived[inode], s.came[path], s.moved[inode] = path, inode, true
		}
	}
	return a.loose, nil
}

// ofDatabase reports whether a file that came is the journal or log of a database that was captured, with what belonged to it then. Beside
// that one, a journal of a later transaction would make SQLite undo what it has not done.
func ofDatabase(dir *source.Dir, have []string, name string) bool {
	db := databaseOf(name)
	if _, ok := slices.BinarySearch(have, db); db == "" || !ok {
		return false
	}
	f, err := dir.OpenFile(db)
	if err != nil {
		return false
	}
	defer f.Close()
	return source.HasPrefix(int(f.Fd()), sqliteHeader)
}

// departures finds the older names of files that were moved while the backup ran, and drops those that are gone.
func (s *settler) departures(ctx context.Context, m *moves, patches map[string]*patch) error {
	if len(m.arrived) == 0 && len(m.left) == 0 {
		return nil
	}
	twice := map[uint64]string{} // inodes of what left
	err := s.known(ctx, func(path string, inode uint64) {
		if m.left[path] {
			twice[inode], s.moved[inode] = path, true
		}
		if now, ok := m.arrived[inode]; ok && now != path {
			s.drop(ctx, path, nil, patches)
		}
	})
	if err == nil && len(twice) > 0 {
		err = s.doubles(ctx, twice, patches)
	}
	return err
}

// known goes through all paths that were captured until this round.
func (s *settler) known(ctx context.Context, fn func(path string, inode uint64)) error {
	scan := snapshot.NewScanReader(ctx, s.store, s.assembler.record.Scan)
	defer scan.Close()
	for path, seen := range scan.All() {
		fn("/"+path, seen.Inode)
	}
	for path, inode := range s.came {
		fn(path, inode)
	}
	return scan.Err()
}

// doubles drops the older names of files that the walk met twice: they were moved from a folder that it had listed to one that it had not.
// The time of the last change must be the same, since an inode may also be another file's by now.
func (s *settler) doubles(ctx context.Context, twice map[uint64]string, patches map[string]*patch) error {
	return s.known(ctx, func(path string, inode uint64) {
		old, ok := twice[inode]
		if !ok || old == path {
			return
		}
		if n, err := s.captured(ctx, path); err == nil {
			s.drop(ctx, old, &n.ModTime, patches)
		}
	})
}

// drop takes a file out of the snapshot if its path is gone. If a time is given, the file must have been changed then.
func (s *settler) drop(ctx context.Context, path string, when *snapshot.Time, patches map[string]*patch) {
	if _, err := source.Lstat(path); !source.IsGone(err) {
		return // still there, or something else is
	}
	n, err := s.captured(ctx, path)
	if err != nil || when != nil && n.ModTime != *when {
		return
	}
	if takeOut(path, patches) {
		s.uncount(ctx, &n, path)
	}
}

// takeOut patches a path out of the snapshot, and reports whether it was not yet.
func takeOut(path string, patches map[string]*patch) bool {
	dir, name := folderOf(path), path[strings.LastIndexByte(path, '/')+1:]
	if patches[dir] == nil {
		patches[dir] = &patch{}
	}
	if patches[dir].drop == nil {
		patches[dir].drop = map[string]bool{}
	}
	if patches[dir].drops(path) {
		return false
	}
	patches[dir].drop[name] = true
	return true
}

// uncount takes a file out of the statistics, and what was said of it.
func (s *settler) uncount(ctx context.Context, n *snapshot.Node, path string) {
	r := s.assembler.record
	r.Stats.Files--
	if as := s.change(ctx, n, path); *as > 0 { // a damaged parent may not have told the walk the same
		*as--
	}
	r.Stats.Bytes -= n.Size
	c := &r.Capture
	*[...]*uint64{snapshot.Whole: &c.Whole, snapshot.Appended: &c.Appended, snapshot.Torn: &c.Torn, snapshot.Carried: &c.Carried}[n.State]--
	r.Problems = slices.DeleteFunc(r.Problems, func(p snapshot.Problem) bool { return p.Path == path })
}

// change is the counter of what was found when a file was compared with the parent snapshot.
func (s *settler) change(ctx context.Context, n *snapshot.Node, path string) *uint64 {
	st, parent := &s.assembler.record.Stats, s.o.Parent
	for p := path; p != "/"; p = folderOf(p) {
		if s.fresh[p] { // what comes in a round is compared with nothing
			return &st.New
		}
	}
	if parent == nil {
		return &st.New
	}
	was, err := snapshot.Lookup(ctx, parent.Loader, parent.Record.Root, path)
	switch {
	case err != nil:
		return &st.New
	case was.ModTime == n.ModTime && was.State == n.State && slices.Equal(was.Content.Elements, n.Content.Elements):
		return &st.Unchanged
	}
	return &st.Changed
}

// above returns the paths of all folders that have a patch at or below them.
func above(patches map[string]*patch) map[string]bool {
	all := map[string]bool{}
	for path := range patches {
		path = strings.Trim(path, "/")
		for all[path] = true; path != ""; all[path] = true {
			path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		}
	}
	return all
}

// rewrite copies a folder with its patches, and goes below only where there are some. at has no slash in front.
func (s *settler) rewrite(ctx context.Context, at string, c snapshot.Content, patches map[string]*patch, touched map[string]bool) (snapshot.Content, error) {
	tree := s.assembler.lists.NewTreeBuilder()
	var add []snapshot.Node
	var drop map[string]bool
	if p := patches["/"+at]; p != nil {
		add, drop = p.add, p.drop
		sort.Slice(add, func(i, j int) bool { return add[i].Name < add[j].Name })
	}
	put := func(before string) error {
		for len(add) > 0 && (before == "" || add[0].Name < before) {
			if err := tree.Add(ctx, &add[0]); err != nil {
				return err
			}
			add = add[1:]
		}
		return nil
	}
	cur := snapshot.NewCursor(ctx, s.store, c)
	defer cur.Close()
	var n snapshot.Node
	for cur.Next(&n) {
		if err := put(n.Name); err != nil {
			return c, err
		}
		if drop[n.Name] {
			continue
		}
		path := strings.TrimPrefix(at+"/"+n.Name, "/")
		if n.Type != snapshot.Dir || !touched[path] {
			if err := tree.AddEncoded(ctx, n.Name, cur.Encoded()); err != nil {
				return c, err
			}
			continue
		}
		var err error
		if n.Content, err = s.rewrite(ctx, path, n.Content, patches, touched); err != nil {
			return c, err
		}
		if err := tree.Add(ctx, &n); err != nil {
			return c, err
		}
	}
	if err := cur.Err(); err != nil {
		return c, err
	}
	if err := put(""); err != nil {
		return c, err
	}
	return tree.Finish(ctx)
}
