package seal

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/tlv"
	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"
)

// KDF holds the parameters of Argon2id (RFC 9106): memory in KiB, passes, lanes.
type KDF struct {
	MemoryKiB uint32
	Passes    uint32
	Lanes     uint8
}

// DefaultKDF is the second recommended choice of RFC 9106: 64 MiB, 3 passes, 4 lanes; about 0.1 s.
var DefaultKDF = KDF{MemoryKiB: 64 << 10, Passes: 3, Lanes: 4}

// KDFMemoryDefaultMax is the most memory in KiB that a slot may ask for unless the user allows more.
const KDFMemoryDefaultMax = 256 << 10

// kdfMemoryMax is the most memory in KiB that a new slot may ask for: more is a slip of the hand, and would only end the program.
const kdfMemoryMax = 4 << 20

// check clamps parameters before anything is allocated; they come from a repository that may be hostile.
func (p KDF) check(memoryMaxKiB uint32) error {
	switch {
	case p.MemoryKiB < 8<<10 || p.Passes < 1 || p.Lanes < 1:
		return fmt.Errorf("key slot: weak password hashing (%d KiB, %d passes): at least 8 MiB and 1 pass are wanted", p.MemoryKiB, p.Passes)
	case p.MemoryKiB > memoryMaxKiB:
		return fmt.Errorf("key slot: password hashing asks for %d MiB of memory, the limit is %d MiB (see --kdf-max-memory)",
			p.MemoryKiB>>10, memoryMaxKiB>>10)
	case p.Passes > 16 || p.Lanes > 16:
		return fmt.Errorf("key slot: password hashing asks for %d passes and %d lanes, the limits are 16 and 16", p.Passes, p.Lanes)
	}
	return nil
}

// Slot is one password's way to the master key, as it is stored under keys/. Its clear parts help people to tell slots apart.
type Slot struct {
	KDF     KDF
	Salt    [32]byte
	Created time.Time
	Label   string // given by the user
	Host    string
	User    string
	Epoch   uint32 // of the newest master key that it gives; a claim until it is opened

	commitment [CommitmentSize]byte
	wrapped    []byte
}

// SlotSizeMax is the largest stored slot in bytes.
const SlotSizeMax = 4096

// SlotsMax is the most slots that a repository is given. A reader takes up to SlotsReadMax: a changed password's slot stands beside the old one
// until that is removed, or for good if its client died in between, and two clients may add one at the same time.
const (
	SlotsMax     = 16
	SlotsReadMax = 32
)

// ErrPassword says that a password does not open a slot.
var ErrPassword = errors.New("wrong password")

const slotMagic = "tarnkey\x01"

// Tags of a slot's fields.
const (
	slotMemory     tlv.Tag = 1
	slotPasses     tlv.Tag = 3
	slotLanes      tlv.Tag = 5
	slotSalt       tlv.Tag = 7
	slotCommitment tlv.Tag = 9
	slotWrapped    tlv.Tag = 11
	slotCreated    tlv.Tag = 12
	slotLabel      tlv.Tag = 14
	slotHost       tlv.Tag = 16
	slotUser       tlv.Tag = 18
	slotEpoch      tlv.Tag = 20
)

// NewSlot wraps k's master key with a password. The caller may set the labels of s before.
func (k *Keys) NewSlot(s Slot, password []byte) (Slot, error) {
	if s.KDF == (KDF{}) {
		s.KDF = DefaultKDF
	}
	if s.KDF.MemoryKiB > kdfMemoryMax {
		return s, fmt.Errorf("key slot: password hashing with %d MiB of memory: the most is %d MiB", s.KDF.MemoryKiB>>10, kdfMemoryMax>>10)
	}
	if err := s.KDF.check(kdfMemoryMax); err != nil {
		return s, err
	}
	rand.Read(s.Salt[:])
	key, commitment := s.derive(k.repo, password)
	s.commitment = commitment
	newest := k.newest()
	s.Epoch = newest.number
	plain := tlv.AppendUint(nil, 1, uint64(newest.number)+1)
	plain = tlv.AppendBytes(plain, 3, newest.master[:])
	for _, e := range k.epochs[:len(k.epochs)-1] {
		plain = tlv.AppendBytes(plain, 5, append(binary.LittleEndian.AppendUint32(nil, e.number), e.master[:]...))
	}
	s.wrapped = newGCM(key[:]).Seal(nil, make([]byte, 12), plain, slotAAD(k.repo))
	if n := len(s.Encode()); n > SlotSizeMax { // nobody would read it, and it may be about to take the place of the last one that opens
		return s, fmt.Errorf("key slot: %d bytes with its label, the limit is %d", n, SlotSizeMax)
	}
	return s, nil
}

// Open unwraps the master key of a repository with a password. ErrPassword says that it is another slot's, or wrong.
func (s *Slot) Open(repo RepoID, password []byte, memoryMaxKiB uint32) (*Keys, error) {
	if err := s.KDF.check(memoryMaxKiB); err != nil {
		return nil, err
	}
	key, commitment := s.derive(repo, password)
	if subtle.ConstantTimeCompare(commitment[:], s.commitment[:]) != 1 {
		return nil, ErrPassword
	}
	plain, err := newGCM(key[:]).Open(nil, make([]byte, 12), s.wrapped, slotAAD(repo))
	if err != nil {
		return nil, fmt.Errorf("key slot: %w", ErrCorrupt)
	}
	var epoch uint64
	var master [KeySize]byte
	var older []string
	r := tlv.NewReader(string(plain))
	for r.Next() {
		switch r.Tag() {
		case 1:
			epoch = r.UintMax(1 << 32)
		case 3:
			r.Copy(master[:])
		case 5:
			older = append(older, r.Item())
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("key slot: %w", err)
	}
	if epoch == 0 || master == [KeySize]byte{} {
		return nil, fmt.Errorf("key slot: %w: it has no key", ErrCorrupt)
	}
	if s.Epoch != 0 && s.Epoch != uint32(epoch-1) {
		return nil, fmt.Errorf("key slot: %w: it says that its key is of epoch %d, and that is of %d", ErrCorrupt, s.Epoch, epoch-1)
	}
	return joinEpochs(repo, older, uint32(epoch-1), master)
}

// joinEpochs makes keys of the master keys of older epochs, ascending, and the newest one.
func joinEpochs(repo RepoID, older []string, number uint32, master [KeySize]byte) (*Keys, error) {
	var k *Keys
	add := func(number uint32, master [KeySize]byte) error {
		switch {
		case master == [KeySize]byte{} || k != nil && (number <= k.Epoch() || len(k.epochs) == EpochsMax):
			return fmt.Errorf("key slot: %w: its keys are not in order", ErrCorrupt)
		case k == nil:
			k = NewKeys(repo, number, master)
		default:
			k = k.with(newEpoch(number, master))
		}
		return nil
	}
	for _, item := range older {
		if len(item) != 4+KeySize {
			return nil, fmt.Errorf("key slot: %w: an older key of %d bytes", ErrCorrupt, len(item))
		}
		if err := add(binary.LittleEndian.Uint32([]byte(item)), [KeySize]byte([]byte(item[4:]))); err != nil {
			return nil, err
		}
	}
	if err := add(number, master); err != nil {
		return nil, err
	}
	return k, nil
}

// derive hashes the password; this takes the time and memory that the parameters say.
func (s *Slot) derive(repo RepoID, password []byte) (key [KeySize]byte, commitment [CommitmentSize]byte) {
	preferHugePages(int(s.KDF.MemoryKiB) << 10)
	raw := argon2.IDKey(password, s.Salt[:], s.KDF.Passes, s.KDF.MemoryKiB, s.KDF.Lanes, KeySize)
	h := blake3.NewDeriveKey("tarn v1 key slot")
	h.Write(raw)
	h.Write(repo[:])
	var out [KeySize + CommitmentSize]byte
	h.Digest().Read(out[:])
	copy(key[:], out[:])
	copy(commitment[:], out[KeySize:])
	return key, commitment
}

func slotAAD(repo RepoID) []byte { return append([]byte(slotMagic), repo[:]...) }

// Encode returns the slot as it is stored.
func (s *Slot) Encode() []byte {
	b := []byte(slotMagic)
	b = tlv.AppendUint(b, slotMemory, uint64(s.KDF.MemoryKiB))
	b = tlv.AppendUint(b, slotPasses, uint64(s.KDF.Passes))
	b = tlv.AppendUint(b, slotLanes, uint64(s.KDF.Lanes))
	b = tlv.AppendBytes(b, slotSalt, s.Salt[:])
	b = tlv.AppendBytes(b, slotCommitment, s.commitment[:])
	b = tlv.AppendBytes(b, slotWrapped, s.wrapped)
	if !s.Created.IsZero() {
		b = tlv.AppendUint(b, slotCreated, tlv.Zigzag(s.Created.Unix()))
	}
	b = tlv.AppendBytes(b, slotLabel, s.Label)
	b = tlv.AppendBytes(b, slotHost, s.Host)
	b = tlv.AppendBytes(b, slotUser, s.User)
	return tlv.AppendUint(b, slotEpoch, uint64(s.Epoch))
}

// DecodeSlot reads a stored slot.
func DecodeSlot(data []byte) (s Slot, err error) {
	if len(data) < len(slotMagic) || string(data[:len(slotMagic)-1]) != slotMagic[:len(slotMagic)-1] {
		return s, fmt.Errorf("key slot: %w", ErrCorrupt)
	}
	if data[len(slotMagic)-1] != Version {
		return s, fmt.Errorf("key slot of version %d: %w", data[len(slotMagic)-1], ErrVersion)
	}
	r := tlv.NewReader(string(data[len(slotMagic):]))
	for r.Next() {
		switch r.Tag() {
		case slotMemory:
			s.KDF.MemoryKiB = uint32(r.UintMax(1<<32 - 1))
		case slotPasses:
			s.KDF.Passes = uint32(r.UintMax(1<<32 - 1))
		case slotLanes:
			s.KDF.Lanes = uint8(r.UintMax(255))
		case slotSalt:
			r.Copy(s.Salt[:])
		case slotCommitment:
			r.Copy(s.commitment[:])
		case slotWrapped:
			s.wrapped = []byte(r.String())
		case slotCreated:
			s.Created = time.Unix(tlv.Unzigzag(r.Uint()), 0).UTC()
		case slotLabel:
			s.Label = r.String()
		case slotHost:
			s.Host = r.String()
		case slotUser:
			s.User = r.String()
		case slotEpoch:
			s.Epoch = uint32(r.UintMax(1<<32 - 1))
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return s, fmt.Errorf("key slot: %w", err)
	}
	if s.Salt == [32]byte{} || s.commitment == [CommitmentSize]byte{} || len(s.wrapped) == 0 {
		return s, fmt.Errorf("key slot: %w: it lacks a part", ErrCorrupt)
	}
	return s, nil
}
