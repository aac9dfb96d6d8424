package main

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
)

// unsaved tells of paths below top, as a restore of top has them, whether they could not be read when the snapshot was made, or are in
// a folder that could not. Of a backup that was not finished nobody can tell.
func unsaved(s saved, top string) (func(below string) bool, error) {
	if s.Record.Partial {
		err := fmt.Errorf("snapshot %s is of a backup that was not finished: --delete would remove all that it did not come to", s.Name.Short())
		return nil, withHint(err, "restore it without --delete")
	}
	top = "/" + strings.Trim(top, "/")
	unreadable := map[string]bool{}
	for _, p := range s.Record.Problems {
		if p.Kind != snapshot.Unreadable {
			continue
		}
		if inside(top, p.Path) {
			return func(string) bool { return true }, nil
		}
		if below, err := filepath.Rel(top, p.Path); err == nil {
			unreadable[filepath.ToSlash(below)] = true
		}
	}
	return func(below string) bool {
		for below != "." && !unreadable[below] {
			below = path.Dir(below)
		}
		return below != "."
	}, nil
}
