package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/tarn-backup/tarn/filter"
)

// patternSource says what a flag's value is.
type patternSource uint8

const (
	patternText patternSource = iota
	patternFile
)

// patternFlags gather the patterns of several flags in the order in which they stand on the command line, since the last one that matches
// decides.
type patternFlags struct {
	given []patternArg
}

type patternArg struct {
	text   string
	fold   filter.Case
	source patternSource
}

// patternValue is one of the flags.
type patternValue struct {
	flags  *patternFlags
	fold   filter.Case
	source patternSource
}

func (f *patternFlags) value(c filter.Case, s patternSource) *patternValue {
	return &patternValue{f, c, s}
}

// Set adds a pattern, for pflag.
func (v *patternValue) Set(text string) error {
	v.flags.given = append(v.flags.given, patternArg{text, v.fold, v.source})
	return nil
}

func (v *patternValue) String() string { return "" }

// Type names the flag's value in the help.
func (v *patternValue) Type() string {
	if v.source == patternFile {
		return "FILE"
	}
	return "PATTERN"
}

// rules compiles what was given.
func (f *patternFlags) rules() (*filter.Rules, error) {
	var lists []*filter.Rules
	for _, g := range f.given {
		patterns := []string{g.text}
		if g.source == patternFile {
			data, err := os.ReadFile(g.text)
			if err != nil {
				return nil, fmt.Errorf("read the patterns: %w", err)
			}
			patterns = filter.Lines(string(data))
		}
		r, err := filter.Parse(patterns, g.fold)
		if err != nil {
			if g.source == patternFile {
				err = fmt.Errorf("%s: %w", g.text, err)
			}
			return nil, err
		}
		lists = append(lists, r)
	}
	return filter.Join(lists...), nil
}

// anchored returns the patterns that look as if they were meant to match anywhere, and match from the root only.
func anchored(patterns []string) (found []string) {
	for _, p := range patterns {
		rest := strings.TrimSuffix(strings.TrimPrefix(p, "!"), "/")
		if strings.Contains(rest, "/") && !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "**/") {
			found = append(found, p)
		}
	}
	return found
}

// noteAnchored tells of patterns that may match less than they were meant to.
func (a *app) noteAnchored(patterns []string) {
	for _, p := range anchored(patterns) {
		a.notef("note: the pattern %s matches from the root only; write **/%s to match it anywhere", a.stderr.name(p), a.stderr.name(p))
	}
}

// texts returns the patterns that stand on the command line itself.
func (f *patternFlags) texts() (list []string) {
	for _, g := range f.given {
		if g.source == patternText {
			list = append(list, g.text)
		}
	}
	return list
}
