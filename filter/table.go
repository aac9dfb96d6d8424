package filter

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// entry is what is asked about.
type entry struct {
	path   string // without a slash in front
	name   string
	folder bool
}

// table finds the patterns of one Case that match. Patterns go by their number in the list; the greatest that matches decides.
type table struct {
	names    map[string][]numbered // by the whole name; numbers descend
	paths    map[string][]numbered // by the whole path
	suffixes map[string][]numbered // by the end of the name: patterns like *.o
	lengths  []int                 // of the suffixes
	globs    []numbered            // all others, descending
}

type numbered struct {
	*pattern
	number int
}

func (r *Rules) build() {
	for i := len(r.patterns) - 1; i >= 0; i-- {
		if p := (numbered{&r.patterns[i], i}); p.fold == Fold {
			r.fold.add(p)
		} else {
			r.exact.add(p)
		}
	}
}

func (t *table) add(p numbered) {
	switch {
	case p.wild == 0 && p.path:
		insert(&t.paths, p.head, p)
	case p.wild == 0:
		insert(&t.names, p.head, p)
	case p.wild == 1 && !p.path && p.glob[0] == '*':
		insert(&t.suffixes, p.tail, p)
		if !slices.Contains(t.lengths, len(p.tail)) {
			t.lengths = append(t.lengths, len(p.tail))
		}
	default:
		t.globs = append(t.globs, p)
	}
}

func insert(m *map[string][]numbered, key string, p numbered) {
	if *m == nil {
		*m = map[string][]numbered{}
	}
	list := (*m)[key]
	if n := len(list); n > 0 && (!list[n-1].folders || p.folders) {
		return // one that comes later always decides
	}
	(*m)[key] = append(list, p)
}

func (t *table) empty() bool {
	return t.names == nil && t.paths == nil && t.suffixes == nil && t.globs == nil
}

// find returns the greatest number of a pattern that matches, or best if that is greater.
func (t *table) find(e *entry, best int) int {
	if t.names != nil {
		best = e.decide(t.names[e.name], best)
	}
	if t.paths != nil {
		best = e.decide(t.paths[e.path], best)
	}
	for _, n := range t.lengths {
		if n <= len(e.name) {
			best = e.decide(t.suffixes[e.name[len(e.name)-n:]], best)
		}
	}
	for _, p := range t.globs {
		if p.number < best {
			break
		}
		if e.isKind(p) && p.matches(e) {
			return p.number
		}
	}
	return best
}

// decide goes through patterns that match but for the kind of the entry.
func (e *entry) decide(list []numbered, best int) int {
	for _, p := range list {
		if e.isKind(p) {
			return max(best, p.number)
		}
	}
	return best
}

func (e *entry) isKind(p numbered) bool { return e.folder || !p.folders }

func (p *pattern) matches(e *entry) bool {
	s := e.name
	if p.path {
		s = e.path
	}
	return strings.HasPrefix(s, p.head) && strings.HasSuffix(s, p.tail) && doublestar.MatchUnvalidated(p.glob, s)
}
