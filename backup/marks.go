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
