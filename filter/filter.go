package filter

import (
	"strings"
)

// Rules is a compiled list of patterns. The nil Rules has none.
type Rules struct {
	patterns []pattern
	exact    table
	fold     table
}

// Verdict is what a list of patterns says of a path.
type Verdict uint8

// The verdicts.
const (
	Silent  Verdict = iota // no pattern matches
	Named                  // the last pattern that matches names it
	Negated                // the last pattern that matches begins with "!"
)

// Parse compiles patterns. Empty ones are passed over; a "#" has no meaning here, see [Lines].
func Parse(patterns []string, c Case) (*Rules, error) {
	r := new(Rules)
	for _, text := range patterns {
		p, ok, err := parsePattern(text, c)
		if err != nil {
			return nil, err
		}
		if ok {
			r.patterns = append(r.patterns, p)
		}
	}
	r.build()
	return r, nil
}

// Join returns the patterns of several lists as one, in order.
func Join(lists ...*Rules) *Rules {
	r := new(Rules)
	for _, l := range lists {
		if l != nil {
			r.patterns = append(r.patterns, l.patterns...)
		}
	}
	r.build()
	return r
}

// Lines returns the patterns of a file: one a line, without blank lines and those that begin with "#" (write "\#" for a name that
// does), and without spaces at the end that have no backslash before them.
func Lines(file string) []string {
	var patterns []string
	for line := range strings.Lines(strings.TrimPrefix(file, "\ufeff")) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		for strings.HasSuffix(line, " ") && !escaped(line, len(line)-1) {
			line = line[:len(line)-1]
		}
		if line != "" {
			patterns = append(patterns, line)
		}
	}
	return patterns
}

// escaped reports whether an odd number of backslashes stands before s[i].
func escaped(s string, i int) bool {
	n := 0
	for i > n && s[i-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// Empty reports whether there are no patterns.
func (r *Rules) Empty() bool { return r == nil || len(r.patterns) == 0 }

// Patterns returns the patterns as they were given.
func (r *Rules) Patterns() []string {
	if r == nil {
		return nil
	}
	var list []string
	for i := range r.patterns {
		list = append(list, r.patterns[i].text)
	}
	return list
}

// Match reports whether an entry is named. path is absolute, slash-separated and clean.
func (r *Rules) Match(path string, isDir bool) bool {
	return r.Verdict(path, isDir) == Named
}

// Verdict says what the patterns have to say of an entry itself, whatever they say of the folders above it.
func (r *Rules) Verdict(path string, isDir bool) Verdict {
	if r.Empty() {
		return Silent
	}
	path = clean(strings.TrimPrefix(path, "/"))
	if path == "" {
		return Silent
	}
	e := entry{path: path, name: path[strings.LastIndexByte(path, '/')+1:], folder: isDir}
	best := r.exact.find(&e, -1)
	if !r.fold.empty() {
		e.path = foldCase(e.path)
		e.name = e.path[strings.LastIndexByte(e.path, '/')+1:]
		best = r.fold.find(&e, best)
	}
	switch {
	case best < 0:
		return Silent
	case r.patterns[best].negated:
		return Negated
	}
	return Named
}

// Covers reports whether an entry or a folder above it is named: the verdict that is nearest to the entry counts.
func (r *Rules) Covers(path string, isDir bool) bool {
	for path != "" && path != "/" {
		if v := r.Verdict(path, isDir); v != Silent {
			return v == Named
		}
		path, isDir = path[:strings.LastIndexByte(path, '/')+1], true
		path = strings.TrimSuffix(path, "/")
	}
	return false
}

// Reaches reports whether something below a folder may be named. It is false only if nothing can be.
func (r *Rules) Reaches(folder string) bool {
	if r.Empty() {
		return false
	}
	at := clean(strings.TrimPrefix(folder, "/"))
	if at == "" {
		return true
	}
	at += "/"
	folded := foldCase(at)
	for i := range r.patterns {
		p := &r.patterns[i]
		if p.negated {
			continue
		}
		if p.reaches(at) || p.fold == Fold && p.reaches(folded) {
			return true
		}
	}
	return false
}

// reaches is Reaches for one pattern; at ends with a slash.
func (p *pattern) reaches(at string) bool {
	if !p.path {
		return true
	}
	if p.wild == 0 {
		return strings.HasPrefix(p.head, at)
	}
	return strings.HasPrefix(p.head, at) || strings.HasPrefix(at, p.head)
}
