package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
)

// packer keeps the open pack of a Writer, and starts the upload when it is full.
type packer struct {
	writer *Writer
	parity *guard     // nil if there is to be none
	first  int        // bytes of the first packs at most; 0 if all may be as long as the Writer's
	mu     sync.Mutex // guards what follows, and what is appended to cur
	cur    *openPack
	begun  int // packs so far
}

// openPack is a pack that is being filled, or waits for the last look back before it is put.
type openPack struct {
	*pack.Writer
	proving sync.WaitGroup

	mu  sync.Mutex // guards err
	err error      // a look back that failed: the pack is never put
}

// sealedSegment is a segment in an open pack that has still to be proven.
type sealedSegment struct {
	pack   *openPack
	opener *seal.Opener
	number uint32
	bytes  []byte
}

// proven tells the result of the look back. It must be called once.
func (s *sealedSegment) proven(err error) {
	if err != nil {
		s.pack.mu.Lock()
		s.pack.err = err
		s.pack.mu.Unlock()
	}
	s.pack.proving.Done()
}

// add seals a segment into the open pack; if it has no room left, that one is put and another begun.
func (p *packer) add(ctx context.Context, body []byte, blobs []index.Entry) (*sealedSegment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != nil && (p.cur.Full() || !p.cur.Fits(len(body), len(blobs))) {
		if err := p.closeLocked(ctx); err != nil {
			return nil, err
		}
	}
	if p.cur == nil {
		p.cur = &openPack{Writer: pack.NewWriter(p.writer.repo.keys, p.writer.Session(), p.writer.buffer(p.sizeLocked()))}
		p.begun++
	}
	number, sealed := p.cur.Append(body, blobs)
	opener, err := p.cur.Opener()
	if err != nil {
		return nil, err
	}
	p.cur.proving.Add(1)
	return &sealedSegment{p.cur, opener, number, sealed}, nil
}

// sizeLocked is how long the next pack gets at most.
func (p *packer) sizeLocked() int {
	if p.first == 0 {
		return p.writer.packSize
	}
	return min(p.first<<min(p.begun/packsAlike, 16), p.writer.packSize)
}

// close puts the open pack, if there is one.
func (p *packer) close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closeLocked(ctx)
}

// closeLocked starts the upload of the open pack, as soon as there is a place for it.
func (p *packer) closeLocked(ctx context.Context) error {
	if p.cur == nil {
		return nil
	}
	w := p.writer
	if err := w.failure(); err != nil {
		return err
	}
	if w.options.Inline {
		cur := p.cur
		p.cur = nil
		err := w.upload(ctx, cur, p.parity)
		if err != nil {
			w.fail(err) // what others saved into this pack is lost, too
		}
		return err
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	cur := p.cur
	p.cur = nil
	go func() {
		defer func() { <-w.slots }()
		if err := w.upload(w.ctx, cur, p.parity); err != nil {
			w.fail(err)
		}
	}()
	return nil
}

// upload finishes a pack and makes it durable.
func (w *Writer) upload(ctx context.Context, cur *openPack, g *guard) error {
	cur.proving.Wait()
	if cur.err != nil {
		return cur.err
	}
	data, info := cur.Finish()
	if err := w.storage.Put(ctx, packName(info.Name), data); err != nil {
		return fmt.Errorf("store a pack: %w", err)
	}
	w.putBytes.Add(uint64(len(data)))
	w.repo.far.keep(info, data)
	if err := g.add(ctx, w, info.Name, data); err != nil {
		return err
	}
	w.release(data)
	return w.packed(ctx, info)
}
