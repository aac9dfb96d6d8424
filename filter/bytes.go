package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Doublestar compares runes, and takes all invalid bytes for the same one. So each byte of a name that is not part of a valid rune stands for
// itself as one of these private runes. The bytes of names that have such a rune already are taken one by one, so that different names
// stay different.
const (
	bytesFirst = 0x10ff00
	bytesLast  = 0x10ffff
)

// clean returns s with its invalid bytes as private runes. It is s itself nearly always.
func clean(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return cleanFrom(s, i)
		}
	}
	return s
}

func cleanFrom(s string, i int) string {
	for i < len(s) {
		if _, n := cut(s[i:]); n == 0 {
			break
		} else {
			i += n
		}
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := cut(s[i:])
		if n == 0 {
			r, n = bytesFirst+rune(s[i]), 1
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// cut returns the rune at the beginning of s and its length, or 0 if its first byte has to be taken alone.
func cut(s string) (r rune, n int) {
	r, n = utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 || r >= bytesFirst && r <= bytesLast {
		return 0, 0
	}
	return r, n
}

// foldCase returns a clean s such that strings which differ in case only become equal.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r < utf8.RuneSelf:
			return r
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, s)
}
