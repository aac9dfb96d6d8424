package backup

import "slices"

// tagged reports whether the folder is marked to be left out, and what stays of it: the mark.
func tagged(o *Options, dir *folder, names []string) ([]string, bool) {
	for _, mark := range o.ExcludeIfPresent {
		if _, ok := slices.BinarySearch(names, mark); ok {
			return []string{mark}, true
		}
	}
	if o.ExcludeCaches {
		if _, ok := slices.BinarySearch(names, cacheTag); ok && isCacheTag(dir) {
			return []string{cacheTag}, true
		}
	}
	return nil, false
}

// The Cache Directory Tagging Specification, bford.info/cachedir.
const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

func isCacheTag(dir *folder) bool {
	f, err := dir.OpenFile(cacheTag)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(cacheSignature))
	n, _ := f.Read(head)
	return string(head[:n]) == cacheSignature
}

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
