package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// Leftover is what a Put that never ended left behind in a store: a temporary file, an unfinished upload.
type Leftover struct {
	Name    string // in the adapter's own words, for messages
	Session string // the label that its writer gave to WithSession, or empty
	Size    int64  // bytes
	ModTime time.Time
}

// Cleaner is a Storage whose Put can leave something behind when its process dies. It is not known from the thing itself whether
// its writer is still at work, so each carries the label of a session, and the caller knows which sessions are over.
type Cleaner interface {
	Storage
	// WithSession returns the same store; what its Puts may leave behind carries label, 1 to 64 lower-case letters and digits. It
	// panics on any other label.
	WithSession(label string) Storage
	// Leftovers returns what Puts have left behind, and what Puts of others are at work on.
	Leftovers(ctx context.Context) ([]Leftover, error)
	// RemoveLeftovers removes those for which over returns true, and returns them. A Put whose temporary is removed fails.
	RemoveLeftovers(ctx context.Context, over func(Leftover) bool) ([]Leftover, error)
}

// ValidLabel reports whether label may be given to WithSession.
func ValidLabel(label string) bool {
	if label == "" || len(label) > 64 {
		return false
	}
	for i := 0; i < len(label); i++ {
		if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// TempName is the name of a temporary file of a session, or of none: <label>-<16 hex digits>. It is a new one each time. It is for adapters.
func TempName(label string) string {
	var random [8]byte
	rand.Read(random[:]) // never fails
	return label + "-" + hex.EncodeToString(random[:])
}

// ParseTempName returns the label of a temporary file, and whether it is one.
func ParseTempName(name string) (label string, ok bool) {
	label, random, ok := strings.Cut(name, "-")
	if !ok || len(random) != 16 || strings.Trim(random, "0123456789abcdef") != "" {
		return "", false
	}
	return label, label == "" || ValidLabel(label)
}

// RemoveEach removes those leftovers for which over returns true, and returns those that it removed, also with an error. One that is gone
// is none. It is for adapters.
func RemoveEach(ctx context.Context, found []Leftover, over func(Leftover) bool, remove func(Leftover) error) (removed []Leftover, err error) {
	for _, l := range found {
		if !over(l) {
			continue
		}
		if err = ctx.Err(); err == nil {
			err = remove(l)
		}
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, l)
	}
	return removed, nil
}
