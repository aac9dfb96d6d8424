package prune

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
)

// Options says how to prune. Session must be set, unless it is a dry run.
type Options struct {
	Session     repo.Session
	MaxUnused   Limit // how much of what is stored may be of no use to any snapshot, rather than be stored again without it
	MaxRepack   int64 // the most bytes of packs to store again; 0 for no limit
	DryRun      bool  // look and plan, write nothing
	Compression pack.Level
	Workers     int              // goroutines that read; 0 for one per processor
	Inline      bool             // start no goroutine for uploads, for simulations
	PackSize    int              // where a pack is full, in bytes; 0 for what is right
	Now         func() time.Time // nil for the clock
	// Gone reports whether a session's process is known to have ended. nil looks at the processes of this machine.
	Gone func(repo.Session) bool
	// Warn, if not nil, is told what is wrong and does not end the prune.
	Warn func(error)
	// Progress, if not nil, is told now and then what is being done, and how much of it is. Calls may come from several goroutines.
	Progress func(Stage, uint64)
}

// Stage is what a prune is doing.
type Stage string

// The stages.
const (
	Looking  Stage = "looking at what the snapshots need" // so many pieces of trees
	Moving   Stage = "storing again what is needed"       // so many bytes
	Removing Stage = "removing packs"                     // so many
)

// Limit is a number of bytes, or a share of all that is stored. The zero Limit is a share of 5 %.
type Limit struct {
	Bytes   int64
	Share   float64
	Bounded bool // Bytes or Share is set
}

// defaultUnused is the share of a repository that may be of no use: storing again costs more than that.
const defaultUnused = 0.05

// ParseLimit reads a share like 5%, "unlimited", or what size, which reads a number of bytes, understands.
func ParseLimit(text string, size func(string) (int64, error)) (Limit, error) {
	if text == "unlimited" {
		return Limit{Share: 1, Bounded: true}, nil
	}
	if digits, ok := strings.CutSuffix(text, "%"); ok {
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return Limit{}, fmt.Errorf("%q: want a share between 0%% and 100%%", text)
		}
		return Limit{Share: v / 100, Bounded: true}, nil
	}
	n, err := size(text)
	if err != nil {
		return Limit{}, fmt.Errorf("%q: want a share like 5%%, a size like 1G, or unlimited", text)
	}
	return Limit{Bytes: n, Bounded: true}, nil
}

// of is the limit in bytes where so many are stored.
func (l Limit) of(stored int64) int64 {
	switch {
	case !l.Bounded:
		return int64(defaultUnused * float64(stored))
	case l.Share > 0:
		return int64(l.Share * float64(stored))
	}
	return l.Bytes
}

// Sum counts packs and their stored bytes.
type Sum struct {
	Packs int
	Bytes int64
}

func (s *Sum) add(size int64) {
	s.Packs++
	s.Bytes += size
}

// Result is what a prune found and did, or would do if it is a dry run.
type Result struct {
	Snapshots   int
	Unconfirmed int   // of these: their sessions were evicted before they ended
	Blobs       int   // that the snapshots need
	Before      Sum   // packs that are in no trash, when the prune began
	Unused      int64 // about how many stored bytes of these no snapshot needs
	Busy        Sum   // packs of sessions that are under way, which are left alone
	Damaged     Sum   // packs that can't be read, which are left alone

	Repacked Sum   // packs of which something was stored again
	Stored   int64 // bytes that this took
	Trashed  Sum   // packs that were put into the trash
	Left     int64 // about how many stored bytes stay though no snapshot needs them

	Rescued                 int            // blobs that were found in trash only, and were taken from there
	Removed                 Sum            // packs that are gone for good
	Held                    Sum            // packs that could go, but the storage has locked
	HeldUntil               time.Time      // the latest of their locks
	Waiting                 Sum            // packs in trash that wait until sessions are over
	Waits                   []blob.Session // those sessions
	Evicted                 []blob.Session // sessions that this prune ended, since nothing came of them any more
	IndexRemoved, IndexMade int
	Leftovers               int // unfinished uploads of sessions that are over, removed
}
