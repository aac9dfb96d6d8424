package fssnap

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Name names a snapshot: tarn-REPOSITORY-SESSION-ORIGIN, 55 bytes that a file system, LVM and ZFS all take. The session's 128
// random bits make it a name that nobody else chooses.
type Name struct {
	Repository string // 8 hex digits
	Session    string // 32 hex digits
	Origin     string // 8 hex digits that tell apart what one session holds
}

const (
	namePrefix    = "tarn-"
	repositoryLen = 8
	sessionLen    = 32
	originLen     = 8
)

// NewName names the snapshot that r asks for, of an origin whose identity is any string.
func NewName(r Request, origin string) (Name, error) {
	sum := sha256.Sum256([]byte(origin))
	n := Name{Repository: r.Repository, Session: r.Session, Origin: hex.EncodeToString(sum[:originLen/2])}
	if err := n.check(); err != nil {
		return Name{}, fmt.Errorf("name a snapshot: %w", err)
	}
	return n, nil
}

func (n Name) String() string {
	return namePrefix + n.Repository + "-" + n.Session + "-" + n.Origin
}

// ParseName reads a name.
func ParseName(s string) (Name, error) {
	rest, ok := strings.CutPrefix(s, namePrefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 {
		return Name{}, fmt.Errorf("%q is no name of a snapshot", s)
	}
	n := Name{Repository: parts[0], Session: parts[1], Origin: parts[2]}
	if err := n.check(); err != nil {
		return Name{}, fmt.Errorf("%q is no name of a snapshot: %w", s, err)
	}
	return n, nil
}

func (n Name) check() error {
	for _, part := range []struct {
		what, value string
		length      int
	}{{"repository", n.Repository, repositoryLen}, {"session", n.Session, sessionLen}, {"origin", n.Origin, originLen}} {
		if len(part.value) != part.length || strings.Trim(part.value, "0123456789abcdef") != "" {
			return fmt.Errorf("%s %q: want %d lower-case hex digits", part.what, part.value, part.length)
		}
	}
	return nil
}
