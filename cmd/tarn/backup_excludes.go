package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/filter"
)

// exclusion is what a backup leaves out: what patterns name, and the repository that it writes to.
type exclusion struct {
	rules      *filter.Rules
	repository map[string]bool // paths at which the walk comes to it
}

// Match reports whether an entry is left out, with all below it.
func (e *exclusion) Match(path string, isDir bool) bool {
	return isDir && e.repository[path] || e.rules.Match(path, isDir)
}

// excludes sets what is left out.
func (a *app) excludes(b *backupFlags, repository string, o *backup.Options) error {
	rules, err := b.excludes.rules()
	if err != nil {
		return err
	}
	a.noteAnchored(rules.Patterns())
	e := &exclusion{rules: rules, repository: map[string]bool{}}
	for _, source := range o.Paths {
		if repository == "" { // on another machine
			break
		}
		at, inside, err := within(source, repository)
		if err != nil {
			return err
		}
		if inside {
			e.repository[at] = true
			a.notef("note: the repository %s lies in %s and is left out", a.stderr.name(at), a.stderr.name(source))
		}
	}
	o.Record.Excludes = rules.Patterns()
	if !rules.Empty() || len(e.repository) > 0 {
		o.Exclude = e
	}
	return nil
}

// within returns the path at which a walk of source comes to the repository, and whether it does. Links are followed for this alone, since
// either may be named by way of one.
func within(source, repository string) (at string, inside bool, err error) {
	from, err := filepath.EvalSymlinks(filepath.FromSlash(source))
	if err != nil {
		return "", false, nil // a source that is not there is told of later
	}
	to, err := filepath.EvalSymlinks(repository)
	if err != nil {
		return "", false, err
	}
	rel, err := filepath.Rel(from, to)
	if err != nil {
		return "", false, nil // on another volume
	}
	if rel = filepath.ToSlash(rel); rel == "." {
		return "", false, fmt.Errorf("%s is the repository itself", source)
	}
	if rel != ".." && !strings.HasPrefix(rel, "../") {
		return below(source) + rel, true, nil
	}
	back, err := filepath.Rel(to, from)
	if err == nil && back != ".." && !strings.HasPrefix(filepath.ToSlash(back), "../") {
		return "", false, fmt.Errorf("%s is a part of the repository itself", source)
	}
	return "", false, nil
}
