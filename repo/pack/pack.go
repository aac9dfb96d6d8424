package pack

import (
	"crypto/sha256"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
)

// SizeMin is the least stored size of a pack in bytes.
const SizeMin = 64 << 10

// overhead is the room that a pack needs beside its segments and its directory.
const overhead = seal.HeaderSize + 2*seal.TagSize + seal.FooterSize

// A Writer makes one pack in memory.
type Writer struct {
	keys   *seal.Keys
	sealer *seal.Sealer
	opener *seal.Opener
	buf    []byte
	info   index.Pack
	size   int // of the directory, if the pack were finished now
}

// NewWriter returns the writer of a pack by that session. It takes over buf; a pack never gets longer than its capacity.
func NewWriter(keys *seal.Keys, session blob.Session, buf []byte) *Writer {
	return &Writer{keys: keys, buf: buf[:0], info: index.Pack{Session: session, Epoch: keys.Epoch()},
		size: index.DirectorySizeMost(0, 0)}
}

// Len is the length in bytes that the pack would have, but for padding, if it were finished now.
func (w *Writer) Len() int {
	n := overhead + w.size
	if w.sealer != nil {
		n += w.sealer.Len() - seal.HeaderSize
	}
	return n
}

// Empty reports whether nothing was appended yet.
func (w *Writer) Empty() bool { return w.sealer == nil }

// Fits reports whether a segment with a body of that many bytes and of that many blobs can be appended.
func (w *Writer) Fits(body, blobs int) bool {
	segments := len(w.info.Segments) + 1
	directory := w.size + index.DirectorySizeMost(1, blobs) - index.DirectorySizeMost(0, 0)
	size := w.Len() - w.size + directory + body + seal.TagSize
	return seal.Padme(size) <= cap(w.buf) && segments <= index.SegmentsMax && directory <= index.DirectorySizeMax
}

// Full reports whether the pack is long enough to end here, since little padding would be lost: a 512th of it. Lengths that need so little
// come by every few segments, so a pack seldom has to be filled to the brim and padded by what remains there, which is 1.6 % at most.
func (w *Writer) Full() bool {
	size := w.Len()
	return size >= cap(w.buf)/8*5 && seal.Padme(size)-size <= size/512
}

// Append seals a segment: its compressed body, and its blobs in the order in which their plaintexts are joined, of which only Prefix, Kind and
// Length need be set. It returns the sealed bytes, which don't move or change, and their number, for a Prover.
func (w *Writer) Append(body []byte, blobs []index.Entry) (number uint32, sealed []byte) {
	if w.sealer == nil {
		w.sealer = w.keys.NewSealer(seal.Pack, w.buf, body)
		w.info.Salt = w.sealer.Salt()
	}
	offset := w.sealer.Len()
	number, sealed = w.sealer.Append(body)
	plain := uint32(0)
	w.size += index.SegmentSize
	for _, b := range blobs {
		w.size += b.Size()
		b.Segment, b.Offset = uint16(number), plain
		plain += b.Length
		w.info.Blobs = append(w.info.Blobs, b)
	}
	w.info.Segments = append(w.info.Segments, index.Segment{Offset: uint32(offset), Stored: uint32(len(sealed)), Plain: plain})
	return number, sealed
}

// Opener opens the segments of the pack that is being made.
func (w *Writer) Opener() (*seal.Opener, error) {
	if w.opener == nil {
		salt := w.sealer.Salt()
		var err error
		if w.opener, err = w.keys.OpenerOf(seal.Pack, w.info.Epoch, &salt); err != nil {
			return nil, err
		}
	}
	return w.opener, nil
}

// Finish returns the whole pack and what it holds. The Writer must not be used again.
func (w *Writer) Finish() ([]byte, *index.Pack) {
	data := w.sealer.Finish(index.AppendDirectory(nil, &w.info), SizeMin)
	w.info.Size = uint32(len(data))
	w.info.Name = sha256.Sum256(data)
	w.sealer = nil
	return data, &w.info
}

// ReadDirectory reads what a pack of that name and size holds. read fills p with the pack's bytes from off.
func ReadDirectory(keys *seal.Keys, name blob.Name, size int64, read func(p []byte, off int64) error) (*index.Pack, error) {
	if size < seal.HeaderSize+seal.FooterSize || size > index.PackSizeMax {
		return nil, fmt.Errorf("pack %s: %w: it has %d bytes", name.Short(), seal.ErrCorrupt, size)
	}
	header := make([]byte, seal.HeaderSize)
	if err := read(header, 0); err != nil {
		return nil, err
	}
	h, err := seal.ParseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", name.Short(), err)
	}
	o, err := keys.NewOpener(seal.Pack, header)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", name.Short(), err)
	}
	footer := make([]byte, seal.FooterSize)
	if err := read(footer, size-seal.FooterSize); err != nil {
		return nil, err
	}
	off, stored, err := o.Footer(footer, size)
	if err != nil {
		return nil, fmt.Errorf("pack %s: footer: %w", name.Short(), err)
	}
	if stored > index.DirectorySizeMax+seal.TagSize {
		return nil, fmt.Errorf("pack %s: %w: directory of %d bytes", name.Short(), seal.ErrCorrupt, stored)
	}
	sealed := make([]byte, stored)
	if err := read(sealed, off); err != nil {
		return nil, err
	}
	p := &index.Pack{Name: name, Epoch: h.Epoch, Salt: h.Salt, Size: uint32(size)}
	dir, err := o.Directory(sealed)
	if err == nil {
		err = index.DecodeDirectory(string(dir), p)
	}
	if err == nil {
		err = checkSegments(p, off)
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s: directory: %w", name.Short(), err)
	}
	return p, nil
}

// checkSegments refuses a directory whose segments do not fill the pack exactly.
func checkSegments(p *index.Pack, end int64) error {
	off := int64(seal.HeaderSize)
	for i, s := range p.Segments {
		if int64(s.Offset) != off {
			return fmt.Errorf("%w: segment %d lies at %d, want %d", seal.ErrCorrupt, i, s.Offset, off)
		}
		off += int64(s.Stored)
	}
	if off != end {
		return fmt.Errorf("%w: segments end at %d, want %d", seal.ErrCorrupt, off, end)
	}
	return nil
}
