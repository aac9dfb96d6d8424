package storage

import (
	"fmt"
	"io/fs"
	"strings"
)

// NameSizeMax is the longest name of an object in bytes. It leaves room for what an adapter puts before or behind it.
const NameSizeMax = 200

// partsMax is how deep names go: data/ab/<hex>.
const partsMax = 3

// CheckName returns an error that wraps fs.ErrInvalid unless name may name an object: one to three parts with slashes between
// them, of lower-case letters, digits, '-', '_' and '.', none beginning or ending with a dot, the first of them not "tmp".
func CheckName(name string) error {
	if !validParts(name, partsMax) {
		return fmt.Errorf("object name %q: %w", name, fs.ErrInvalid)
	}
	return nil
}

// CheckPrefix returns an error that wraps fs.ErrInvalid unless prefix may be listed: it is empty, or a name's first parts with
// the slash behind them.
func CheckPrefix(prefix string) error {
	if folder, ok := strings.CutSuffix(prefix, "/"); prefix != "" && !(ok && validParts(folder, partsMax-1)) {
		return fmt.Errorf("prefix of object names %q: %w", prefix, fs.ErrInvalid)
	}
	return nil
}

func validParts(s string, most int) bool {
	if len(s) > NameSizeMax {
		return false
	}
	parts := strings.Split(s, "/")
	if len(parts) > most || parts[0] == "tmp" {
		return false
	}
	for _, part := range parts {
		if !validPart(part) {
			return false
		}
	}
	return true
}

func validPart(part string) bool {
	// Windows drops a dot at the end, so that two names would be one file.
	if part == "" || part[0] == '.' || part[len(part)-1] == '.' {
		return false
	}
	for i := 0; i < len(part); i++ {
		c := part[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
