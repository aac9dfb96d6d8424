package restore_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
)

// memory is a repository in memory: it saves and loads blobs, and can be damaged.
type memory struct {
	mu    sync.Mutex
	blobs map[blob.ID][]byte
	loads map[blob.ID]int
	onGet func(blob.ID) error // called before a blob is given away; may be nil
}

func newMemory() *memory { return &memory{blobs: map[blob.ID][]byte{}, loads: map[blob.ID]int{}} }

func idOf(kind blob.Kind, plain []byte) blob.ID {
	return sha256.Sum256(append([]byte{byte(kind)}, plain...))
}

func sumData(plain []byte) blob.ID { return idOf(blob.Data, plain) }

func (m *memory) Save(_ context.Context, kind blob.Kind, plain []byte) (blob.ID, error) {
	id := idOf(kind, plain)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[id] = append([]byte{}, plain...)
	return id, nil
}

func (m *memory) Load(ctx context.Context, _ blob.Kind, id blob.ID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	plain, ok := m.blobs[id]
	m.loads[id]++
	onGet := m.onGet
	m.mu.Unlock()
	if onGet != nil {
		if err := onGet(id); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, fmt.Errorf("blob %s is missing", id.Short())
	}
	return plain, nil
}

func (m *memory) lose(id blob.ID) {
	m.mu.Lock()
	delete(m.blobs, id)
	m.mu.Unlock()
}

type every int

func (e every) Cut(p []byte) int { return min(len(p), int(e)) }

func (m *memory) lists() *snapshot.Lists {
	return &snapshot.Lists{Saver: m, Cutter: every(8 << 10), Max: 8 << 10}
}

// chunk is the size of the data blobs of these tests, and of the runs of zeros that become elements.
const chunk = 64 << 10

// file makes a node with the given content.
func (m *memory) file(t testing.TB, name, content string) snapshot.Node {
	t.Helper()
	ctx := context.Background()
	b := m.lists().NewContentBuilder()
	for rest := content; rest != ""; {
		part := rest[:min(len(rest), chunk)]
		rest = rest[len(part):]
		e := snapshot.Element{Length: uint64(len(part))}
		if len(part) < chunk || part != zeros {
			e.ID, _ = m.Save(ctx, blob.Data, []byte(part))
		}
		must(t, b.Add(ctx, e))
	}
	c, err := b.Finish(ctx)
	must(t, err)
	return snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, ModTime: someTime, Size: uint64(len(content)), Content: c,
		UID: myUID, GID: myGID}
}

var zeros = string(make([]byte, chunk))

var someTime = snapshot.Time{Sec: 1_234_567_890, Nsec: 123_456_700} // what NTFS can hold too

// dir makes a folder of nodes, which must be in order.
func (m *memory) dir(t testing.TB, name string, nodes ...snapshot.Node) snapshot.Node {
	t.Helper()
	ctx := context.Background()
	b := m.lists().NewTreeBuilder()
	for i := range nodes {
		must(t, b.Add(ctx, &nodes[i]))
	}
	c, err := b.Finish(ctx)
	must(t, err)
	return snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755, ModTime: someTime, Content: c, UID: myUID, GID: myGID}
}

// forge makes a folder of any nodes in any order, as no builder would.
func (m *memory) forge(name string, nodes ...snapshot.Node) snapshot.Node {
	var b []byte
	for i := range nodes {
		b = snapshot.AppendNode(b, &nodes[i])
	}
	id, _ := m.Save(context.Background(), blob.Tree, b)
	return snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755, ModTime: someTime, UID: myUID, GID: myGID,
		Content: snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(len(b))}}}}
}

func symlink(name, target string) snapshot.Node {
	return snapshot.Node{Name: name, Type: snapshot.Symlink, Mode: 0o777, ModTime: someTime, Target: target, UID: myUID, GID: myGID}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// events collects what a Reporter is told.
type events struct {
	mu   sync.Mutex
	all  map[string]restore.Event // the last one of each path and action
	wrte uint64
}

func newEvents() *events { return &events{all: map[string]restore.Event{}} }

func (e *events) Event(ev restore.Event) {
	e.mu.Lock()
	e.all[ev.Path+" "+ev.Action.String()] = ev
	e.mu.Unlock()
}

func (e *events) Wrote(n uint64) {
	e.mu.Lock()
	e.wrte += n
	e.mu.Unlock()
}

func (e *events) has(path string, a restore.Action) bool {
	_, ok := e.all[path+" "+a.String()]
	return ok
}
