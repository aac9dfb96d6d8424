package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// name returns a file name as this stream's reader should see it: escaped on a terminal, else as it is.
func (s *stream) name(name string) string {
	if !s.terminal {
		return name
	}
	return escape(name)
}

// text is name for a message of several lines.
func (s *stream) text(text string) string {
	if !s.terminal {
		return text
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = escape(lines[i])
	}
	return strings.Join(lines, "\n")
}

// escape makes a name harmless for a terminal and tells all names apart: control and other unprintable characters, invalid UTF-8 and
// backslashes become escapes as in Go. Marks that change the direction of text are unprintable.
func escape(name string) string {
	clean := true
	for _, r := range name {
		if r == utf8.RuneError || r == '\\' || !unicode.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, name[0])
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		name = name[n:]
	}
	return b.String()
}

// cut shortens an escaped path to some columns, in the middle: its end says the most.
func cut(path string, columns int) string {
	runes := []rune(path)
	if len(runes) <= columns {
		return path
	}
	if columns < 8 {
		return string(runes[:max(columns, 0)])
	}
	head := columns / 3
	return string(runes[:head]) + "..." + string(runes[len(runes)-(columns-head-3):])
}
