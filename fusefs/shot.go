package fusefs

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// shot is a snapshot that is shown, and what is kept of its record.
type shot struct {
	name  blob.Name
	id    uint64 // of its root
	time  time.Time
	host  string
	user  string
	tags  []string
	root  snapshot.Node
	files uint64
	bytes uint64
	dir   *treeDir
	home  atomic.Pointer[string] // where it is a folder

	counting chan struct{} // holds a token while somebody looks at links: a lock that one need not wait for
	links    map[snapshot.LinkKey]uint32
}

func newShot(st *store, name blob.Name, r *snapshot.Record) *shot {
	s := &shot{name: name, id: hashOf(1, "snapshot", string(name[:])), time: r.Time, host: r.Host, user: r.User, tags: r.Tags, root: r.Root,
		files: r.Stats.Files, bytes: r.Stats.Bytes, counting: make(chan struct{}, 1)}
	s.root.Name = ""
	s.dir = &treeDir{shot: s, store: st, id: s.id, node: r.Root.Content}
	return s
}

// linkCount is how many names of this snapshot an inode has. The first question walks the whole of it; what can't be read does not count.
func (s *shot) linkCount(ctx context.Context, key snapshot.LinkKey) (uint32, error) {
	select {
	case s.counting <- struct{}{}:
		defer func() { <-s.counting }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if s.links == nil {
		links := map[snapshot.LinkKey]uint32{}
		err := snapshot.Walk(ctx, s.dir.store, s.root, func(path string, n *snapshot.Node, err error) error {
			if err == nil && !n.Link.IsZero() && n.Type != snapshot.Dir {
				links[n.Link]++
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		for k, n := range links {
			if n == 1 {
				delete(links, k)
			}
		}
		s.links = links
	}
	return max(s.links[key], 1), nil
}
