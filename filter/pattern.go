package filter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Case says whether patterns tell upper case from lower case.
type Case uint8

// The cases.
const (
	Exact Case = iota
	Fold       // A is a
)

// pattern is one line, taken apart.
type pattern struct {
	text    string // as it was given
	negated bool
	folders bool // matches folders only
	path    bool // matches whole paths; else names
	fold    Case
	glob    string // for doublestar; paths have no slash in front
	head    string // literal bytes that it begins with; all of it if wild is 0
	tail    string // literal bytes that it ends with
	wild    int    // wildcards between them
}

// parsePattern takes a pattern apart. It returns false if there is nothing in it.
func parsePattern(text string, fold Case) (p pattern, ok bool, err error) {
	p = pattern{text: text, fold: fold}
	s := text
	if rest, found := strings.CutPrefix(s, "!"); found {
		p.negated, s = true, rest
	}
	if s == "" {
		return p, false, nil
	}
	s = clean(s)
	if fold == Fold {
		s = foldCase(s)
	}
	if rest, found := strings.CutSuffix(s, "/"); found {
		if p.folders = true; escaped(s, len(rest)) { // an escaped slash is a slash, too
			rest = rest[:len(rest)-1]
		}
		s = rest
	}
	p.path = strings.Contains(s, "/")
	s = strings.TrimPrefix(s, "/")
	if s == "" || strings.HasSuffix(s, "/") || strings.Contains(s, "//") {
		return p, false, fmt.Errorf("pattern %q: empty name between slashes", text)
	}
	s = joinStars(s)
	if strings.HasPrefix(s, "**/") && !strings.Contains(s[3:], "/") { // **/x is x
		p.path, s = false, s[3:]
	}
	if s == "**" {
		p.path, s = false, "*"
	}
	if strings.HasSuffix(s, "/**") { // doublestar's matches the folder itself, too
		s += "/*"
	}
	if err := p.compile(s); err != nil {
		return p, false, fmt.Errorf("pattern %q: %w", text, err)
	}
	return p, true, nil
}

// joinStars makes each run of stars one star, or two if they stand alone between slashes. So git reads them.
func joinStars(s string) string {
	if !strings.Contains(s, "**") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		end := i
		for end < len(s) && s[end] == '*' {
			end++
		}
		switch alone := (i == 0 || s[i-1] == '/') && (end == len(s) || s[end] == '/'); {
		case end == i && s[i] == '\\':
			end = min(i+2, len(s))
			b.WriteString(s[i:end])
		case end == i:
			end++
			b.WriteByte(s[i])
		case end > i+1 && alone:
			b.WriteString("**")
		default:
			b.WriteByte('*')
		}
		i = end
	}
	return b.String()
}

// compile translates from gitignore to doublestar, and finds the literal ends.
func (p *pattern) compile(s string) error {
	var glob, run strings.Builder // run: the literal bytes since the last wildcard
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case '*', '?':
			p.wildcard(&run)
			glob.WriteByte(c)
			i++
		case '[':
			p.wildcard(&run)
			class, n, err := p.readClass(s[i:])
			if err != nil {
				return err
			}
			glob.WriteString(class)
			i += n
		case '\\':
			if i++; i == len(s) {
				return errors.New("a backslash at the end")
			}
			fallthrough
		default:
			if strings.IndexByte(`*?[]{}\`, s[i]) >= 0 {
				glob.WriteByte('\\')
			}
			glob.WriteByte(s[i])
			run.WriteByte(s[i])
			i++
		}
	}
	p.glob, p.tail = glob.String(), run.String()
	if p.wild == 0 {
		p.head = p.tail
	}
	if strings.HasPrefix(p.glob, "**/") || strings.Contains(p.glob, "/**/") {
		p.shorten()
	}
	if !doublestar.ValidatePattern(p.glob) {
		return doublestar.ErrBadPattern
	}
	return nil
}

// wildcard ends a run of literal bytes.
func (p *pattern) wildcard(run *strings.Builder) {
	if p.wild == 0 {
		p.head = run.String()
	}
	p.wild++
	run.Reset()
}

// shorten takes from head and tail the slashes that "/**/" may share: a/**/b matches a/b.
func (p *pattern) shorten() {
	p.head = strings.TrimSuffix(p.head, "/")
	p.tail = strings.TrimPrefix(p.tail, "/")
}

// posixClass is one of the named classes that git knows, for ASCII.
func posixClass(name string) (string, bool) {
	switch name {
	case "alnum":
		return "a-zA-Z0-9", true
	case "alpha":
		return "a-zA-Z", true
	case "blank":
		return " \t", true
	case "cntrl":
		return "\x00-\x1f\x7f", true
	case "digit":
		return "0-9", true
	case "graph":
		return "\x21-\x2e\x30-\x7e", true // no slash
	case "lower":
		return "a-z", true
	case "print":
		return "\x20-\x2e\x30-\x7e", true
	case "punct":
		return `\!-\.:-@\[-` + "`{-~", true
	case "space":
		return " \t\n\v\f\r", true
	case "upper":
		return "A-Z", true
	case "xdigit":
		return "0-9a-fA-F", true
	}
	return "", false
}

// readClass reads a bracket expression at the beginning of s, and returns it as doublestar wants it, and its length in s.
func (p *pattern) readClass(s string) (class string, n int, err error) {
	errClass := errors.New("a bracket is not closed (write \\[ for the character)")
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		b.WriteByte('!')
		i++
	}
	for first := true; ; first = false {
		if i >= len(s) {
			return "", 0, errClass
		}
		switch c := s[i]; {
		case c == ']' && !first:
			b.WriteByte(']')
			return b.String(), i + 1, nil
		case c == '/':
			return "", 0, errors.New("a slash between brackets never matches")
		case c == '[' && i+1 < len(s) && s[i+1] == ':':
			name, _, found := strings.Cut(s[i+2:], ":]")
			if p.fold == Fold && name == "upper" {
				name = "lower" // upper case is gone
			}
			set, ok := posixClass(name)
			if !found || !ok {
				return "", 0, fmt.Errorf("unknown class [:%s:]", name)
			}
			b.WriteString(set)
			i += len("[:") + len(name) + len(":]")
		case c == '\\':
			if i++; i >= len(s) {
				return "", 0, errClass
			}
			b.WriteByte('\\')
			b.WriteByte(s[i])
			i++
		default:
			if strings.IndexByte("[]{}!^", c) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
			i++
		}
	}
}
