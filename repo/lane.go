package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
)

// A Lane is one goroutine's way into a Writer: the segments that it is filling, and what it compresses and looks back with.
type Lane struct {
	writer   *Writer
	compress *pack.Compressor
	prove    *pack.Prover

	mu   sync.Mutex // taken by Flush of the Writer too, and nearly never contended
	data open
	meta open

	alone [1]index.Entry // of a segment of one chunk
}

// open is a segment that is being filled.
type open struct {
	plain []byte
	blobs []index.Entry
}

// Lane returns a new lane.
func (w *Writer) Lane() *Lane {
	l := &Lane{writer: w, compress: pack.NewCompressor(w.options.Compression), prove: pack.NewProver()}
	w.mu.Lock()
	w.lanes = append(w.lanes, l)
	w.mu.Unlock()
	return l
}

// Save stores a blob unless it is there, and returns its ID. plain may be reused when it returns.
func (l *Lane) Save(ctx context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	if len(plain) > blob.SizeMax || len(plain) == 0 {
		return blob.ID{}, fmt.Errorf("a blob of %d bytes can't be stored", len(plain))
	}
	id := l.writer.repo.keys.ID(kind, plain)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.writer.claim(id) { // with the lock held: who is told that another lane has a blob finds it there when he flushes all of them
		return id, nil
	}
	entry := index.Entry{Prefix: index.PrefixOf(id), Kind: kind, Length: uint32(len(plain))}
	if len(plain) >= dataAloneSize && !kind.Meta() {
		l.alone[0] = entry
		return id, l.seal(ctx, l.compress.Compress(plain), plain, l.alone[:])
	}
	return id, l.appendLocked(ctx, entry, plain)
}

// appendLocked appends a blob to the open segment of its kind, and ends that before or after it if it is full.
func (l *Lane) appendLocked(ctx context.Context, entry index.Entry, plain []byte) error {
	seg, size := l.segment(entry.Kind)
	if len(seg.plain) > 0 && len(seg.plain)+len(plain) > size {
		if err := l.flushLocked(ctx, seg); err != nil {
			return err
		}
	}
	seg.plain = append(seg.plain, plain...)
	seg.blobs = append(seg.blobs, entry)
	if len(seg.plain) >= size || len(seg.blobs) >= segmentBlobsMax {
		return l.flushLocked(ctx, seg)
	}
	return nil
}

// segment returns the open segment that a blob of a kind goes into, and how long it gets.
func (l *Lane) segment(kind blob.Kind) (seg *open, size int) {
	if kind.Meta() {
		return &l.meta, metaSegmentSize
	}
	if len(l.data.plain) < tinySize*len(l.data.blobs) {
		return &l.data, tinySegmentSize
	}
	return &l.data, dataSegmentSize
}

// Break ends the data segment if it is at least half full, where the next files are no neighbours of these.
func (l *Lane) Break(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.data.plain) < dataSegmentSize/2 {
		return nil
	}
	return l.flushLocked(ctx, &l.data)
}

// BreakAlways ends the data segment, where the next files belong to somebody else: what one user can feed to the compressor must not
// stand with another's secrets.
func (l *Lane) BreakAlways(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushLocked(ctx, &l.data)
}

// Flush ends the lane's segments and seals them into open packs.
func (l *Lane) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flushLocked(ctx, &l.data); err != nil {
		return err
	}
	return l.flushLocked(ctx, &l.meta)
}

// flushLocked ends a segment.
func (l *Lane) flushLocked(ctx context.Context, seg *open) error {
	if len(seg.blobs) == 0 {
		return nil
	}
	if err := l.seal(ctx, l.compress.Compress(seg.plain), seg.plain, seg.blobs); err != nil {
		return err
	}
	seg.plain, seg.blobs = seg.plain[:0], seg.blobs[:0]
	return nil
}

// seal seals the compressed body of a segment into the open pack, and looks back.
func (l *Lane) seal(ctx context.Context, body, plain []byte, blobs []index.Entry) error {
	w := l.writer
	sealed, err := w.packerOf(blobs[0].Kind).add(ctx, body, blobs)
	if err != nil {
		return err
	}
	err = l.prove.Prove(sealed.opener, sealed.number, sealed.bytes, plain)
	sealed.proven(err)
	if err != nil {
		return err
	}
	w.blobs.Add(uint64(len(blobs)))
	w.added.Add(uint64(len(plain)))
	return nil
}
