package blob

import (
	"encoding/hex"
	"fmt"
)

// SizeMax is the largest plaintext of one blob in bytes. Lengths and offsets inside a segment are kept in 24 bits,
// so a blob must stay below 1<<24; the limit is the chunker's largest chunk.
const SizeMax = 8 << 20

// Kind says what a blob's plaintext is. Each kind has keys of its own, so that no file's content can pose as a tree.
type Kind uint8

// The kinds. Their numbers stand in packs and never change.
const (
	Data Kind = 1 // a chunk of a file's content, or a large extended attribute
	Tree Kind = 2 // a chunk of a folder's entries, or of a long list of content references
	Scan Kind = 3 // a chunk of a scan record: what the next backup compares with
)

// Valid reports whether k is a kind that this version knows.
func (k Kind) Valid() bool { return k >= Data && k <= Scan }

// Meta reports whether k is kept in metadata segments: small ones, apart from the data.
func (k Kind) Meta() bool { return k != Data }

func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Tree:
		return "tree"
	case Scan:
		return "scan"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ID names a blob: the keyed BLAKE3 hash of its plaintext, under the key of its kind.
type ID [32]byte

// IsZero reports whether id is the zero ID, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String returns id as 64 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 8 hex digits, for messages.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// ParseID reads 64 hex digits.
func ParseID(s string) (id ID, err error) { return id, parse(id[:], s) }

// Name names a stored object: the SHA-256 of its stored bytes, so that anybody can scrub a repository with sha256sum.
type Name [32]byte

// IsZero reports whether n is the zero Name, which names nothing.
func (n Name) IsZero() bool { return n == Name{} }

// String returns n as 64 hex digits, which is also the object's file name.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// Short returns the first 8 hex digits, as snapshots are shown to people.
func (n Name) Short() string { return hex.EncodeToString(n[:4]) }

// ParseName reads 64 hex digits.
func ParseName(s string) (n Name, err error) { return n, parse(n[:], s) }

// Session names one run of a writer: 16 random bytes.
type Session [16]byte

// IsZero reports whether s is the zero Session.
func (s Session) IsZero() bool { return s == Session{} }

// String returns s as 32 hex digits.
func (s Session) String() string { return hex.EncodeToString(s[:]) }

// ParseSession reads 32 hex digits.
func ParseSession(str string) (s Session, err error) { return s, parse(s[:], str) }

// Extent says where a blob lies: in the plaintext of one segment of one pack.
type Extent struct {
	Pack    Name
	Segment uint16
	Offset  uint32 // bytes into the segment's plaintext
	Length  uint32 // bytes
}

func parse(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%q: want %d hex digits", s, 2*len(dst))
	}
	for i := 0; i < len(s); i++ { // lower case only: a name has one spelling
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%q: want lower-case hex digits", s)
		}
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}
