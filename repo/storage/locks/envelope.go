package locks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	magic    = "tarnlock"
	headSize = len(magic) + 4 + 1
	headMax  = headSize + 255 // of an envelope, before the object
)

var errNoEnvelope = errors.New("not an envelope of tarn's")

// label is what an envelope says of its object.
type label struct {
	name       string
	generation uint32
}

// size is the length of the envelope before the object, in bytes.
func (l label) size() int64 { return int64(headSize + len(l.name)) }

// seal puts an object into an envelope, and returns it with its name.
func (l label) seal(data []byte) (name string, envelope []byte) {
	b := make([]byte, 0, headSize+len(l.name)+len(data))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, l.generation)
	b = append(b, byte(len(l.name)))
	b = append(b, l.name...)
	b = append(b, data...)
	sum := sha256.Sum256(b)
	return locksDir + hex.EncodeToString(sum[:]), b
}

// readLabel reads the beginning of an envelope. The mark has no name.
func readLabel(head []byte) (label, error) {
	if len(head) < headSize || !bytes.HasPrefix(head, []byte(magic)) {
		return label{}, errNoEnvelope
	}
	l := label{generation: binary.LittleEndian.Uint32(head[len(magic):])}
	n := int(head[headSize-1])
	if len(head) < headSize+n {
		return label{}, fmt.Errorf("%w: it ends in the name", errNoEnvelope)
	}
	l.name = string(head[headSize : headSize+n])
	if l.name != "" && check(l.name) != nil {
		return label{}, fmt.Errorf("%w: a name that no object has", errNoEnvelope)
	}
	return l, nil
}

// mark is the envelope that says that there may be others.
func mark() (name string, envelope []byte) { return label{}.seal(nil) }
