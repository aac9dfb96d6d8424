package backup

import (
	"errors"
	"slices"

	"github.com/tarn-backup/tarn/snapshot"
)

// cluster marks a folder that is a database cluster, and notes a problem if its files are of no use together: its server runs, and there is
// no file system snapshot. Each file may be whole then, but they are of different moments, and no log leads from one to the other. A
// server that was stopped in good order has removed its postmaster.pid, and then the files are as good as any.
func (l *lister) cluster(dir *folder, names []string) error {
	if !isCluster(names) {
		return nil
	}
	dir.recovers = true
	if _, runs := slices.BinarySearch(names, "postmaster.pid"); runs && !dir.region.Held() {
		return l.problem(snapshot.ProblemCluster, dir.path, errClusterRuns)
	}
	return nil
}

var errClusterRuns = errors.New("its server runs (postmaster.pid), and there was no file system snapshot to read it from")

// isCluster reports whether the ascending names of a folder's entries are those of a PostgreSQL cluster. All its files are good only together, and
// as they were at one moment: then it recovers as from a power cut. None of them may be of a later moment than the log, so a file that is
// being written when the file system snapshot is made is taken from there all the same. A page that is written in part is repaired from the log
// (full_page_writes).
func isCluster(names []string) bool {
	for _, name := range []string{"PG_VERSION", "base", "global", "pg_wal"} {
		if _, ok := slices.BinarySearch(names, name); !ok {
			return false
		}
	}
	return true
}
