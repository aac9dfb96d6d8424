package repo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/tlv"
)

// bodyMax is the largest plaintext of an object that is no pack, in bytes: one segment.
const bodyMax = index.SegmentSizeMax

// bodySmall is up to where compressing a body is not worth the while, in bytes; padding makes it longer anyway.
const bodySmall = 512

// compressors are for small objects: one is dearer to make than to use.
var compressors = sync.Pool{New: func() any { return pack.NewCompressor(pack.Default) }}

// sealObject seals a small object: one segment with the compressed body, no directory.
func sealObject(keys *seal.Keys, kind seal.Kind, body []byte, sizeMin int) []byte {
	return sealObjectWith(keys, kind, body, nil, sizeMin)
}

// sealObjectWith seals an object with one segment and a directory that is readable alone.
func sealObjectWith(keys *seal.Keys, kind seal.Kind, body, directory []byte, sizeMin int) []byte {
	plain := binary.AppendUvarint(nil, uint64(len(body)))
	if len(body) <= max(sizeMin/2, bodySmall) {
		plain = pack.AppendPlain(plain, body)
	} else {
		c := compressors.Get().(*pack.Compressor)
		plain = slices.Concat(plain, c.Compress(body))
		compressors.Put(c)
	}
	size := seal.HeaderSize + len(plain) + len(directory) + 3*seal.TagSize + seal.FooterSize
	s := keys.NewSealer(kind, make([]byte, 0, seal.Padme(max(size, sizeMin))), plain)
	s.Append(plain)
	return s.Finish(directory, sizeMin)
}

// openObject opens a small object whole and returns its body.
func openObject(keys *seal.Keys, kind seal.Kind, data []byte) ([]byte, error) {
	body, _, err := openObjectWith(keys, kind, data)
	return body, err
}

func openObjectWith(keys *seal.Keys, kind seal.Kind, data []byte) (body, directory []byte, err error) {
	if len(data) < seal.HeaderSize+seal.FooterSize {
		return nil, nil, fmt.Errorf("%w: %d bytes", seal.ErrCorrupt, len(data))
	}
	o, err := keys.NewOpener(kind, data)
	if err != nil {
		return nil, nil, err
	}
	off, stored, err := o.Footer(data[len(data)-seal.FooterSize:], int64(len(data)))
	if err != nil {
		return nil, nil, err
	}
	if directory, err = o.Directory(data[off : off+stored]); err != nil {
		return nil, nil, err
	}
	if err = o.Padding(data, off+stored); err != nil {
		return nil, nil, err
	}
	plain, err := o.Open(nil, 0, data[seal.HeaderSize:off])
	if err != nil {
		return nil, nil, err
	}
	size, n := tlv.Uvarint(string(plain[:min(len(plain), binary.MaxVarintLen64)]))
	if n == 0 || size > bodyMax {
		return nil, nil, fmt.Errorf("%w: bad length", seal.ErrCorrupt)
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	body, err = d.dec.Decompress(plain[n:], int(size))
	return body, directory, err
}

// getObject reads an object that is named by its hash, proves it and opens it.
func (r *Repo) getObject(ctx context.Context, kind seal.Kind, path string, name blob.Name) (body, directory []byte, err error) {
	data, err := r.readObject(ctx, kind, path, name)
	if err != nil {
		return nil, nil, err
	}
	if body, directory, err = openObjectWith(r.keys, kind, data); err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", kind, name.Short(), err)
	}
	return body, directory, nil
}

// putObject stores an object under the hash of its bytes.
func (r *Repo) putObject(ctx context.Context, path func(blob.Name) string, data []byte) (blob.Name, error) {
	name := blob.Name(sha256.Sum256(data))
	if err := r.storage.Put(ctx, path(name), data); err != nil {
		return name, err
	}
	r.far.keepObject(path(name), data)
	return name, nil
}

// IsCorrupt reports whether err says that stored bytes are damaged, as opposed to missing or out of reach.
func IsCorrupt(err error) bool { return errors.Is(err, seal.ErrCorrupt) }
