package forget

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
)

// Snapshot is what a policy looks at.
type Snapshot struct {
	Name     blob.Name
	Time     time.Time
	Host     string
	Paths    []string
	Tags     []string
	Doubtful bool // not finished, or its session was evicted: it is no reason to remove a good one
}

// Key is something that the snapshots of a group have in common.
type Key string

// The keys.
const (
	ByHost  Key = "host"
	ByPaths Key = "paths"
	ByTags  Key = "tags"
)

// ParseKeys reads keys as users write them; the singular will do. No keys, or "none", means one group of all.
func ParseKeys(names []string) ([]Key, error) {
	var keys []Key
	for _, name := range names {
		switch strings.TrimSuffix(name, "s") {
		case "host":
			keys = append(keys, ByHost)
		case "path":
			keys = append(keys, ByPaths)
		case "tag":
			keys = append(keys, ByTags)
		case "", "none":
		default:
			return nil, fmt.Errorf("group by %q: want host, paths, tags or none", name)
		}
	}
	return keys, nil
}

// Group is the snapshots that have the same host, paths or tags, the newest first.
type Group struct {
	Host        string   // where the key is not used, empty
	Paths, Tags []string // sorted; the same
	Snapshots   []Snapshot
}

// String names a group for people; empty if there are no keys.
func (g *Group) String() string {
	var parts []string
	for _, p := range []struct {
		word   string
		values []string
	}{{"host", []string{g.Host}}, {"paths", g.Paths}, {"tags", g.Tags}} {
		if text := strings.Join(p.values, ", "); text != "" {
			parts = append(parts, p.word+" "+text)
		}
	}
	return strings.Join(parts, ", ")
}

// GroupBy puts snapshots into groups, which are in the order of their keys.
func GroupBy(list []Snapshot, keys []Key) []Group {
	groups := map[string]*Group{}
	for _, s := range list {
		var g Group
		for _, k := range keys {
			switch k {
			case ByHost:
				g.Host = s.Host
			case ByPaths:
				g.Paths = sorted(s.Paths)
			case ByTags:
				g.Tags = sorted(s.Tags)
			}
		}
		key := strings.Join([]string{g.Host, strings.Join(g.Paths, "\x00"), strings.Join(g.Tags, "\x00")}, "\x01")
		if groups[key] == nil {
			groups[key] = &g
		}
		groups[key].Snapshots = append(groups[key].Snapshots, s)
	}
	var result []Group
	for _, g := range groups {
		slices.SortFunc(g.Snapshots, newestFirst)
		result = append(result, *g)
	}
	slices.SortFunc(result, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), slices.Compare(a.Paths, b.Paths), slices.Compare(a.Tags, b.Tags))
	})
	return result
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func newestFirst(a, b Snapshot) int {
	return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Name.String(), b.Name.String()))
}
