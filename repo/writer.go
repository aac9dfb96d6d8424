package repo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// How a Writer groups what it stores, in bytes.
const (
	dataSegmentSize = 2 << 20 // of plaintext: what small files share
	tinySegmentSize = 4 << 20 // the same of files of less than tinySize on average: it takes many of them to fill it
	tinySize        = 4 << 10
	segmentBlobsMax = 1 << 17   // so that the directory of a pack has room for what blobs of a few bytes take there, 17 to 20 each
	dataAloneSize   = 512 << 10 // a chunk of this size or more is a segment alone, so that reading it decodes nothing else
	metaSegmentSize = 128 << 10 // small, so that one bad bit costs little
	mixedPackSize   = 8 << 20   // up to here data and metadata share a pack
	metaPackSize    = 640 << 10 // so that a group of parity has several even in a small repository, and costs a tenth of them
	packsAlike      = 20        // packs of metadata of one session until they get twice as long: two groups
	packSizeSmall   = 16 << 20
	packSizeLarge   = 32 << 20
	repoSizeLarge   = 16 << 30 // from this repository size on packs are large
)

// When durable packs are put into the index at the latest, so that a crash leaves little to be read again.
const (
	indexPacksMax = 64
	indexBodyMax  = 6 << 20
	indexAge      = 5 * time.Minute
)

// WriterOptions says how to write. The zero value is right.
type WriterOptions struct {
	Compression pack.Level
	Session     Session
	// Inline puts each pack before the call that filled it returns, instead of beside it: no goroutine is started.
	Inline bool
	// PackSize is where a pack is full, in bytes; 0 for what is right for the size of the repository.
	PackSize int
	// Absent, if not nil, reports blobs that count as not there, so that they are stored again.
	Absent func(blob.ID) bool
	// MoveOnly says that nothing will be saved, only moved: what was stored is not put into the view's index, and takes no memory there.
	MoveOnly bool
}

// A Writer is one session of writing. Its methods may be called by many goroutines; each of those that save has a Lane.
type Writer struct {
	repo    *Repo
	storage storage.Storage // what it leaves behind in a crash carries the session's name
	options WriterOptions
	view    *View
	stored  index.Set // what this session has stored, or is about to
	data    packer
	meta    packer

	ctx      context.Context // of the uploads, which outlive the calls that start them; ends with the session
	cancel   context.CancelFunc
	slots    chan struct{} // holds a token for each upload that is under way
	waiting  sync.Mutex    // held by who waits for all of them
	buffers  chan []byte   // one pack long each, to be used again
	packSize int
	blobs    atomic.Uint64
	added    atomic.Uint64
	putBytes atomic.Uint64
	unsure   atomic.Bool // the Put of a snapshot failed, and may still take effect

	mu        sync.Mutex // guards what follows
	lanes     []*Lane
	durable   []*index.Pack // packs that are put and in no index object yet
	body      int           // bytes of their directories
	lastIndex time.Time
	err       error // the first error of an upload
}

// NewWriter begins a session, which lives no longer than ctx and must be ended by Commit or Abort: it puts the session object, and only then
// takes the view (steps W1, W2).
func (r *Repo) NewWriter(ctx context.Context, o WriterOptions) (*Writer, error) {
	if err := r.BeginSession(ctx, o.Session); err != nil {
		return nil, err
	}
	v, err := r.Refresh(ctx)
	if err == nil {
		err = v.Blind
	}
	if err != nil {
		return nil, errors.Join(err, r.EndSession(context.WithoutCancel(ctx), o.Session.ID))
	}
	return r.WriterOn(ctx, v, o)
}

// WriterOn is NewWriter for a session that has begun, and took a view since. If it fails the session is ended.
func (r *Repo) WriterOn(ctx context.Context, v *View, o WriterOptions) (*Writer, error) {
	uploads := r.far.uploads()
	if o.MoveOnly && r.far.Requests < 2 {
		uploads = 1 // to a folder of this machine a pack is put sooner than the next one is full
	}
	w := &Writer{repo: r, storage: r.storage, options: o, view: v, packSize: packSizeSmall, slots: make(chan struct{}, uploads), lastIndex: time.Now()}
	if c, ok := r.storage.(storage.Cleaner); ok {
		w.storage = c.WithSession(o.Session.ID.String())
	}
	var total int64
	for _, size := range v.Packs {
		total += size
	}
	if total >= repoSizeLarge {
		w.packSize = packSizeLarge
	}
	if o.PackSize > 0 {
		w.packSize = o.PackSize
	}
	w.buffers = make(chan []byte, uploads+2)
	w.data.writer, w.meta.writer, w.meta.first = w, w, metaPackSize
	if err := w.guard(ctx); err != nil {
		return nil, errors.Join(err, r.storage.Remove(context.WithoutCancel(ctx), sessionName(o.Session.ID)))
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	if err := w.Adopt(ctx, v); err != nil {
		w.cancel()
		return nil, errors.Join(err, r.EndSession(context.WithoutCancel(ctx), o.Session.ID))
	}
	return w, nil
}

// Adopt puts packs of a view into the index that are in none, such as a session left that was interrupted. The index is durable after
// the next Flush.
func (w *Writer) Adopt(ctx context.Context, v *View) error {
	for _, p := range v.orphans {
		if err := w.packed(ctx, p); err != nil {
			return err
		}
	}
	v.orphans = nil
	return nil
}

// buffer returns room for a pack of so many bytes.
func (w *Writer) buffer(size int) []byte {
	if size < w.packSize {
		return make([]byte, 0, size)
	}
	select {
	case b := <-w.buffers:
		return b
	default:
		return make([]byte, 0, size)
	}
}

// release takes the room of a pack back that is durable, to be used again if it is large enough.
func (w *Writer) release(b []byte) {
	if cap(b) < w.packSize {
		return
	}
	select {
	case w.buffers <- b[:0]:
	default:
	}
}

// Session is the session's name.
func (w *Writer) Session() blob.Session { return w.options.Session.ID }

// View is what the session may refer to.
func (w *Writer) View() *View { return w.view }

// Has reports whether a blob may be referred to: it is in the view, or this session stores it.
func (w *Writer) Has(id blob.ID) bool {
	if w.stored.Has(id) {
		return true
	}
	if w.options.Absent != nil && w.options.Absent(id) {
		return false
	}
	_, ok := w.view.Index.Lookup(id)
	return ok
}

// claim reports whether the caller is to store a blob: nobody else has or does.
func (w *Writer) claim(id blob.ID) bool {
	if _, ok := w.view.Index.Lookup(id); ok && (w.options.Absent == nil || !w.options.Absent(id)) {
		return false
	}
	return w.stored.Add(id)
}

// Added is what the session has stored so far: blobs, their plaintext bytes, and the bytes put to storage for them.
func (w *Writer) Added() (blobs, plain, stored uint64) {
	return w.blobs.Load(), w.added.Load(), w.putBytes.Load()
}

// Load returns a blob, also one that this session has saved and flushed.
func (w *Writer) Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error) {
	return w.repo.loadFrom(ctx, w.view.Index, kind, id)
}

// packerOf returns the open pack that a segment goes into: small backups make one mixed pack.
func (w *Writer) packerOf(kind blob.Kind) *packer {
	if kind.Meta() && w.added.Load() > mixedPackSize {
		return &w.meta
	}
	return &w.data
}

// Flush makes all that was saved durable, and puts it into the index.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	lanes := w.lanes
	w.mu.Unlock()
	for _, l := range lanes {
		if err := l.Flush(ctx); err != nil {
			return err
		}
	}
	if err := w.data.close(ctx); err != nil {
		return err
	}
	if err := w.meta.close(ctx); err != nil {
		return err
	}
	w.uploaded()
	if err := w.failure(); err != nil {
		return err
	}
	return w.putIndex(ctx)
}

// uploaded waits until all uploads that have begun are over. It takes the place of each, so others may go on to save meanwhile: a WaitGroup does
// not bear an Add beside a Wait.
func (w *Writer) uploaded() {
	w.waiting.Lock()
	defer w.waiting.Unlock()
	for range cap(w.slots) {
		w.slots <- struct{}{}
	}
	for range cap(w.slots) {
		<-w.slots
	}
}

// PutSnapshot stores a snapshot record after everything that was saved before (step W4).
func (w *Writer) PutSnapshot(ctx context.Context, record []byte) (blob.Name, error) {
	if len(record) > bodyMax { // nobody could read it again
		return blob.Name{}, fmt.Errorf("store the snapshot: its record has %d bytes, the limit is %d", len(record), bodyMax)
	}
	if err := w.Flush(ctx); err != nil {
		return blob.Name{}, err
	}
	name, err := w.putObject(ctx, snapshotName, sealObject(w.repo.keys, seal.Snapshot, record, snapshotSizeMin))
	if err != nil {
		w.unsure.Store(true)
		return blob.Name{}, fmt.Errorf("store the snapshot: %w", err)
	}
	return name, nil
}

// Commit stores the final snapshot record, asks whether the session still stands (step W5), and ends it. Only when it returns nil is the
// backup done. ErrEvicted says that the snapshot may lack blobs: the caller begins again with a new session and removes it then.
func (w *Writer) Commit(ctx context.Context, record []byte) (blob.Name, error) {
	if err := w.FinishParity(ctx); err != nil {
		return blob.Name{}, err
	}
	name, err := w.PutSnapshot(ctx, record)
	if err != nil {
		return name, err
	}
	ok, err := w.repo.Stands(ctx, w.Session())
	if err != nil {
		return name, fmt.Errorf("confirm the snapshot: %w", err)
	}
	if !ok {
		return name, ErrEvicted
	}
	if err := w.repo.EndSession(ctx, w.Session()); err != nil {
		return name, err
	}
	w.cancel()
	return name, nil
}

// Abort ends a session without a snapshot. What was uploaded stays, is put into the index if storage lets it, and is found by the
// next session. If a snapshot was to be stored and nobody knows whether it was, the session is evicted: one that turns up later, on a slow way,
// must not pass for a confirmed one, since packs that it refers to may be gone by then.
func (w *Writer) Abort(ctx context.Context) error {
	w.uploaded()
	w.cancel()
	err := w.putIndex(ctx)
	if w.unsure.Load() {
		return errors.Join(err, w.repo.Evict(ctx, w.Session()))
	}
	return errors.Join(err, w.repo.EndSession(ctx, w.Session()))
}

// putObject stores an object under the hash of its bytes.
func (w *Writer) putObject(ctx context.Context, path func(blob.Name) string, data []byte) (blob.Name, error) {
	name := blob.Name(sha256.Sum256(data))
	if err := w.storage.Put(ctx, path(name), data); err != nil {
		return name, err
	}
	w.repo.far.keepObject(path(name), data)
	return name, nil
}

func (w *Writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// packed notes a durable pack, and puts an index object when it is time.
func (w *Writer) packed(ctx context.Context, p *index.Pack) error {
	add := w.view.Index.Add
	if w.options.MoveOnly {
		add = (*index.Pack).Check
	}
	if err := add(p); err != nil {
		return err
	}
	w.mu.Lock()
	size := index.DirectorySize(p)
	full := w.body+size > indexBodyMax && len(w.durable) > 0
	w.mu.Unlock()
	if full {
		if err := w.putIndex(ctx); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.durable = append(w.durable, p)
	w.body += size
	due := len(w.durable) >= indexPacksMax || time.Since(w.lastIndex) > indexAge
	w.mu.Unlock()
	if due {
		return w.putIndex(ctx)
	}
	return nil
}

// putIndex puts an index object for the durable packs that are in none.
func (w *Writer) putIndex(ctx context.Context) error {
	w.mu.Lock()
	packs := w.durable
	w.durable, w.body, w.lastIndex = nil, 0, time.Now()
	w.mu.Unlock()
	if len(packs) == 0 {
		return nil
	}
	data := encodeIndexObject(w.repo.keys, packs)
	if _, err := w.putObject(ctx, indexName, data); err != nil {
		return fmt.Errorf("store the index: %w", err)
	}
	w.putBytes.Add(uint64(len(data)))
	return nil
}
