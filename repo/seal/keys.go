package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/zeebo/blake3"
)

// KeySize is the size of every key in bytes.
const KeySize = 32

// Kind says what a sealed object is; it is part of what is authenticated, and each kind has a key of its own.
type Kind uint8

// The kinds of objects. Their numbers stand in headers and never change.
const (
	Pack     Kind = 1
	Index    Kind = 2
	Snapshot Kind = 3
	Session  Kind = 4
	Config   Kind = 5
	Trash    Kind = 6
	Wait     Kind = 7
	Setting  Kind = 8
	Parity   Kind = 9
)

// Valid reports whether k is a kind that this version knows.
func (k Kind) Valid() bool { return k >= Pack && k <= Parity }

func (k Kind) String() string {
	names := [...]string{"", "pack", "index", "snapshot", "session", "config", "trash", "wait", "setting", "parity"}
	if k.Valid() {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// RepoID names a repository: 16 random bytes, part of what every object authenticates.
type RepoID [16]byte

func (r RepoID) String() string { return fmt.Sprintf("%x", r[:]) }

// Keys derives and uses the keys of one repository. It is safe for concurrent use.
//
// All epochs' keys open; the newest one's seal. The IDs of blobs and the chunker are those of the oldest epoch for ever: else a
// rotation would end the deduplication with all that is there.
type Keys struct {
	repo    RepoID
	epochs  []*epoch // ascending; the last one seals
	chunker [KeySize]byte
	hashers [blob.Scan + 1]hasher // keyed for that kind's IDs
	short   bool                  // objects have no least size
}

// epoch is one master key and what is derived from it.
type epoch struct {
	number uint32
	master [KeySize]byte
	kinds  [Parity + 1]hasher
	salt   hasher
}

// EpochsMax is how many master keys a repository may have had.
const EpochsMax = 64

// NewMaster returns a fresh master key.
func NewMaster() (master [KeySize]byte) {
	rand.Read(master[:]) // never fails: crypto/rand ends the program if the system has no randomness
	return master
}

// NewKeys derives the keys of a repository from its master key.
func NewKeys(repo RepoID, number uint32, master [KeySize]byte) *Keys {
	k := &Keys{repo: repo, epochs: []*epoch{newEpoch(number, master)}}
	blake3.DeriveKey("tarn v1 chunker", master[:], k.chunker[:])
	for kind := blob.Data; kind <= blob.Scan; kind++ {
		var key [KeySize]byte
		blake3.DeriveKey("tarn v1 id "+kind.String(), master[:], key[:])
		k.hashers[kind].keep(&key)
	}
	return k
}

func newEpoch(number uint32, master [KeySize]byte) *epoch {
	e := &epoch{number: number, master: master}
	for kind := Pack; kind <= Parity; kind++ {
		var key [KeySize]byte
		blake3.DeriveKey("tarn v1 "+kind.String(), master[:], key[:])
		e.kinds[kind].keep(&key)
	}
	var key [KeySize]byte
	blake3.DeriveKey("tarn v1 salt", master[:], key[:])
	e.salt.keep(&key)
	return e
}

// Rotate returns keys that seal with another master key, in the next epoch, and open all that k opens.
func (k *Keys) Rotate(master [KeySize]byte) (*Keys, error) {
	if len(k.epochs) == EpochsMax {
		return nil, fmt.Errorf("the key was changed %d times already: copy the snapshots to a new repository", EpochsMax-1)
	}
	return k.with(newEpoch(k.Epoch()+1, master)), nil
}

// with returns the same keys and a newer epoch.
func (k *Keys) with(e *epoch) *Keys {
	next := NewKeys(k.repo, k.epochs[0].number, k.epochs[0].master)
	next.epochs = append(append([]*epoch{}, k.epochs...), e)
	next.short = k.short
	return next
}

// Short returns the same keys for simulations, where padding is most of the work: what they seal has a Padmé length, and no least one.
func (k *Keys) Short() *Keys {
	short := NewKeys(k.repo, k.epochs[0].number, k.epochs[0].master)
	short.epochs, short.short = k.epochs, true
	return short
}

// newest is the epoch that seals.
func (k *Keys) newest() *epoch { return k.epochs[len(k.epochs)-1] }

// find returns an epoch that opens.
func (k *Keys) find(number uint32) (*epoch, error) {
	for _, e := range k.epochs {
		if e.number == number {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%w: key epoch %d is unknown; another password may know it", ErrCorrupt, number)
}

// Repo is the repository that the keys belong to.
func (k *Keys) Repo() RepoID { return k.repo }

// Epoch is the newest key epoch, which stands in the header of all that is sealed now.
func (k *Keys) Epoch() uint32 { return k.newest().number }

// Chunker is the secret that the chunker's tables are made of.
func (k *Keys) Chunker() *[KeySize]byte { return &k.chunker }

// ID returns the ID of a blob: the keyed BLAKE3 of its plaintext, under the key of its kind.
func (k *Keys) ID(kind blob.Kind, plain []byte) (id blob.ID) {
	h := k.hashers[kind].get()
	h.Write(plain)
	h.Sum(id[:0])
	k.hashers[kind].put(h)
	return id
}

// hasher is a keyed BLAKE3 for many goroutines. One of the library's takes 10 KiB, so they are used again.
type hasher struct{ pool sync.Pool }

func (p *hasher) keep(key *[KeySize]byte) {
	p.pool.New = func() any {
		h, err := blake3.NewKeyed(key[:])
		if err != nil {
			panic(err) // the key's size is wrong: a bug
		}
		return h
	}
}

func (p *hasher) get() *blake3.Hasher { return p.pool.Get().(*blake3.Hasher) }

func (p *hasher) put(h *blake3.Hasher) {
	h.Reset()
	p.pool.Put(h)
}

// objectKey derives an object's cipher and commitment from its salt.
func (e *epoch) objectKey(kind Kind, salt *[SaltSize]byte) (aead cipher.AEAD, commitment [CommitmentSize]byte) {
	h := e.kinds[kind].get()
	h.Write(salt[:])
	var out [KeySize + CommitmentSize]byte
	h.Digest().Read(out[:])
	e.kinds[kind].put(h)
	copy(commitment[:], out[KeySize:])
	return newGCM(out[:KeySize]), commitment
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key's size is wrong: a bug
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}
