package backup

import (
	"slices"
	"strings"
)

// fileSet ties a file to others that must be captured in the same moment: a SQLite database and its journals.
type fileSet struct {
	database string
	given    bool          // the database was given to a reader; the walker's
	done     chan struct{} // closed when the database is read, or nobody will
	taken    bool          // the set was captured as one: its other files came with the database; valid when done is closed
}

// newSets finds the names that may be SQLite databases with journals beside them. All names of a set share a fileSet; the database
// comes first in walk order.
func newSets(names []string) map[string]*fileSet {
	var sets map[string]*fileSet
	for _, name := range names {
		db := databaseOf(name)
		if db == "" {
			continue
		}
		if _, there := slices.BinarySearch(names, db); !there {
			continue
		}
		if sets == nil {
			sets = map[string]*fileSet{}
		}
		if sets[db] == nil {
			sets[db] = &fileSet{database: db, done: make(chan struct{})}
		}
		sets[name] = sets[db]
	}
	return sets
}

// databaseOf is the name of the SQLite database to which a file belongs if it is a journal, a log or shared memory by its name; empty if it is none.
func databaseOf(name string) string {
	for _, suffix := range [...]string{"-wal", "-journal", "-shm"} {
		if db, ok := strings.CutSuffix(name, suffix); ok {
			return db
		}
	}
	return ""
}
