package forget

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time in the words of a calendar: a month is a month, however many days it has. The zero Span is none.
type Span struct {
	Years, Months, Days, Hours int
}

// ParseSpan reads a span like 2y5m7d3h; each part may be left out, and a number alone is in days.
func ParseSpan(text string) (Span, error) {
	var s Span
	bad := fmt.Errorf("%q is no length of time: write 30d, 6m, or 2y5m7d3h", text)
	if text == "" {
		return s, bad
	}
	parts := map[byte]*int{'y': &s.Years, 'm': &s.Months, 'd': &s.Days, 'h': &s.Hours}
	for rest := text; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		unit := byte('d')
		digits := rest
		if n >= 0 {
			digits, unit, rest = rest[:n], rest[n], rest[n+1:]
		} else {
			rest = ""
		}
		part := parts[unit]
		v, err := strconv.Atoi(digits)
		if err != nil || part == nil || v > 1_000_000 {
			return Span{}, bad
		}
		*part = v
		delete(parts, unit)
	}
	return s, nil
}

// IsZero reports whether the span is none.
func (s Span) IsZero() bool { return s == Span{} }

// Before returns the moment that lies the span before t.
func (s Span) Before(t time.Time) time.Time {
	return t.AddDate(-s.Years, -s.Months, -s.Days).Add(-time.Duration(s.Hours) * time.Hour)
}

// String returns the span as ParseSpan reads it; empty if it is zero.
func (s Span) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit byte
	}{{s.Years, 'y'}, {s.Months, 'm'}, {s.Days, 'd'}, {s.Hours, 'h'}} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%c", part.n, part.unit)
		}
	}
	return b.String()
}
