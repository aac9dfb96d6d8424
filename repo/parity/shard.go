package parity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/tlv"
)

// Limits, from docs/format.md. What is read from storage is checked against them before it is allocated.
const (
	WidthMax      = 128      // packs of a group
	ShardsMax     = 16       // parity shards of a group
	PackSizeMax   = 48 << 20 // bytes of a pack that has parity
	blockSize     = 64 << 10
	sumSize       = 8
	memberSize    = len(blob.Name{}) + 4
	directoryMax  = 8 << 20
	objectSizeMax = 64 << 20
)

// Folder is where the shards are.
const Folder = "parity/"

// Ratio is how much parity there is: Shards for each Width packs. The zero Ratio is none.
type Ratio struct{ Width, Shards int }

// Valid reports whether groups can be made so.
func (r Ratio) Valid() bool {
	return r.Width >= 1 && r.Width <= WidthMax && r.Shards >= 1 && r.Shards <= ShardsMax
}

// IsZero reports whether there is no parity.
func (r Ratio) IsZero() bool { return r == Ratio{} }

func (r Ratio) String() string {
	if r.IsZero() {
		return "off"
	}
	return fmt.Sprintf("%d/%d", r.Width, r.Shards)
}

// ParseRatio reads 10/2 or off.
func ParseRatio(s string) (r Ratio, err error) {
	if s == "off" {
		return r, nil
	}
	var rest string
	if n, _ := fmt.Sscanf(s, "%d/%d%s", &r.Width, &r.Shards, &rest); n != 2 || !r.Valid() {
		return Ratio{}, fmt.Errorf("parity %q: want N/K, like 10/2 (at most %d/%d), or off", s, WidthMax, ShardsMax)
	}
	return r, nil
}

// member is one pack of a group.
type member struct {
	name blob.Name
	size uint32
	sums []byte // of its blocks, sumSize bytes each
}

// head is what each shard of a group says of it.
type head struct {
	group   [16]byte // random; equal in the shards of a group
	shard   int      // which one this is
	ratio   Ratio
	members []member
}

// length is that of the shards: of the longest member.
func (h *head) length() (n int) {
	for i := range h.members {
		n = max(n, int(h.members[i].size))
	}
	return n
}

func blocks(size int) int { return (size + blockSize - 1) / blockSize }

// sumBlocks returns the sums of a pack's blocks. They find damage; whether all is right the pack's name says.
func sumBlocks(data []byte) (sums []byte) {
	for len(data) > 0 {
		n := min(len(data), blockSize)
		h := sha256.Sum256(data[:n])
		sums, data = append(sums, h[:sumSize]...), data[n:]
	}
	return sums
}

// Tags of a shard's directory.
const (
	parGroup   tlv.Tag = 1
	parShard   tlv.Tag = 3 // plus one
	parWidth   tlv.Tag = 5
	parShards  tlv.Tag = 7
	parMembers tlv.Tag = 9
	parSums    tlv.Tag = 11
)

func (h *head) encode() []byte {
	b := tlv.AppendBytes(nil, parGroup, h.group[:])
	b = tlv.AppendUint(b, parShard, uint64(h.shard)+1)
	b = tlv.AppendUint(b, parWidth, uint64(h.ratio.Width))
	b = tlv.AppendUint(b, parShards, uint64(h.ratio.Shards))
	var members, sums []byte
	for i := range h.members {
		m := &h.members[i]
		members = append(members, m.name[:]...)
		members = binary.LittleEndian.AppendUint32(members, m.size)
		sums = append(sums, m.sums...)
	}
	b = tlv.AppendBytes(b, parMembers, members)
	return tlv.AppendBytes(b, parSums, sums)
}

func decodeHead(data []byte) (*head, error) {
	h := new(head)
	var members, sums string
	r := tlv.NewReader(string(data))
	for r.Next() {
		switch r.Tag() {
		case parGroup:
			r.Copy(h.group[:])
		case parShard:
			h.shard = int(r.UintMax(ShardsMax)) - 1
		case parWidth:
			h.ratio.Width = int(r.UintMax(WidthMax))
		case parShards:
			h.ratio.Shards = int(r.UintMax(ShardsMax))
		case parMembers:
			members = r.String()
		case parSums:
			sums = r.String()
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	n := len(members) / memberSize
	if !h.ratio.Valid() || h.group == [16]byte{} || h.shard < 0 || h.shard >= h.ratio.Shards || n < 1 || n > h.ratio.Width || n*memberSize != len(members) {
		return nil, fmt.Errorf("%w: no parity shard", seal.ErrCorrupt)
	}
	h.members = make([]member, n)
	for i := range h.members {
		m := &h.members[i]
		copy(m.name[:], members)
		m.size = binary.LittleEndian.Uint32([]byte(members[len(m.name):memberSize]))
		members = members[memberSize:]
		size := blocks(int(m.size)) * sumSize
		if m.size < 1 || m.size > PackSizeMax || size > len(sums) {
			return nil, fmt.Errorf("%w: pack of %d bytes in a parity shard", seal.ErrCorrupt, m.size)
		}
		m.sums, sums = []byte(sums[:size]), sums[size:]
	}
	if sums != "" {
		return nil, fmt.Errorf("%w: more sums than blocks", seal.ErrCorrupt)
	}
	return h, nil
}

// sealShard makes the object of one shard.
func sealShard(keys *seal.Keys, h *head, data []byte) []byte {
	directory := h.encode()
	size := seal.HeaderSize + len(data) + (len(data)/blockSize+3)*seal.TagSize + len(directory) + seal.FooterSize
	s := keys.NewSealer(seal.Parity, make([]byte, 0, seal.Padme(size)), data[:min(len(data), blockSize)])
	for rest := data; len(rest) > 0; {
		n := min(len(rest), blockSize)
		s.Append(rest[:n])
		rest = rest[n:]
	}
	return s.Finish(directory, 0)
}

// shard is a shard in storage.
type shard struct {
	object string
	size   int64
	head   *head
	opener *seal.Opener
}

// readShard reads what a shard says of its group, and nothing of the parity.
func readShard(ctx context.Context, keys *seal.Keys, s storage.Storage, object string, size int64) (*shard, error) {
	if size < seal.HeaderSize+seal.FooterSize || size > objectSizeMax {
		return nil, fmt.Errorf("%w: it has %d bytes", seal.ErrCorrupt, size)
	}
	header, footer := make([]byte, seal.HeaderSize), make([]byte, seal.FooterSize)
	if err := storage.ReadRange(ctx, s, object, header, 0); err != nil {
		return nil, err
	}
	o, err := keys.NewOpener(seal.Parity, header)
	if err != nil {
		return nil, err
	}
	if err := storage.ReadRange(ctx, s, object, footer, size-seal.FooterSize); err != nil {
		return nil, err
	}
	off, stored, err := o.Footer(footer, size)
	if err != nil {
		return nil, err
	}
	if stored > directoryMax {
		return nil, fmt.Errorf("%w: directory of %d bytes", seal.ErrCorrupt, stored)
	}
	sealed := make([]byte, stored)
	if err := storage.ReadRange(ctx, s, object, sealed, off); err != nil {
		return nil, err
	}
	plain, err := o.Directory(sealed)
	if err != nil {
		return nil, err
	}
	h, err := decodeHead(plain)
	if err != nil {
		return nil, err
	}
	if n := h.length(); off != seal.HeaderSize+int64(n)+int64(blocks(n))*seal.TagSize {
		return nil, fmt.Errorf("%w: parity of another length", seal.ErrCorrupt)
	}
	return &shard{object, size, h, o}, nil
}

// block reads one block of the parity.
func (sh *shard) block(ctx context.Context, s storage.Storage, number int) ([]byte, error) {
	n := min(blockSize, sh.head.length()-number*blockSize)
	sealed := make([]byte, n+seal.TagSize)
	at := seal.HeaderSize + int64(number)*(blockSize+seal.TagSize)
	if err := storage.ReadRange(ctx, s, sh.object, sealed, at); err != nil {
		return nil, err
	}
	return sh.opener.Open(nil, uint32(number), sealed)
}

// Prove proves every byte of a shard's object.
func Prove(keys *seal.Keys, data []byte) error {
	o, err := keys.NewOpener(seal.Parity, data)
	if err != nil {
		return err
	}
	if len(data) < seal.HeaderSize+seal.FooterSize {
		return fmt.Errorf("%w: %d bytes", seal.ErrCorrupt, len(data))
	}
	off, stored, err := o.Footer(data[len(data)-seal.FooterSize:], int64(len(data)))
	if err != nil {
		return err
	}
	plain, err := o.Directory(data[off : off+stored])
	if err != nil {
		return err
	}
	h, err := decodeHead(plain)
	if err != nil {
		return err
	}
	n := h.length()
	if off != seal.HeaderSize+int64(n)+int64(blocks(n))*seal.TagSize {
		return fmt.Errorf("%w: parity of another length", seal.ErrCorrupt)
	}
	rest := data[seal.HeaderSize:off]
	for i := range blocks(n) {
		size := min(blockSize, n-i*blockSize) + seal.TagSize
		if _, err := o.Open(nil, uint32(i), rest[:size]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		rest = rest[size:]
	}
	return o.Padding(data, off+stored)
}
