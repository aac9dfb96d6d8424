//go:build linux

package zfs

// ParseMarks reads the answer of zfs get, for the tests of the decoder.
func ParseMarks(out string) (map[string][2]string, error) {
	marks, err := parseMarks(out)
	pairs := make(map[string][2]string)
	for name, m := range marks {
		pairs[name] = [2]string{m.owner, m.origin}
	}
	return pairs, err
}
