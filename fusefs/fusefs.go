package fusefs

import (
	"context"
	"errors"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// Repository is what a mount needs of one. *repo.Repo is a Repository.
type Repository interface {
	Load(ctx context.Context, kind blob.Kind, id blob.ID) ([]byte, error)
	SnapshotNames(ctx context.Context) ([]blob.Name, error)
	LoadSnapshot(ctx context.Context, name blob.Name) ([]byte, error)
}

// Owner is who owns everything in the mount.
type Owner struct{ UID, GID uint32 }

// Options say how snapshots are shown. The zero value is right.
type Options struct {
	Match     func(*snapshot.Record) bool // which snapshots; nil for all that are finished
	Templates []string                    // where they appear (see ParseTemplate); nil for DefaultTemplates
	TimeForm  string                      // how a time is written, as package time wants it; empty for DefaultTimeForm
	Zone      *time.Location              // of such times; nil for the local one
	Owner     *Owner                      // of everything; nil for the owners that the snapshots have
	Device    string                      // what the mount table calls the source; empty for "tarn"
	CacheSize int64                       // bytes of large blobs that are kept; zero for 32 MiB
	Fresh     time.Duration               // how old what is shown of the list of snapshots may be; zero for a second, less for not at all

	AllowOther bool // other users may look, as far as modes and ACLs let them

	// Report is told of what can't be read: its path, and why. It may be called by several goroutines.
	Report func(path string, err error)
}

// Errors that callers tell apart.
var (
	ErrUnsupported = errors.New("mounting is possible on Linux only")
	ErrBusy        = errors.New("it is in use")
	ErrNotMounted  = errors.New("no tarn is mounted there")
)

// Force says what becomes of those who use a mount that is to go.
type Force int

// How to unmount.
const (
	Politely Force = iota // not while it is in use
	AtOnce                // who uses it gets errors
)

// User is a process that uses a mount.
type User struct {
	PID  int
	Name string
}

// errNotFound says that a folder has no such entry.
var errNotFound = errors.New("no such entry")

const (
	defaultCacheSize = 32 << 20
	treeCacheSize    = 16 << 20 // bytes of folder blobs that are kept
	listCacheSize    = 4 << 20  // bytes of content lists that are kept
	defaultFresh     = time.Second
	forever          = 1 << 62         // how long what never changes is valid, in ns
	hangAllowed      = time.Second / 2 // how long a request may take before a signal ends it
)

func (o *Options) setDefaults() {
	if o.Match == nil {
		o.Match = func(r *snapshot.Record) bool { return !r.Partial }
	}
	if o.Templates == nil {
		o.Templates = DefaultTemplates()
	}
	if o.TimeForm == "" {
		o.TimeForm = DefaultTimeForm
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Device == "" {
		o.Device = "tarn"
	}
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Fresh == 0 {
		o.Fresh = defaultFresh
	}
	o.Fresh = max(o.Fresh, 0)
	if o.Report == nil {
		o.Report = func(string, error) {}
	}
}
