package fusefs

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// DefaultTimeForm writes times so that they sort, are valid names everywhere, and complete well in a shell.
const DefaultTimeForm = "2006-01-02T15-04-05"

// DefaultTemplates are the places where a snapshot appears.
func DefaultTemplates() []string {
	return []string{"snapshots/%T", "ids/%i", "hosts/%h/%T", "tags/%t/%T"}
}

// historyName is the folder at the top that templates can't use.
const historyName = "history"

// ParseTemplate checks a path template: a relative path in which %i is the short ID of the snapshot, %I the long one, %T its time, %h its host, %u
// its user, %t a tag (it appears once for each), and %% a percent sign.
func ParseTemplate(t string) error {
	parts := strings.Split(t, "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			return fmt.Errorf("path template %q: want names between single slashes", t)
		}
	}
	if parts[0] == historyName {
		return fmt.Errorf("path template %q: %s is taken", t, historyName)
	}
	one := strings.ReplaceAll(t, "%%", "")
	for _, word := range []string{"%i", "%I", "%T", "%h", "%u", "%t"} {
		one = strings.ReplaceAll(one, word, "")
	}
	if strings.Contains(one, "%") {
		return fmt.Errorf("path template %q: want %%i, %%I, %%T, %%h, %%u, %%t or %%%% behind a percent sign", t)
	}
	last := parts[len(parts)-1]
	if !strings.Contains(last, "%T") && !strings.Contains(last, "%i") && !strings.Contains(last, "%I") {
		return fmt.Errorf("path template %q: its last part must tell snapshots apart, by %%T, %%i or %%I", t)
	}
	return nil
}

// expand returns the paths of s under a template.
func expand(template string, s *shot, form string, zone *time.Location) []string {
	tags := []string{""}
	if strings.Contains(template, "%t") {
		tags = s.tags
	}
	var paths []string
	for _, tag := range tags {
		r := strings.NewReplacer("%%", "%", "%i", s.name.Short(), "%I", s.name.String(), "%T", s.time.In(zone).Format(form),
			"%h", s.host, "%u", s.user, "%t", tag)
		var parts []string
		for part := range strings.SplitSeq(template, "/") {
			parts = append(parts, safeName(r.Replace(part)))
		}
		paths = append(paths, path.Join(parts...))
	}
	return paths
}

// safeName makes a name of what a snapshot's record says.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '/' || r == 0 {
			return '_'
		}
		return r
	}, s)
	switch s {
	case "":
		return "_"
	case ".", "..":
		return strings.Repeat("_", len(s))
	}
	return s[:min(len(s), 200)] // room for a suffix
}
