package parity

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/klauspost/reedsolomon"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
)

// Object is a shard to be stored.
type Object struct {
	Name string
	Data []byte
}

// Encoder makes groups. It serves one goroutine at a time, and keeps as many shards in memory as a group has.
type Encoder struct {
	keys   *seal.Keys
	ratio  Ratio
	code   reedsolomon.Encoder
	shards [][]byte
	head   head
}

// NewEncoder returns an encoder of an empty group.
func NewEncoder(keys *seal.Keys, ratio Ratio) (*Encoder, error) {
	if !ratio.Valid() {
		return nil, fmt.Errorf("parity of %s packs can't be made", ratio)
	}
	code, err := newCode(ratio)
	if err != nil {
		return nil, err
	}
	return &Encoder{keys: keys, ratio: ratio, code: code, shards: make([][]byte, ratio.Shards)}, nil
}

// newCode is Reed-Solomon over GF(2^8) with the library's standard matrix. One goroutine per call is enough beside compression.
func newCode(r Ratio) (reedsolomon.Encoder, error) {
	code, err := reedsolomon.New(r.Width, r.Shards, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("parity %s: %w", r, err)
	}
	return code, nil
}

// Add takes a pack into the group, and returns the group's shards if it is full with that. data is not kept. Packs that are too long for
// parity are passed over.
func (e *Encoder) Add(name blob.Name, data []byte) ([]Object, error) {
	if len(data) == 0 || len(data) > PackSizeMax {
		return nil, nil
	}
	parts := make([][]byte, len(e.shards))
	for i := range e.shards {
		if more := len(data) - len(e.shards[i]); more > 0 { // shorter packs count as if zeros followed
			e.shards[i] = append(e.shards[i], make([]byte, more)...)
		}
		parts[i] = e.shards[i][:len(data)]
	}
	if err := e.code.EncodeIdx(data, len(e.head.members), parts); err != nil {
		return nil, fmt.Errorf("parity of pack %s: %w", name.Short(), err)
	}
	e.head.members = append(e.head.members, member{name, uint32(len(data)), sumBlocks(data)})
	if len(e.head.members) < e.ratio.Width {
		return nil, nil
	}
	return e.Finish(), nil
}

// Finish returns the shards of a group that may not be full, none if it is empty, and begins another.
func (e *Encoder) Finish() (objects []Object) {
	if len(e.head.members) == 0 {
		return nil
	}
	e.head.ratio = e.ratio
	rand.Read(e.head.group[:])
	for i := range e.shards {
		e.head.shard = i
		data := sealShard(e.keys, &e.head, e.shards[i])
		objects = append(objects, Object{Folder + blob.Name(sha256.Sum256(data)).String(), data})
		clear(e.shards[i])
		e.shards[i] = e.shards[i][:0]
	}
	e.head = head{}
	return objects
}
