package repair

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// reader reads packs part by part. It serves one goroutine.
type reader struct {
	repo                  *repo.Repo
	dec                   *pack.Decompressor
	sealed, opened, plain []byte
}

func newReader(r *repo.Repo) *reader { return &reader{repo: r, dec: pack.NewDecompressor(1)} }

// examined is what is known of one pack.
type examined struct {
	name    blob.Name
	size    int64
	dir     *index.Pack // nil if nobody knows what it holds
	problem error       // the first; nil if every byte is right
	bad     []bool      // of dir.Blobs: can't be read
	unsure  bool        // the storage could not be read: the bytes may be right
}

// badBlobs counts the blobs that can't be read.
func (e *examined) badBlobs() (n int) {
	for _, bad := range e.bad {
		if bad {
			n++
		}
	}
	return n
}

// fault notes what is wrong.
func (e *examined) fault(err error) {
	if e.problem == nil {
		e.problem = err
	}
	if !repo.IsCorrupt(err) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, storage.ErrNotExist) {
		e.unsure = true
	}
}

// examine proves every byte of a pack. The index tells what a pack holds whose own directory can't be read. The hash of all bytes is the quick
// look; what it says is then looked at segment by segment, since a pack whose hash is right can still have been sealed badly.
func (r *reader) examine(ctx context.Context, v *repo.View, name blob.Name, size int64) (*examined, error) {
	e := &examined{name: name, size: size}
	dir, err := r.repo.ReadPackDirectory(ctx, name, size)
	wrong := r.hash(ctx, name, size)
	if err != nil {
		if !errors.Is(err, seal.ErrVersion) || !repo.IsCorrupt(wrong) { // else it is the byte of the version that is damaged
			e.fault(err)
		}
		dir = told(ctx, r.repo, v, name)
	}
	if wrong != nil {
		e.fault(wrong)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if dir == nil {
		return e, nil
	}
	e.dir, e.bad = dir, make([]bool, len(dir.Blobs))
	err = r.segments(ctx, dir, func(entry int, plain []byte, err error) error {
		if err != nil {
			e.fault(err)
			e.bad[entry] = true
		}
		return nil
	})
	return e, err
}

// hash compares the hash of all bytes with the name.
func (r *reader) hash(ctx context.Context, name blob.Name, size int64) error {
	in, err := r.repo.Storage().Get(ctx, repo.PackObject(name), 0, -1)
	if err != nil {
		return err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err != nil {
		return fmt.Errorf("pack %s: read at byte %d: %w", name.Short(), n, err)
	}
	if n != size || blob.Name(h.Sum(nil)) != name {
		return fmt.Errorf("pack %s: %w: the hash of its bytes is not its name", name.Short(), seal.ErrCorrupt)
	}
	return nil
}

// segments opens a pack segment by segment, each with a read of its own, and gives each blob's plaintext, or what is wrong with it. plain is
// valid until fn returns.
func (r *reader) segments(ctx context.Context, dir *index.Pack, fn func(entry int, plain []byte, err error) error) error {
	o, err := r.repo.SealKeys().OpenerOf(seal.Pack, dir.Epoch, &dir.Salt)
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir.Name.Short(), err)
	}
	at := 0
	for i, g := range dir.Segments {
		plain, err := r.segment(ctx, o, dir.Name, i, g)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for ; at < len(dir.Blobs) && int(dir.Blobs[at].Segment) == i; at++ {
			b := &dir.Blobs[at]
			var data []byte
			err := err
			if err == nil {
				data = plain[b.Offset:][:b.Length]
				if index.PrefixOf(r.repo.ID(b.Kind, data)) != b.Prefix {
					err = fmt.Errorf("pack %s: %s blob %s: %w: the bytes are others", dir.Name.Short(), b.Kind, b.Prefix.Short(), seal.ErrCorrupt)
				}
			}
			if err := fn(at, data, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) segment(ctx context.Context, o *seal.Opener, name blob.Name, number int, g index.Segment) ([]byte, error) {
	if cap(r.sealed) < int(g.Stored) {
		if g.Stored > index.SegmentSizeMax+index.SegmentSizeMax/8 { // more than any plaintext takes
			return nil, fmt.Errorf("pack %s, segment %d: %w: it has %d bytes", name.Short(), number, seal.ErrCorrupt, g.Stored)
		}
		r.sealed = make([]byte, g.Stored)
	}
	sealed := r.sealed[:g.Stored]
	if err := storage.ReadRange(ctx, r.repo.Storage(), repo.PackObject(name), sealed, int64(g.Offset)); err != nil {
		return nil, fmt.Errorf("pack %s, segment %d: %w", name.Short(), number, err)
	}
	plain, opened, err := r.dec.Open(o, uint32(number), sealed, r.plain, r.opened, int(g.Plain))
	r.opened = opened
	if err != nil {
		return nil, fmt.Errorf("pack %s, segment %d: %w", name.Short(), number, err)
	}
	r.plain = plain
	return plain, nil
}
