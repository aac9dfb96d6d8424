package main

import (
	"path/filepath"
	"strings"

	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// tornClusters are the database clusters of a snapshot that a restore of what is below path writes, wholly or in part, and that were saved file by file
// while their servers ran. What --torn-ok allowed is torn all the same.
func tornClusters(r *snapshot.Record, path string, f restore.Filter) (torn []snapshot.Problem) {
	top := "/" + strings.Trim(path, "/")
	for _, p := range r.Problems {
		if p.Kind != snapshot.ProblemCluster && p.Kind != snapshot.ProblemClusterOK {
			continue
		}
		below, err := filepath.Rel(top, p.Path)
		switch {
		case inside(top, p.Path): // a part of it is restored
			torn = append(torn, p)
		case err != nil || !inside(p.Path, top):
		case f == nil || f.Match(filepath.ToSlash(below), snapshot.Dir) != restore.Skip:
			torn = append(torn, p)
		}
	}
	return torn
}

// printClusters names them.
func (a *app) printClusters(torn []snapshot.Problem) {
	if len(torn) == 0 {
		return
	}
	if a.json {
		for _, p := range torn {
			a.emit(problemLine{Type: "problem", Kind: problemKindText(p.Kind), rawPath: rawPathOf(p.Path), Reason: p.Reason})
		}
		return
	}
	text := "database cluster was saved file by file while its server ran, and may not start:"
	if len(torn) > 1 {
		text = "database clusters were saved file by file while their servers ran, and may not start:"
	}
	a.sayf("%s\n", a.stderr.yellow(count(len(torn))+" "+text))
	for _, p := range torn {
		a.sayf("  %s\n", a.stderr.name(p.Path))
	}
	a.sayf("hint: restore a dump, or a snapshot whose state is not \"cluster torn\"; docs/files-in-use.md says how such clusters are saved whole\n")
}
