package backup

import (
	"context"
	"io"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/snapshot"
)

// content saves what rd holds, which is size bytes if nobody changes it.
func (r *reader) content(ctx context.Context, rd io.Reader, size int64) (uint64, snapshot.Content, error) {
	if size >= int64(len(r.small)) {
		return r.stream(ctx, rd)
	}
	n, err := io.ReadFull(rd, r.small)
	if err == nil { // longer than it was said to be
		return r.stream(ctx, io.MultiReader(strings.NewReader(string(r.small)), rd))
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, snapshot.Content{}, err
	}
	if n == 0 {
		return 0, snapshot.Content{}, nil
	}
	id, err := r.lane.Save(ctx, blob.Data, r.small[:n])
	if err != nil {
		return 0, snapshot.Content{}, &saveError{err}
	}
	return uint64(n), snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(n)}}}, nil
}

// next returns the next element of the large file, and its bytes unless it is a run of zeros.
func (r *reader) next() (e snapshot.Element, plain []byte, err error) {
	zeros, err := r.large.Zeros()
	if err != nil || zeros > 0 {
		return snapshot.Element{Length: uint64(zeros)}, nil, err
	}
	plain, err = r.large.Next()
	return snapshot.Element{Length: uint64(len(plain))}, plain, err
}

// interrupted is a reader that ends with a context.
type interrupted struct {
	ctx context.Context
	rd  io.Reader
}

func (i *interrupted) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.rd.Read(p)
}

func (i *interrupted) SkipZeros() int64 {
	if s, ok := i.rd.(chunker.ZeroSkipper); ok {
		return s.SkipZeros()
	}
	return 0
}

// stream cuts what rd holds and saves it.
func (r *reader) stream(ctx context.Context, rd io.Reader) (size uint64, c snapshot.Content, err error) {
	if r.large == nil {
		r.large = chunker.NewStream(r.o.Data, nil, nil)
	}
	r.large.Reset(&interrupted{ctx, rd}) // a run of zeros is one element, and may be long
	list := elements{reader: r, list: r.lists.NewContentBuilder()}
	defer list.close(ctx)
	for {
		if err := ctx.Err(); err != nil {
			return 0, c, err
		}
		e, plain, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, c, err
		}
		var other *chunk
		if plain != nil {
			if other = r.help.offer(plain, r.owner); other == nil {
				e.ID, err = r.lane.Save(ctx, blob.Data, plain)
			}
		}
		size += e.Length
		if err == nil {
			err = list.add(ctx, e, other)
		}
		if err != nil {
			return 0, c, &saveError{err}
		}
	}
	if err = list.settle(ctx, 0); err == nil {
		c, err = list.list.Finish(ctx)
	}
	if err != nil {
		return 0, c, &saveError{err}
	}
	return size, c, nil
}
