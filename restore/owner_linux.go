package restore

import (
	"os/user"
	"strconv"
	"sync"

	"github.com/tarn-backup/tarn/snapshot"
)

// owners maps the names of users and groups to this system's numbers, and remembers what it asked for.
type owners struct {
	mu     sync.Mutex
	users  map[string]uint32 // under mu; only names that exist
	groups map[string]uint32 // under mu
	absent map[string]bool   // under mu; "u"+name and "g"+name
}

// ids are the owner and group of n by name, as far as the names exist here, else by number.
func (o *owners) ids(n *snapshot.Node) (uid, gid uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users == nil {
		o.users, o.groups, o.absent = map[string]uint32{}, map[string]uint32{}, map[string]bool{}
	}
	uid = o.lookUpLocked(o.users, "u", n.User, n.UID, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	gid = o.lookUpLocked(o.groups, "g", n.Group, n.GID, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return uid, gid
}

func (o *owners) lookUpLocked(known map[string]uint32, prefix, name string, number uint32, ask func(string) (string, error)) uint32 {
	if name == "" || o.absent[prefix+name] {
		return number
	}
	if id, ok := known[name]; ok {
		return id
	}
	if text, err := ask(name); err == nil {
		if id, err := strconv.ParseUint(text, 10, 32); err == nil {
			known[name] = uint32(id)
			return uint32(id)
		}
	}
	o.absent[prefix+name] = true
	return number
}
