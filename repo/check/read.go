package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
)

// lost says which parts of packs can't be read. The zero value has none.
type lost struct {
	mu       sync.Mutex
	segments map[segment]bool
	blobs    map[blob.Extent]bool // in segments that can
}

type segment struct {
	pack   blob.Name
	number uint16
}

func (l *lost) has(e blob.Extent) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[segment{e.Pack, e.Segment}] || l.blobs[e]
}

func (l *lost) addSegment(s segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.segments == nil {
		l.segments = map[segment]bool{}
	}
	l.segments[s] = true
}

func (l *lost) addBlob(e blob.Extent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blobs == nil {
		l.blobs = map[blob.Extent]bool{}
	}
	l.blobs[e] = true
}

// decoder is what reading one pack works with.
type decoder struct {
	dec                   *pack.Decompressor
	sealed, opened, plain []byte
}

// stream is a pack that is read from its first byte to its last, and hashed on the way.
type stream struct {
	r    io.Reader
	hash hash.Hash
	size int64 // bytes so far
	err  error // the first error: nothing can be read after it
}

func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	s.err = err
	return n, err
}

// readPack reads a pack whole and adds to v what is wrong with it. dir says what it should hold; nil if nobody knows. An error is one of
// storage at the very beginning.
func (c *checker) readPack(ctx context.Context, j job, dir *index.Pack, v *verdict) error {
	r, err := c.store.Get(ctx, packPath(j.name), 0, -1)
	if err != nil {
		v.fault(err)
		if dir != nil {
			c.loseAll(j, dir, v)
		}
		return err
	}
	defer r.Close()
	s := &stream{r: r, hash: sha256.New()}
	if dir != nil {
		d := c.decoder.Get().(*decoder)
		c.readParts(s, d, j, dir, v)
		c.decoder.Put(d)
	}
	if _, err := io.Copy(io.Discard, s); err != nil && ctx.Err() == nil {
		v.fault(fmt.Errorf("read at byte %d: %w", s.size, err))
	}
	if s.size != j.size {
		v.fault(fmt.Errorf("%w: it has %d bytes, %d were listed", seal.ErrCorrupt, s.size, j.size))
	}
	if blob.Name(s.hash.Sum(nil)) != j.name {
		v.fault(fmt.Errorf("%w: the hash of its bytes is not its name", seal.ErrCorrupt))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.summary.PacksRead++
	c.summary.BytesRead += s.size
	if c.options.Progress != nil {
		c.options.Progress(c.summary.BytesRead, max(c.total, c.summary.BytesRead))
	}
	return nil
}

// readParts proves the parts of a pack one after the other.
func (c *checker) readParts(s *stream, d *decoder, j job, dir *index.Pack, v *verdict) {
	header := make([]byte, seal.HeaderSize)
	_, err := io.ReadFull(s, header)
	if err != nil {
		v.fault(fmt.Errorf("header: %w", err))
		c.loseAll(j, dir, v)
		return
	}
	o, err := c.keys.NewOpener(seal.Pack, header)
	if err != nil {
		v.fault(fmt.Errorf("header: %w", err))
		// The segments may be well: who reads them takes epoch and salt from the index.
		if o, err = c.keys.OpenerOf(seal.Pack, dir.Epoch, &dir.Salt); err != nil {
			v.fault(err)
			c.loseAll(j, dir, v)
			return
		}
	}
	blobs := dir.Blobs
	for i, g := range dir.Segments {
		n := 0
		for n < len(blobs) && int(blobs[n].Segment) == i {
			n++
		}
		if err := c.readSegment(s, d, o, segment{j.name, uint16(i)}, g, blobs[:n], v); err != nil {
			v.fault(fmt.Errorf("segment %d: %w", i, err))
		}
		blobs = blobs[n:]
	}
	if err := readTail(s, o, j.size, dir); err != nil {
		v.fault(err)
	}
}

// readSegment proves one segment and the blobs in it.
func (c *checker) readSegment(s *stream, d *decoder, o *seal.Opener, at segment, g index.Segment, blobs []index.Entry, v *verdict) error {
	if cap(d.sealed) < int(g.Stored) {
		d.sealed = make([]byte, g.Stored)
	}
	_, err := io.ReadFull(s, d.sealed[:g.Stored])
	if err == nil {
		var plain []byte
		if plain, d.opened, err = d.dec.Open(o, uint32(at.number), d.sealed[:g.Stored], d.plain, d.opened, int(g.Plain)); err == nil {
			d.plain = plain
		}
	}
	if err != nil {
		c.lost.addSegment(at)
		for _, e := range blobs {
			v.lost = append(v.lost, e.Prefix)
		}
		return err
	}
	for _, e := range blobs {
		if index.PrefixOf(c.keys.ID(e.Kind, d.plain[e.Offset:][:e.Length])) == e.Prefix {
			continue
		}
		c.lost.addBlob(blob.Extent{Pack: at.pack, Segment: e.Segment, Offset: e.Offset, Length: e.Length})
		v.lost = append(v.lost, e.Prefix)
		err = errors.Join(err, fmt.Errorf("%s blob %s: %w: the bytes are others", e.Kind, e.Prefix.Short(), seal.ErrCorrupt))
	}
	return err
}

// tailMax bounds what follows the segments of a pack of so many bytes: the directory, the footer, and padding, which is an eighth of it or, in
// the smallest packs, nearly all.
func tailMax(size int64) int64 {
	return index.DirectorySizeMax + 2*seal.TagSize + seal.FooterSize + min(size, index.PackSizeMax)/8 + pack.SizeMin
}

// readTail proves what follows the segments: directory, padding and footer.
func readTail(s *stream, o *seal.Opener, size int64, dir *index.Pack) error {
	end := s.size
	if size-end > tailMax(size) {
		return fmt.Errorf("directory: %w: %d bytes follow the segments", seal.ErrCorrupt, size-end)
	}
	tail, err := io.ReadAll(io.LimitReader(s, max(size-end, 0)))
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if end+int64(len(tail)) != size || len(tail) < seal.FooterSize {
		return fmt.Errorf("directory: %w", io.ErrUnexpectedEOF)
	}
	offset, stored, err := o.Footer(tail[len(tail)-seal.FooterSize:], size)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if offset != end {
		return fmt.Errorf("footer: %w: the directory is at %d, the segments end at %d", seal.ErrCorrupt, offset, end)
	}
	plain, err := o.Directory(tail[:stored])
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if !bytes.Equal(plain, index.AppendDirectory(nil, dir)) {
		return fmt.Errorf("directory: %w: it was another one when it was read before", seal.ErrCorrupt)
	}
	if err := o.Padding(tail, stored); err != nil {
		return fmt.Errorf("padding: %w", err)
	}
	return nil
}

// loseAll notes that nothing of a pack can be read.
func (c *checker) loseAll(j job, dir *index.Pack, v *verdict) {
	for i := range dir.Segments {
		c.lost.addSegment(segment{j.name, uint16(i)})
	}
	for _, e := range dir.Blobs {
		v.lost = append(v.lost, e.Prefix)
	}
}
