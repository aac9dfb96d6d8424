package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

const (
	largeFile  = 16 << 20 // bytes from which several goroutines write a file
	largePart  = 4 << 20  // bytes that one of them takes at a time: neighbours share segments
	partsMax   = 4096     // elements that one of them takes at a time, however short they are
	partsAhead = 4        // such parts that are announced before their turn comes
	blockSize  = 4096     // bytes of zeros that become a hole
	zerosChunk = 1 << 20  // bytes of zeros that are written or compared at once
)

// buffer is a worker's own memory, grown as needed.
type buffer struct{ b []byte }

func (b *buffer) take(n int) []byte {
	if cap(b.b) < n {
		b.b = make([]byte, n)
	}
	return b.b[:n]
}

// oldFile is what a file is replaced for: parts that are right already are taken from it, if blobs can be told by their hash.
type oldFile struct {
	file
	size uint64
}

// reusable opens what is replaced, if it may hold parts of the new content.
func (w *writer) reusable(j *job, found *status) *oldFile {
	if found == nil || found.typ != snapshot.File || w.o.Sum == nil || w.o.Overwrite != OverwriteIfChanged || w.o.Compare != CompareContent {
		return nil
	}
	f, err := j.dir.h.open(j.node.Name)
	if err != nil {
		return nil
	}
	return &oldFile{f, found.size}
}

// part is an element of a file's content and its place.
type part struct {
	snapshot.Element
	off uint64
}

// write fills a new file.
func (w *writer) write(ctx context.Context, buf *buffer, f file, n *snapshot.Node, old *oldFile) error {
	if old != nil {
		defer old.close()
	}
	fw := fileWriter{run: w.run, f: f, old: old, holes: w.o.holes(n)}
	var err error
	if n.Size >= largeFile && w.o.Workers > 1 {
		err = fw.parallel(ctx, n)
	} else {
		err = w.parts(ctx, n, func(p part) error { return fw.write(ctx, buf, p) })
	}
	if err != nil {
		return err
	}
	if fw.holes && n.Size > 0 { // it may end with one
		if err := f.truncate(n.Size); err != nil {
			return err
		}
	}
	return nil
}

// parts calls fn for each element of n's content, in order, after it saw that the lengths can be true.
func (r *run) parts(ctx context.Context, n *snapshot.Node, fn func(part) error) error {
	var off uint64
	zeros := false
	for e, err := range snapshot.Elements(ctx, r.loader, n.Content) {
		if err != nil {
			return fmt.Errorf("list of contents: %w", err)
		}
		if zeros && e.IsZeros() { // no backup writes this: a few bytes could say it a million times
			return errors.New("list of contents: a run of zeros follows another one")
		}
		zeros = e.IsZeros()
		if e.Length > n.Size-off {
			return fmt.Errorf("content of more than %d bytes, which the entry has", n.Size)
		}
		if !e.IsZeros() && e.Length > blob.SizeMax {
			return fmt.Errorf("blob %s of %d bytes", e.ID, e.Length)
		}
		if err := fn(part{e, off}); err != nil {
			return err
		}
		off += e.Length
	}
	if off != n.Size {
		return fmt.Errorf("content of %d bytes, the entry has %d", off, n.Size)
	}
	return nil
}

type fileWriter struct {
	*run
	f     file
	old   *oldFile
	holes bool
}

// parallel writes a large file with several goroutines. They end before it returns.
func (w *fileWriter) parallel(ctx context.Context, n *snapshot.Node) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(w.o.Workers)
	var next partRun
	var waiting []*partRun // announced, and begun when others that were announced are
	begin := func() {
		run := waiting[0]
		waiting = waiting[1:]
		g.Go(func() error { return w.writeRun(gctx, run) })
	}
	flush := func() {
		run := next
		next = partRun{}
		run.done = w.announce(run.parts)
		if waiting = append(waiting, &run); len(waiting) > partsAhead {
			begin()
		}
	}
	err := w.parts(gctx, n, func(p part) error {
		next.parts, next.size = append(next.parts, p), next.size+p.Length
		if next.size >= largePart || len(next.parts) >= partsMax {
			flush()
		}
		return gctx.Err()
	})
	flush()
	for len(waiting) > 0 {
		begin()
	}
	if werr := g.Wait(); werr != nil { // what a goroutine met is why the listing ended
		return werr
	}
	return err
}

// partRun is what one goroutine writes of a large file at a time.
type partRun struct {
	parts []part
	size  uint64
	done  func() // of what was announced
}

func (w *fileWriter) writeRun(ctx context.Context, run *partRun) error {
	defer run.done()
	var buf buffer
	for _, p := range run.parts {
		if err := w.write(ctx, &buf, p); err != nil {
			return err
		}
	}
	return nil
}

// announce says that parts are going to be loaded, unless the file that is replaced may have them.
func (w *fileWriter) announce(parts []part) (done func()) {
	if w.o.Announce == nil || w.old != nil {
		return func() {}
	}
	var ids []blob.ID
	for _, p := range parts {
		if !p.IsZeros() {
			ids = append(ids, p.ID)
		}
	}
	return w.o.Announce(ids)
}

func (w *fileWriter) write(ctx context.Context, buf *buffer, p part) error {
	if p.IsZeros() {
		if w.holes {
			w.ledger.wrote(p.Length)
			return nil
		}
		return w.writeZeros(ctx, p)
	}
	data, err := w.part(ctx, buf, p)
	if err != nil {
		return err
	}
	if w.holes {
		err = w.writeAround(data, p.off)
	} else {
		err = w.f.writeAt(data, p.off)
	}
	w.ledger.wrote(uint64(len(data)))
	return err
}

// part gets an element's bytes, from the file that is replaced if it has them.
func (w *fileWriter) part(ctx context.Context, buf *buffer, p part) ([]byte, error) {
	if w.old != nil && p.off+p.Length <= w.old.size {
		data := buf.take(int(p.Length))
		if w.old.readAt(data, p.off) == nil && w.o.Sum(data) == p.ID {
			return data, nil
		}
	}
	return w.load(ctx, p)
}

func (r *run) load(ctx context.Context, p part) ([]byte, error) {
	data, err := r.loader.Load(ctx, blob.Data, p.ID)
	if err != nil {
		return nil, fmt.Errorf("load blob %s at offset %d: %w", p.ID, p.off, err)
	}
	if uint64(len(data)) != p.Length {
		return nil, fmt.Errorf("blob %s at offset %d has %d bytes, want %d", p.ID, p.off, len(data), p.Length)
	}
	return data, nil
}

// writeAround writes data but for the blocks that are zero. The file is new, so what is left out is a hole.
func (w *fileWriter) writeAround(data []byte, off uint64) error {
	for len(data) > 0 {
		zeros := zeroBlocks(data, off)
		data, off = data[zeros:], off+uint64(zeros)
		size := 0
		for size < len(data) && zeroBlocks(data[size:], off+uint64(size)) == 0 {
			size += nextBlock(data[size:], off+uint64(size))
		}
		if err := w.f.writeAt(data[:size], off); err != nil {
			return err
		}
		data, off = data[size:], off+uint64(size)
	}
	return nil
}

// nextBlock is the number of bytes up to the end of the block that off is in.
func nextBlock(data []byte, off uint64) int { return min(len(data), blockSize-int(off%blockSize)) }

// zeroBlocks is the number of bytes at the start of data that are in zero blocks.
func zeroBlocks(data []byte, off uint64) int {
	n := 0
	for n < len(data) {
		next := nextBlock(data[n:], off+uint64(n))
		if !isZero(data[n : n+next]) {
			break
		}
		n += next
	}
	return n
}

// isZero compares data with itself, moved by one byte, which is as fast as the machine compares memory.
func isZero(data []byte) bool {
	return len(data) == 0 || data[0] == 0 && bytes.Equal(data[1:], data[:len(data)-1])
}

func (w *fileWriter) writeZeros(ctx context.Context, p part) error {
	zeros := make([]byte, min(p.Length, zerosChunk))
	for off, end := p.off, p.off+p.Length; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := zeros[:min(end-off, zerosChunk)]
		if err := w.f.writeAt(chunk, off); err != nil {
			return err
		}
		w.ledger.wrote(uint64(len(chunk)))
		off += uint64(len(chunk))
	}
	return nil
}

// errDiffers says where a file is not what the snapshot has.
type errDiffers struct{ off uint64 }

func (e errDiffers) Error() string {
	return fmt.Sprintf("content differs in the part that begins at offset %d", e.off)
}

// compare reads a file of the right size and compares it with n's content; the error is an errDiffers if they are not equal.
func (r *run) compare(ctx context.Context, buf *buffer, f file, n *snapshot.Node) error {
	return r.parts(ctx, n, func(p part) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if p.IsZeros() {
			err = r.compareZeros(ctx, buf, f, p)
		} else {
			err = r.comparePart(ctx, buf, f, p)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) { // it was cut off while we read it
			return errDiffers{p.off}
		}
		return err
	})
}

func (r *run) comparePart(ctx context.Context, buf *buffer, f file, p part) error {
	got := buf.take(int(p.Length))
	if err := f.readAt(got, p.off); err != nil {
		return err
	}
	if r.o.Sum != nil {
		if r.o.Sum(got) != p.ID {
			return errDiffers{p.off}
		}
		return nil
	}
	want, err := r.load(ctx, p)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errDiffers{p.off}
	}
	return nil
}

func (r *run) compareZeros(ctx context.Context, buf *buffer, f file, p part) error {
	for off, end := p.off, p.off+p.Length; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if off = min(f.nextData(off), end); off == end { // the rest is a hole
			return nil
		}
		got := buf.take(int(min(end-off, zerosChunk)))
		if err := f.readAt(got, off); err != nil {
			return err
		}
		if !isZero(got) {
			return errDiffers{off}
		}
		off += uint64(len(got))
	}
	return nil
}
