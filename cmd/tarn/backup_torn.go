package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/filter"
	"github.com/tarn-backup/tarn/snapshot"
)

// tornFlags say what torn files mean to the user.
type tornFlags struct {
	ok, fatal patternFlags
}

func (t *tornFlags) flags(f *pflag.FlagSet) {
	f.Var(t.ok.value(filter.Exact, patternText), "torn-ok", "it does not matter if files that match `PATTERN` are torn")
	f.Var(t.fatal.value(filter.Exact, patternText), "torn-fatal", "no backup if files that match `PATTERN` are torn")
}

// tornRules are tornFlags, compiled.
type tornRules struct {
	ok, fatal *filter.Rules
}

func (t *tornFlags) rules() (r tornRules, err error) {
	if r.ok, err = t.ok.rules(); err != nil {
		return r, fmt.Errorf("--torn-ok: %w", err)
	}
	if r.fatal, err = t.fatal.rules(); err != nil {
		return r, fmt.Errorf("--torn-fatal: %w", err)
	}
	return r, nil
}

// judge goes through the torn files and clusters of a backup that is not committed yet. The nodes stay marked as torn whatever the user thinks of it.
func (t *tornRules) judge(r *snapshot.Record) error {
	var fatal []*snapshot.Problem
	for i := range r.Problems {
		p := &r.Problems[i]
		allowed, isDir := snapshot.ProblemTornOK, false
		switch p.Kind {
		case snapshot.ProblemTorn:
		case snapshot.ProblemCluster:
			allowed, isDir = snapshot.ProblemClusterOK, true
		default:
			continue
		}
		switch {
		case t.fatal.Covers(p.Path, isDir):
			fatal = append(fatal, p)
		case t.ok.Covers(p.Path, isDir):
			p.Kind = allowed
		}
	}
	if len(fatal) == 0 {
		return nil
	}
	err := fmt.Errorf("no snapshot was made, since --torn-fatal forbids it: %s: %s", fatal[0].Path, fatal[0].Reason)
	if n := len(fatal) - 1; n > 0 {
		err = fmt.Errorf("%w; and %s more", err, counted(n, "path"))
	}
	return withHint(err, "run it again when nobody writes there: what was uploaded is kept; a file system snapshot (tarn source list %s) would hold such files still", fatal[0].Path)
}
