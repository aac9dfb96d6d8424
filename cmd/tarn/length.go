package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// length is a length of time as a flag: 30d, 12h, 1h30m, 15m, 30s.
type length time.Duration

const daysMax = 36500

// Set reads a length, for pflag.
func (l *length) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(min(n, daysMax)) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		return errors.New("want a length of time like 30d, 12h, 15m or 30s")
	}
	*l = length(d)
	return nil
}

// String has no zeros behind it: 15m, where Go says 15m0s.
func (l *length) String() string {
	text := time.Duration(*l).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Type names the flag's value in the help.
func (l *length) Type() string { return "TIME" }

// parseDays reads a length that is longer than nothing.
func parseDays(text string) (time.Duration, error) {
	var l length
	err := l.Set(text)
	if err == nil && l == 0 {
		err = errors.New("want a length of time like 30d")
	}
	return time.Duration(l), err
}
