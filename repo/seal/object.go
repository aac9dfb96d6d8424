package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Sizes of an object's parts in bytes.
const (
	SaltSize       = 32
	CommitmentSize = 32
	HeaderSize     = 80
	FooterSize     = 64
	TagSize        = 16 // what sealing adds to a segment
	Version        = 1
	ObjectSizeMax  = 1 << 30
	footerPlain    = FooterSize - TagSize
	magic          = "tarn"
)

// Numbers of the parts that are no segments.
const (
	numSegmentMax = 1<<16 - 2
	numPadding    = 0xFFFFFFFD
	numDirectory  = 0xFFFFFFFE
	numFooter     = 0xFFFFFFFF
)

// ErrCorrupt is wrapped when sealed bytes are not what was sealed: damaged, truncated, or made with other keys.
var ErrCorrupt = errors.New("damaged")

// ErrVersion is wrapped when an object was made by a newer version of the format.
var ErrVersion = errors.New("made by a newer version of tarn")

// cipherOf is what sealing and opening share: one object's key and what is authenticated beside the plaintext.
type cipherOf struct {
	aead cipher.AEAD
	aad  [44]byte // magic 4, version 1, kind 1, 2 zeros, epoch 4, repository 16, number 4, plaintext length 8, 4 zeros
}

func newCipher(k *Keys, kind Kind, epoch uint32, aead cipher.AEAD) cipherOf {
	c := cipherOf{aead: aead}
	copy(c.aad[:], magic)
	c.aad[4], c.aad[5] = Version, byte(kind)
	binary.LittleEndian.PutUint32(c.aad[8:], epoch)
	copy(c.aad[12:28], k.repo[:])
	return c
}

// bind returns the nonce and the associated data of one part. aad is the caller's, so that many may open at once.
func (c *cipherOf) bind(aad *[44]byte, number uint32, plain int) (nonce [12]byte) {
	*aad = c.aad
	binary.LittleEndian.PutUint32(aad[28:], number)
	binary.LittleEndian.PutUint64(aad[32:], uint64(plain))
	binary.BigEndian.PutUint32(nonce[8:], number)
	return nonce
}

func (c *cipherOf) seal(dst []byte, number uint32, plain []byte) []byte {
	var aad [44]byte
	nonce := c.bind(&aad, number, len(plain))
	return c.aead.Seal(dst, nonce[:], plain, aad[:])
}

func (c *cipherOf) open(dst []byte, number uint32, sealed []byte) ([]byte, error) {
	if len(sealed) < TagSize {
		return nil, fmt.Errorf("%w: %d bytes are no sealed part", ErrCorrupt, len(sealed))
	}
	var aad [44]byte
	nonce := c.bind(&aad, number, len(sealed)-TagSize)
	plain, err := c.aead.Open(dst, nonce[:], sealed, aad[:])
	if err != nil {
		return nil, fmt.Errorf("%w: authentication failed", ErrCorrupt)
	}
	return plain, nil
}

// A Sealer makes one object, in memory. It serves one goroutine at a time.
type Sealer struct {
	cipherOf
	salt  [SaltSize]byte
	buf   []byte
	next  uint32
	short bool // there is no least size
}

// NewSealer begins an object in buf, which it takes over. first is the plaintext of the first segment, which the salt depends on.
func (k *Keys) NewSealer(kind Kind, buf, first []byte) *Sealer {
	var random [32]byte
	rand.Read(random[:])
	return k.newSealer(kind, buf, first, random)
}

func (k *Keys) newSealer(kind Kind, buf, first []byte, random [32]byte) *Sealer {
	e := k.newest()
	h := e.salt.get()
	h.Write(random[:])
	h.Write(first)
	s := &Sealer{short: k.short}
	h.Sum(s.salt[:0])
	e.salt.put(h)
	aead, commitment := e.objectKey(kind, &s.salt)
	s.cipherOf = newCipher(k, kind, e.number, aead)
	s.buf = append(buf[:0], s.aad[:8]...)
	s.buf = binary.LittleEndian.AppendUint32(s.buf, e.number)
	s.buf = append(s.buf, 0, 0, 0, 0)
	s.buf = append(s.buf, s.salt[:]...)
	s.buf = append(s.buf, commitment[:]...)
	return s
}

// Salt is the object's salt.
func (s *Sealer) Salt() [SaltSize]byte { return s.salt }

// Len is the object's length so far in bytes.
func (s *Sealer) Len() int { return len(s.buf) }

// Segments is the number of segments so far.
func (s *Sealer) Segments() int { return int(s.next) }

// Append seals the next segment and returns its sealed bytes, which stay where they are as long as the buffer has room.
func (s *Sealer) Append(plain []byte) (number uint32, sealed []byte) {
	if s.next > numSegmentMax {
		panic("seal: too many segments in one object") // pack bounds them
	}
	begin := len(s.buf)
	s.buf = s.seal(s.buf, s.next, plain)
	s.next++
	return s.next - 1, s.buf[begin:]
}

// Finish seals the directory, pads the object to a Padmé length of at least sizeMin, seals the footer and returns the whole
// object. The Sealer must not be used again: a buffer is sealed once.
func (s *Sealer) Finish(directory []byte, sizeMin int) []byte {
	offset := len(s.buf)
	s.buf = s.seal(s.buf, numDirectory, directory)
	stored := len(s.buf) - offset
	size := len(s.buf) + TagSize + FooterSize
	if s.short {
		sizeMin = 0
	}
	pad := Padme(max(size, sizeMin)) - size
	s.buf = s.seal(s.buf, numPadding, make([]byte, pad))
	var footer [footerPlain]byte
	binary.LittleEndian.PutUint32(footer[0:], uint32(offset))
	binary.LittleEndian.PutUint32(footer[4:], uint32(stored))
	s.buf = s.seal(s.buf, numFooter, footer[:])
	buf := s.buf
	s.buf, s.aead = nil, nil
	return buf
}

// Padme rounds a length up so that it tells only O(log log n) bits; it adds at most 12 %, and 3 % from a few MiB on.
// (Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: Reducing Metadata Leakage from Encrypted Files, PETS 2019.)
func Padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}

// An Opener opens the parts of one object. It is safe for concurrent use.
type Opener struct{ cipherOf }

// Header is what an object's clear header says.
type Header struct {
	Kind       Kind
	Epoch      uint32
	Salt       [SaltSize]byte
	Commitment [CommitmentSize]byte
}

// ParseHeader reads an object's clear header, of which it needs HeaderSize bytes. Nothing in it is proven yet.
func ParseHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderSize || string(b[:4]) != magic {
		return h, fmt.Errorf("%w: no tarn object", ErrCorrupt)
	}
	if b[4] != Version {
		return h, fmt.Errorf("object of version %d: %w", b[4], ErrVersion)
	}
	h.Kind = Kind(b[5])
	if b[6] != 0 || b[7] != 0 || binary.LittleEndian.Uint32(b[12:]) != 0 || !h.Kind.Valid() {
		return h, fmt.Errorf("%w: bad header", ErrCorrupt)
	}
	h.Epoch = binary.LittleEndian.Uint32(b[8:])
	copy(h.Salt[:], b[16:])
	copy(h.Commitment[:], b[48:])
	return h, nil
}

// NewOpener returns an opener of an object of that kind, from its header. It compares the commitment first.
func (k *Keys) NewOpener(kind Kind, header []byte) (*Opener, error) {
	h, err := ParseHeader(header)
	if err != nil {
		return nil, err
	}
	if h.Kind != kind {
		return nil, fmt.Errorf("%w: it is of kind %v, want %v", ErrCorrupt, h.Kind, kind)
	}
	e, err := k.find(h.Epoch)
	if err != nil {
		return nil, err
	}
	aead, commitment := e.objectKey(kind, &h.Salt)
	if subtle.ConstantTimeCompare(commitment[:], h.Commitment[:]) != 1 {
		return nil, fmt.Errorf("%w: made with another key, or its header is damaged", ErrCorrupt)
	}
	return &Opener{newCipher(k, kind, h.Epoch, aead)}, nil
}

// OpenerOf returns an opener of an object whose epoch and salt are known from an index.
func (k *Keys) OpenerOf(kind Kind, number uint32, salt *[SaltSize]byte) (*Opener, error) {
	e, err := k.find(number)
	if err != nil {
		return nil, err
	}
	aead, _ := e.objectKey(kind, salt)
	return &Opener{newCipher(k, kind, number, aead)}, nil
}

// Open opens segment number, appends its plaintext to dst and returns that.
func (o *Opener) Open(dst []byte, number uint32, sealed []byte) ([]byte, error) {
	if number > numSegmentMax {
		return nil, fmt.Errorf("%w: segment number %d", ErrCorrupt, number)
	}
	return o.open(dst, number, sealed)
}

// Directory opens the directory.
func (o *Opener) Directory(sealed []byte) ([]byte, error) { return o.open(nil, numDirectory, sealed) }

// Footer opens the footer, the last FooterSize bytes of an object of that size, and says where the sealed directory is.
func (o *Opener) Footer(sealed []byte, size int64) (offset, stored int64, err error) {
	if len(sealed) != FooterSize {
		return 0, 0, fmt.Errorf("%w: footer of %d bytes", ErrCorrupt, len(sealed))
	}
	plain, err := o.open(nil, numFooter, sealed)
	if err != nil {
		return 0, 0, err
	}
	offset, stored = int64(binary.LittleEndian.Uint32(plain)), int64(binary.LittleEndian.Uint32(plain[4:]))
	if offset < HeaderSize || stored < TagSize || offset+stored+TagSize+FooterSize > size {
		return 0, 0, fmt.Errorf("%w: the footer points outside", ErrCorrupt)
	}
	for _, b := range plain[8:] {
		if b != 0 {
			return 0, 0, fmt.Errorf("footer: %w", ErrVersion)
		}
	}
	return offset, stored, nil
}

// Padding proves the padding of a whole object whose directory ends at end.
func (o *Opener) Padding(object []byte, end int64) error {
	plain, err := o.open(nil, numPadding, object[end:len(object)-FooterSize])
	if err != nil {
		return err
	}
	// It is all zero if it is equal to itself one byte on and begins with a zero; comparing is faster than looking at each byte.
	if len(plain) > 0 && (plain[0] != 0 || !bytes.Equal(plain[1:], plain[:len(plain)-1])) {
		return fmt.Errorf("%w: padding is not zero", ErrCorrupt)
	}
	return nil
}
