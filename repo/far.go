package repo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// Far says how to work with a store where a request takes long. The zero value is right for a folder of this machine.
type Far struct {
	Requests  int   // how many at a time are worth it; 0: 2
	ReadAhead int64 // how many bytes of a pack are asked for at once at most; 0: what a segment needs
	Cache     Cache // of index objects, snapshots and segments with metadata; nil: none
}

// Cache keeps sealed bytes on this machine. What it returns is proven like what comes from storage, and fetched anew if it does not stand that.
type Cache interface {
	Get(key string) ([]byte, bool)
	Put(key string, data []byte)
}

const (
	requestsMin    = 2
	uploadsMax     = 4 // since each takes a whole pack of memory
	cachedMetaKind = "meta/"
)

func (f *Far) requests() int { return max(f.Requests, requestsMin) }
func (f *Far) uploads() int  { return min(f.requests(), uploadsMax) }

// metaKey is the key of a segment with metadata.
func metaKey(pack blob.Name, segment uint16) string {
	return fmt.Sprintf("%s%s-%x", cachedMetaKind, pack, segment)
}

// cached returns a sealed segment from the cache, if it has one of the right length.
func (f *Far) cached(pack blob.Name, segment uint16, s *index.Segment) ([]byte, bool) {
	if f.Cache == nil {
		return nil, false
	}
	data, ok := f.Cache.Get(metaKey(pack, segment))
	return data, ok && len(data) == int(s.Stored)
}

// keep puts the segments with metadata of a pack that was put into the cache: the next backup reads them.
func (f *Far) keep(p *index.Pack, data []byte) {
	if f.Cache == nil {
		return
	}
	for i := range p.Blobs {
		if b := &p.Blobs[i]; b.Kind.Meta() && b.Offset == 0 { // the first of its segment, and the others are of the same kind
			s := p.Segments[b.Segment]
			f.Cache.Put(metaKey(p.Name, b.Segment), data[s.Offset:s.Offset+s.Stored])
		}
	}
}

// keepObject puts an index object or a snapshot that was put into the cache.
func (f *Far) keepObject(path string, data []byte) {
	if f.Cache != nil && (strings.HasPrefix(path, indexDir) || strings.HasPrefix(path, snapshotsDir)) {
		f.Cache.Put(path, data)
	}
}

// readObject reads an object that is named by its hash, and proves it. Index objects and snapshots come from the cache if it has them: they
// never change, and whoever reads one has it from a list that is fresh.
func (r *Repo) readObject(ctx context.Context, kind seal.Kind, path string, name blob.Name) ([]byte, error) {
	c := r.far.Cache
	if kind != seal.Index && kind != seal.Snapshot {
		c = nil
	}
	if c != nil {
		if data, ok := c.Get(path); ok && sha256.Sum256(data) == name {
			return data, nil
		}
	}
	data, err := storage.ReadAll(ctx, r.storage, path, objectMax)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != name {
		return nil, fmt.Errorf("%s %s: %w: its content does not match its name", kind, name.Short(), seal.ErrCorrupt)
	}
	if c != nil {
		c.Put(path, data)
	}
	return data, nil
}
