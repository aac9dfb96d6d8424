package index

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/tarn-backup/tarn/blob"
)

// Index says where blobs are. Its methods may be called at the same time. Which packs may be trusted is the caller's to know:
// it adds those that it has listed and found in no trash, and no others.
type Index struct {
	bases []*base // what was read from the local cache, the largest first; packs are only ever taken out of them
	delta table
}

// New returns an empty Index.
func New() *Index { return &Index{} }

// Add makes p's blobs known. Adding a pack again changes nothing. An error means that p is not one that a pack's directory
// can describe, see Pack.Check; then nothing is added. While Add runs, look-ups may see some of the blobs.
func (x *Index) Add(p *Pack) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("index pack %s: %w", p.Name.Short(), err)
	}
	for _, b := range x.bases {
		if b.has(p.Name) {
			return nil
		}
	}
	if err := x.delta.add(p); err != nil {
		return fmt.Errorf("index pack %s: %w", p.Name.Short(), err)
	}
	return nil
}

// Remove makes a pack and its blobs unknown. Its memory is not given back.
func (x *Index) Remove(pack blob.Name) {
	for _, b := range x.bases {
		b.remove(pack)
	}
	x.delta.remove(pack)
}

// Lookup returns a place of the blob, and whether there is one. It compares half of the id: who reads the blob hashes it.
func (x *Index) Lookup(id blob.ID) (blob.Extent, bool) {
	for _, b := range x.bases {
		if e, ok := b.lookup(&id); ok {
			return e, true
		}
	}
	return x.delta.lookup(&id)
}

// LookupAll appends all places of the blob to buf, since a blob may be in several packs.
func (x *Index) LookupAll(id blob.ID, buf []blob.Extent) []blob.Extent {
	for _, b := range x.bases {
		buf = b.lookupAll(&id, buf)
	}
	return x.delta.lookupAll(&id, buf)
}

// Pack returns what is known of a pack, and whether it is known at all.
func (x *Index) Pack(name blob.Name) (*PackInfo, bool) {
	if tp := x.delta.pack(name); tp != nil {
		return &tp.PackInfo, true
	}
	for _, b := range x.bases {
		if info, ok := b.pack(name); ok {
			return info, true
		}
	}
	return nil, false
}

// Len is the number of blobs; each copy counts.
func (x *Index) Len() int {
	n := int(x.delta.blobs.Load())
	for _, b := range x.bases {
		n += int(b.blobs.Load())
	}
	return n
}

// Packs goes through the packs in no particular order. One that is added or removed meanwhile may be seen or not.
func (x *Index) Packs() iter.Seq[*PackInfo] {
	return func(yield func(*PackInfo) bool) {
		for _, b := range x.bases {
			for n := range b.live {
				if b.live[n].Load() && !yield(b.packInfo(n)) {
					return
				}
			}
		}
		for _, tp := range x.delta.list() {
			if !tp.dead.Load() && !yield(&tp.PackInfo) {
				return
			}
		}
	}
}

// All goes through all blobs, copies too, in no particular order, each with its pack. One that is added or removed meanwhile may be seen or not.
func (x *Index) All() iter.Seq2[*PackInfo, Entry] {
	return func(yield func(*PackInfo, Entry) bool) {
		for _, b := range x.bases {
			if !b.all(yield) {
				return
			}
		}
		x.delta.all(yield)
	}
}

// Keep forgets all blobs but those that are wanted, and gives their memory back; of what was read from the local cache it forgets nothing. The packs
// stay as they were, and count in Len. Nothing else of the Index may be called meanwhile.
func (x *Index) Keep(wanted func(id blob.ID) bool) { x.delta.keep(wanted) }

// Blobs goes through the packs, each with its blobs in the order in which they lie in it. The rows are overwritten by
// the next pack's. It is for checks of all that there is: it first sorts the whole index by pack, for which it allocates
// 4 bytes per blob.
func (x *Index) Blobs() iter.Seq2[*PackInfo, []Entry] {
	return x.BlobsOf(func(blob.Name) bool { return true })
}

// BlobsOf is Blobs for some packs only, which saves much of the sorting.
func (x *Index) BlobsOf(wanted func(pack blob.Name) bool) iter.Seq2[*PackInfo, []Entry] {
	return func(yield func(*PackInfo, []Entry) bool) {
		var rows []Entry
		more := true
		for _, b := range x.bases {
			if rows, more = b.blobsByPack(rows, wanted, yield); !more {
				return
			}
		}
		x.delta.blobsByPack(rows, wanted, yield)
	}
}

// PackInfo is what the index knows of a pack besides its blobs.
type PackInfo struct {
	Name    blob.Name
	Session blob.Session // the writer that made it
	Epoch   uint32       // key epoch
	Salt    [32]byte     // of the object's key
	Size    uint32       // stored bytes of the whole object
	Blobs   int          // how many it holds

	segments []byte // per segment, little-endian: end in the pack u32, bytes of plaintext u32
}

const tableSegmentSize = 8

func makePackInfo(p *Pack) PackInfo {
	info := PackInfo{Name: p.Name, Session: p.Session, Epoch: p.Epoch, Salt: p.Salt, Size: p.Size, Blobs: len(p.Blobs)}
	info.segments = appendSegments(make([]byte, 0, len(p.Segments)*tableSegmentSize), p.Segments)
	return info
}

func appendSegments(b []byte, segments []Segment) []byte {
	for _, s := range segments {
		b = binary.LittleEndian.AppendUint32(b, s.Offset+s.Stored)
		b = binary.LittleEndian.AppendUint32(b, s.Plain)
	}
	return b
}

// Segments is the number of the pack's segments.
func (p *PackInfo) Segments() int { return len(p.segments) / tableSegmentSize }

// Segment returns where segment n lies, and whether the pack has it.
func (p *PackInfo) Segment(n uint16) (Segment, bool) {
	if int(n) >= p.Segments() {
		return Segment{}, false
	}
	at, begin := int(n)*tableSegmentSize, uint32(HeaderSize)
	if n > 0 {
		begin = binary.LittleEndian.Uint32(p.segments[at-tableSegmentSize:])
	}
	end, plain := binary.LittleEndian.Uint32(p.segments[at:]), binary.LittleEndian.Uint32(p.segments[at+4:])
	return Segment{Offset: begin, Stored: end - begin, Plain: plain}, true
}
