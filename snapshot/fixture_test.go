package snapshot_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// store keeps blobs in memory, and counts.
type store struct {
	blobs map[blob.ID][]byte
	saved int
	loads int
	gone  map[blob.ID]bool
}

func newStore() *store { return &store{blobs: map[blob.ID][]byte{}, gone: map[blob.ID]bool{}} }

func (s *store) Save(_ context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	id := blob.ID(sha256.Sum256(append([]byte{byte(kind)}, plain...)))
	if len(plain) == 0 || len(plain) > blob.SizeMax {
		return id, fmt.Errorf("blob of %d bytes", len(plain))
	}
	if _, ok := s.blobs[id]; !ok {
		s.saved++
		s.blobs[id] = append([]byte{}, plain...)
	}
	return id, nil
}

var errGone = errors.New("blob is gone")

func (s *store) Load(_ context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	s.loads++
	data, ok := s.blobs[id]
	if !ok || s.gone[id] || blob.ID(sha256.Sum256(append([]byte{byte(kind)}, data...))) != id {
		return nil, fmt.Errorf("%s %s: %w", kind, id.Short(), errGone)
	}
	return data, nil
}

// rolling cuts where the sum of a few bytes says so, at most at max: a small cutter whose cuts follow the content.
type rolling struct{ mask, max int }

func (r rolling) Cut(p []byte) int {
	h := uint32(0)
	for i := range min(len(p), r.max) {
		h = h<<1 + uint32(p[i])*2654435761
		if i > r.max/8 && int(h>>16)&r.mask == 0 {
			return i + 1
		}
	}
	return min(len(p), r.max)
}

func (s *store) lists(max int) *snapshot.Lists {
	return &snapshot.Lists{Saver: s, Cutter: rolling{mask: max/4 - 1, max: max}, Max: max}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// id is a blob ID made of a number.
func id(n int) blob.ID { return blob.ID(sha256.Sum256(fmt.Append(nil, n))) }

// entries reads a folder.
func entries(t testing.TB, l snapshot.Loader, c snapshot.Content) (list []snapshot.Node) {
	t.Helper()
	for n, err := range snapshot.Entries(context.Background(), l, c) {
		must(t, err)
		list = append(list, n)
	}
	return list
}

// dir saves a folder.
func dir(t testing.TB, l *snapshot.Lists, name string, nodes ...snapshot.Node) snapshot.Node {
	t.Helper()
	b := l.NewTreeBuilder()
	for i := range nodes {
		must(t, b.Add(context.Background(), &nodes[i]))
	}
	c, err := b.Finish(context.Background())
	must(t, err)
	return snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755, Content: c}
}

func fifo(name string) snapshot.Node { return snapshot.Node{Name: name, Type: snapshot.FIFO} }
