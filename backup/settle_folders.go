package backup

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// twice is a folder that the snapshot has at two places.
type twice struct {
	old *look
	now string // where it was when it was last looked for
}

// foldersOnce takes folders out of the snapshot that were moved after they were captured, and captured again where they went. Of an old place it has
// to be certain that the folder is not there, that the one at the new place is the same, and that the snapshot has there all that it has at the
// old one. A folder that was copied, or emptied on its way, stays in both places.
func (s *settler) foldersOnce(ctx context.Context) error {
	all := s.foldersTwice()
	if len(all) == 0 {
		return nil
	}
	if err := s.store.Flush(ctx); err != nil { // what was saved is loaded again below
		return err
	}
	patches := map[string]*patch{}
	var dropped, kept []string
	for _, f := range all {
		old := f.old.path
		if slices.ContainsFunc(dropped, func(d string) bool { return isBelow(old, d) || isBelow(f.now, d) }) ||
			slices.ContainsFunc(kept, func(k string) bool { return isBelow(k, old) }) {
			continue // it went with a folder that it is in, or others have gone to it
		}
		was, err := s.folder(ctx, old)
		if err != nil {
			continue // it is not in the snapshot: a round found something else in its place
		}
		is, err := s.folder(ctx, f.now)
		if err != nil {
			continue
		}
		has, err := s.hasAll(ctx, &is, &was)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		takeOut(old, patches)
		dropped, kept = append(dropped, old), append(kept, f.now)
		if err := s.uncountFolder(ctx, &was, old); err != nil {
			return err
		}
	}
	return s.apply(ctx, patches)
}

// foldersTwice finds the folders that were looked at under several paths, ascending by the old ones.
func (s *settler) foldersTwice() (all []twice) {
	if !s.stirred {
		return nil
	}
	looks := make([]*look, len(s.looks))
	for i := range s.looks {
		looks[i] = &s.looks[i]
	}
	order := func(a, b *look) int {
		return cmp.Or(cmp.Compare(a.inode.device, b.inode.device), cmp.Compare(a.inode.number, b.inode.number), strings.Compare(a.path, b.path))
	}
	slices.SortStableFunc(looks, order)
	looks = slices.CompactFunc(looks, func(a, b *look) bool { return order(a, b) == 0 })
	for len(looks) > 0 {
		n := slices.IndexFunc(looks, func(l *look) bool { return l.inode != looks[0].inode })
		if n < 0 {
			n = len(looks)
		}
		if n > 1 {
			all = append(all, movedAmong(looks[:n])...)
		}
		looks = looks[n:]
	}
	slices.SortFunc(all, func(a, b twice) int { return strings.Compare(a.old.path, b.old.path) })
	return all
}

// movedAmong finds out at which of several paths an inode is that was looked at under all of them, and which of the others are its old ones. A folder is
// at one place at a time: when it is found at one it was at no other just then, even if it has gone there since.
func movedAmong(places []*look) (all []twice) {
	var birth source.Birth
	now := slices.IndexFunc(places, func(l *look) bool {
		birth = source.Born(l.path)
		return l.is(birth)
	})
	if now < 0 {
		return nil
	}
	for i, l := range places {
		if i == now || !l.sees(birth) {
			continue
		}
		if _, err := source.Lstat(l.path); source.IsGone(err) || l.is(source.Born(l.path)) {
			all = append(all, twice{l, places[now].path})
		}
	}
	return all
}

// folder returns the folder that the snapshot has at a path.
func (s *settler) folder(ctx context.Context, path string) (snapshot.Node, error) {
	n, err := snapshot.Lookup(ctx, s.store, s.assembler.record.Root, path)
	if err == nil && n.Type != snapshot.Dir {
		err = snapshot.ErrNotFound
	}
	return n, err
}

// isBelow reports whether a path is that of a folder, or of something in it.
func isBelow(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/')
}

// is reports whether an inode has the number of the one that was looked at.
func (l *look) is(b source.Birth) bool {
	return b.Time != snapshot.Time{} && l.inode == inode{b.Device, b.Inode}
}

// sees reports whether an inode is the very one that was looked at: it has its number, and was there before the change that the look saw. A folder that
// was made later, and was given the number of one that was removed, is younger than that.
func (l *look) sees(b source.Birth) bool {
	return l.is(b) && (b.Time.Time().Before(l.ctime.Time()) || b.Time == l.ctime && !l.young)
}

// hasAll reports whether the snapshot has in one folder all names that it has in another, and what is whole there as whole here.
func (s *settler) hasAll(ctx context.Context, in, of *snapshot.Node) (bool, error) {
	here := snapshot.NewCursor(ctx, s.store, in.Content)
	defer here.Close()
	var have snapshot.Node
	more := here.Next(&have)
	for want, err := range snapshot.Entries(ctx, s.store, of.Content) {
		if err != nil {
			return false, err
		}
		for more && have.Name < want.Name {
			more = here.Next(&have)
		}
		if !more || have.Name != want.Name || have.Type != want.Type || want.State == snapshot.Whole && have.State > snapshot.Appended {
			return false, here.Err()
		}
		if want.Type == snapshot.Dir {
			if all, err := s.hasAll(ctx, &have, &want); !all {
				return false, err
			}
		}
	}
	return true, here.Err()
}

// uncountFolder takes a folder and all that it has out of the statistics, and what was said of it.
func (s *settler) uncountFolder(ctx context.Context, n *snapshot.Node, path string) error {
	r := s.assembler.record
	r.Stats.Folders--
	r.Problems = slices.DeleteFunc(r.Problems, func(p snapshot.Problem) bool { return p.Path == path })
	for e, err := range snapshot.Entries(ctx, s.store, n.Content) {
		if err != nil {
			return err
		}
		at := path + "/" + e.Name
		switch e.Type {
		case snapshot.File:
			s.uncount(ctx, &e, at)
		case snapshot.Dir:
			if err := s.uncountFolder(ctx, &e, at); err != nil {
				return err
			}
		default:
			r.Stats.Others--
		}
	}
	return nil
}
