package repo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// Errors that callers tell apart.
var (
	ErrNoRepository = errors.New("no tarn repository there")
	ErrExists       = errors.New("a repository is there already")
	ErrPassword     = seal.ErrPassword
	ErrNoBlob       = errors.New("blob is not in the repository")
)

// Repo is an open repository. It is safe for concurrent use.
type Repo struct {
	storage storage.Storage
	keys    *seal.Keys
	config  Config
	data    chunker.Chunker
	meta    chunker.Chunker
	slot    KeySlot // that opened it

	loading sync.Mutex // held while the index is read
	view    *View
	cache   *segmentCache
	far     Far
	long    *stretches  // nil if packs are read segment by segment
	local   *localIndex // nil if this machine keeps none
}

// InitOptions says how a repository is made. The zero value is right.
type InitOptions struct {
	KDF     seal.KDF
	Chunker chunker.Algorithm // zero: the default
	CutLike *Repo             // cut as this repository does, its secret included, so that copies of its snapshots share blobs with later backups
	Slot    seal.Slot         // labels of the first password
	Program string
	Now     time.Time
}

// Init makes a repository and opens it.
func Init(ctx context.Context, s storage.Storage, password []byte, o InitOptions) (*Repo, error) {
	if _, err := storage.ReadAll(ctx, s, configName, configSizeMax); err == nil {
		return nil, ErrExists
	} else if !errors.Is(err, storage.ErrNotExist) {
		return nil, fmt.Errorf("look for a repository: %w", err)
	}
	if o.Chunker == 0 {
		o.Chunker = chunker.Gear
	}
	c := Config{Created: o.Now, Program: o.Program, Chunker: o.Chunker, Data: chunker.DataParams, Meta: chunker.MetaParams}
	if like := o.CutLike; like != nil {
		c.Chunker, c.Data, c.Meta, c.CutKey = like.config.Chunker, like.config.Data, like.config.Meta, *like.cutKey()
	}
	rand.Read(c.Repo[:])
	keys := seal.NewKeys(c.Repo, 0, seal.NewMaster())
	o.Slot.KDF, o.Slot.Created = o.KDF, o.Now
	slot, err := keys.NewSlot(o.Slot, password)
	if err != nil {
		return nil, err
	}
	data := slot.Encode()
	if err := s.Put(ctx, keyName(sha256.Sum256(data)), data); err != nil {
		return nil, fmt.Errorf("store the key: %w", err)
	}
	err = putConfig(ctx, s, c.encode(keys)) // last: without it there is no repository
	if errors.Is(err, storage.ErrExist) {
		return nil, errors.Join(ErrExists, s.Remove(ctx, keyName(sha256.Sum256(data)))) // the key of no repository
	}
	if err != nil {
		return nil, fmt.Errorf("store the config: %w", err)
	}
	return newRepo(s, keys, c, KeySlot{Name: sha256.Sum256(data), Slot: slot}, Far{})
}

// putConfig puts the config, and replaces none if the storage can tell: machines that are set up at the same moment may all make the repository, and
// what one of them saves before another's config takes the place of its own could never be read.
func putConfig(ctx context.Context, s storage.Storage, data []byte) error {
	if c, ok := s.(storage.Creator); ok {
		if err := c.PutNew(ctx, configName, data); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return s.Put(ctx, configName, data)
}

// OpenOptions says how a repository is opened. The zero value is right.
type OpenOptions struct {
	KDFMemoryMaxKiB uint32 // the most memory that hashing the password may take; zero: seal.KDFMemoryDefaultMax
	// Far, if not nil, says how to work with a store that is far away; it is told the repository's ID.
	Far func(id seal.RepoID) Far
	// IndexCache, if not nil, returns the folder where this machine may keep what the repository's packs hold, or "" for none.
	IndexCache func(id seal.RepoID) string
	// IndexCacheFailed, if not nil, is told once if that can't be used. All goes on without it.
	IndexCacheFailed func(error)
}

// Open opens a repository. password is asked for once, after the config was read.
func Open(ctx context.Context, s storage.Storage, password func() ([]byte, error), o OpenOptions) (*Repo, error) {
	data, err := storage.ReadAll(ctx, s, configName, configSizeMax)
	if errors.Is(err, storage.ErrNotExist) {
		return nil, ErrNoRepository
	}
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	c, err := decodeConfigHead(data)
	if err != nil {
		return nil, err
	}
	if o.KDFMemoryMaxKiB == 0 {
		o.KDFMemoryMaxKiB = seal.KDFMemoryDefaultMax
	}
	keys, slot, err := openSlots(ctx, s, c.Repo, password, o.KDFMemoryMaxKiB)
	if err != nil {
		return nil, err
	}
	if err := c.decodeBody(keys, data); err != nil {
		return nil, err
	}
	var far Far
	if o.Far != nil {
		far = o.Far(c.Repo)
	}
	r, err := newRepo(s, keys, c, slot, far)
	if err == nil && o.IndexCache != nil {
		r.local = newLocalIndex(o.IndexCache(c.Repo), o.IndexCacheFailed)
	}
	return r, err
}

// Close lets go of the local index cache. No blob may be looked up or loaded from then on. A program that is about to end need not call
// it, and should not while goroutines that it can't wait for may still load.
func (r *Repo) Close() error { return r.local.close() }

func newRepo(s storage.Storage, keys *seal.Keys, c Config, slot KeySlot, far Far) (*Repo, error) {
	r := &Repo{storage: s, keys: keys, config: c, slot: slot, cache: newSegmentCache(segmentCacheSize), far: far}
	if far.ReadAhead > 0 {
		r.cache.max = segmentCacheFar
		r.long = newStretches(far.ReadAhead, func(ctx context.Context, pack blob.Name, p []byte, off int64) error {
			return storage.ReadRange(ctx, s, packName(pack), p, off)
		})
	}
	var err error
	if r.data, err = chunker.New(c.Chunker, r.cutKey(), c.Data); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if r.meta, err = chunker.New(c.Chunker, r.cutKey(), c.Meta); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return r, nil
}

// cutKey is the chunker's secret.
func (r *Repo) cutKey() *[seal.KeySize]byte {
	if r.config.CutKey != ([seal.KeySize]byte{}) {
		return &r.config.CutKey
	}
	return r.keys.Chunker()
}

// Config is what was fixed when the repository was made.
func (r *Repo) Config() Config { return r.config }

// DataChunker cuts files' contents.
func (r *Repo) DataChunker() chunker.Chunker { return r.data }

// MetaChunker cuts trees and scan records.
func (r *Repo) MetaChunker() chunker.Chunker { return r.meta }

// ID is the ID that a blob has in this repository.
func (r *Repo) ID(kind blob.Kind, plain []byte) blob.ID { return r.keys.ID(kind, plain) }

// CanWrite tells whether this version may write to the repository, with the key that opened it.
func (r *Repo) CanWrite() error {
	if r.slot.Old {
		return ErrOldKey
	}
	if unknown := r.config.NeedWrite &^ knownWrite; unknown != 0 {
		return fmt.Errorf("repository with features %#x that this version can't write: %w", unknown, seal.ErrVersion)
	}
	return nil
}

// Index says where blobs are: the packs of the view that was taken last. It takes one if there is none.
func (r *Repo) Index(ctx context.Context) (*index.Index, error) {
	v, err := r.currentView(ctx)
	if err != nil {
		return nil, err
	}
	return v.Index, nil
}

func (r *Repo) currentView(ctx context.Context) (*View, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	if r.view == nil {
		v, err := r.takeLocalView(ctx)
		if err != nil {
			return nil, err
		}
		r.view = v
	}
	return r.view, nil
}

// Refresh takes a new view, for which it may know from the local cache what packs hold. Which packs there are it always asks the storage.
func (r *Repo) Refresh(ctx context.Context) (*View, error) {
	v, err := r.takeLocalView(ctx)
	if err != nil {
		return nil, err
	}
	r.loading.Lock()
	r.view = v
	r.loading.Unlock()
	return v, nil
}
