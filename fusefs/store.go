package fusefs

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"
	"unsafe"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// keepFrom is the least size of data blobs that are kept once they are proven. They are segments alone (docs/adr/0003), so what is kept is what is
// counted; a smaller one would hold on to the whole segment that it shares, and is hashed again in a tenth of a millisecond.
const keepFrom = 512 << 10

// store reads blobs and keeps some of what it read.
type store struct {
	repo   Repository
	trees  *cache[*leaf]    // folder blobs
	lists  *cache[*extents] // parts of long contents
	chunks *cache[[]byte]   // large data blobs, proven
	failed failures
}

func newStore(r Repository, cacheSize int64) *store {
	return &store{repo: r, trees: newCache[*leaf](treeCacheSize), lists: newCache[*extents](listCacheSize), chunks: newCache[[]byte](cacheSize)}
}

// Load loads a blob. One that failed is not asked for again for some seconds: looking for a blob that is missing reads the whole index.
func (s *store) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	if err := s.failed.recent(id); err != nil {
		return nil, err
	}
	data, err := s.repo.Load(ctx, kind, id)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("blob %s: %w", id, err)
		s.failed.add(id, err)
	}
	return data, err
}

// leaf is a blob of a folder's entries.
type leaf struct {
	text    string
	records []uint32 // where they begin, as far as they can be told apart
}

// tree returns a blob of a folder's entries.
func (s *store) tree(ctx context.Context, id blob.ID) (*leaf, error) {
	if t, ok := s.trees.get(id); ok {
		return t, nil
	}
	data, err := s.Load(ctx, blob.Tree, id)
	if err != nil {
		return nil, err
	}
	t := &leaf{text: string(data)}
	for rest := t.text; rest != "" && err == nil; {
		t.records = append(t.records, uint32(len(t.text)-len(rest)))
		_, rest, err = snapshot.CutRecord(rest, snapshot.NodeSizeMax)
	}
	s.trees.put(id, t, int64(len(t.text)+4*cap(t.records)))
	return t, nil
}

// node decodes the record that begins at an offset, and returns where the next one begins.
func (t *leaf) node(off int, n *snapshot.Node) (next int, err error) {
	rest, err := snapshot.CutNode(t.text[off:], n)
	return len(t.text) - len(rest), err
}

// find returns where the record with a name begins. Names ascend; if some can't be read, all are looked at.
func (t *leaf) find(name string, n *snapshot.Node) (off int, err error) {
	i := sort.Search(len(t.records), func(i int) bool {
		if _, failed := t.node(int(t.records[i]), n); failed != nil {
			err = failed
		}
		return n.Name >= name
	})
	if err == nil && i < len(t.records) {
		if _, err = t.node(int(t.records[i]), n); err == nil && n.Name == name {
			return int(t.records[i]), nil
		}
	}
	if err == nil {
		return 0, errNotFound
	}
	for _, off := range t.records {
		if _, failed := t.node(int(off), n); failed == nil && n.Name == name {
			return int(off), nil
		}
	}
	return 0, err
}

// data returns a blob of a file's content. It must not be modified.
func (s *store) data(ctx context.Context, id blob.ID) ([]byte, error) {
	if data, ok := s.chunks.get(id); ok {
		return data, nil
	}
	data, err := s.Load(ctx, blob.Data, id)
	if err == nil && len(data) >= keepFrom {
		s.chunks.put(id, data, int64(len(data)))
	}
	return data, err
}

// chunk returns the bytes of an element that is no run of zeros. They must not be modified.
func (s *store) chunk(ctx context.Context, e snapshot.Element) ([]byte, error) {
	data, err := s.data(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	if uint64(len(data)) != e.Length {
		return nil, fmt.Errorf("blob %s: it has %d bytes, want %d", e.ID, len(data), e.Length)
	}
	return data, nil
}

// extents is a content list and where its elements end.
type extents struct {
	elements []snapshot.Element
	ends     []uint64
}

func extentsOf(elements []snapshot.Element) *extents {
	x := &extents{elements, make([]uint64, len(elements))}
	var end uint64
	for i := range elements {
		end += elements[i].Length
		x.ends[i] = end
	}
	return x
}

// list returns the content list that e stands for.
func (s *store) list(ctx context.Context, e snapshot.Element) (*extents, error) {
	if x, ok := s.lists.get(e.ID); ok {
		return x, nil
	}
	for below, err := range snapshot.Below(ctx, s, snapshot.Content{Depth: 1, Elements: []snapshot.Element{e}}) {
		if err != nil {
			return nil, err
		}
		x := extentsOf(below.Elements)
		s.lists.put(e.ID, x, int64(len(x.ends))*int64(unsafe.Sizeof(e)+unsafe.Sizeof(x.ends[0])))
		return x, nil
	}
	return nil, fmt.Errorf("blob %s: no content list", e.ID)
}

// failures remembers blobs that could not be read.
type failures struct {
	mu    sync.Mutex
	blobs map[blob.ID]failure
}

type failure struct {
	err   error
	until time.Time
}

const (
	failureKept = 5 * time.Second
	failuresMax = 4096
)

func (f *failures) recent(id blob.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.blobs) == 0 {
		return nil
	}
	failed, ok := f.blobs[id]
	if !ok || time.Now().After(failed.until) {
		delete(f.blobs, id)
		return nil
	}
	return failed.err
}

func (f *failures) add(id blob.ID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blobs == nil || len(f.blobs) >= failuresMax {
		f.blobs = map[blob.ID]failure{}
	}
	f.blobs[id] = failure{err, time.Now().Add(failureKept)}
}
