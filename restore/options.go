package restore

import (
	"errors"
	"runtime"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// Options says what to restore and how. The zero value restores everything into a target that is empty or not there yet.
type Options struct {
	Filter    Filter    // what to restore; nil for everything
	Overwrite Overwrite // what to do with what is in the target
	Compare   Compare   // how OverwriteIfChanged compares files
	Sparse    Sparse
	Owner     Owner
	Xattrs    func(name string) bool // which extended attributes (ACLs are some) to restore; nil for all
	NoFlags   bool                   // leave chattr flags alone
	Delete    bool                   // remove what Filter takes and the snapshot does not have
	Verify    bool                   // read back all files at the end, from the disk where the system allows it, and compare them
	DryRun    bool                   // write nothing, report what would be done
	Sync      bool                   // return only when everything is on stable storage (Linux)
	Workers   int                    // goroutines that write; 0 for GOMAXPROCS

	// Unsaved reports whether a path, as a Filter gets it, could not be read when the snapshot was made. Delete leaves it, and counts it as
	// kept: what is there may be all that there is of it. Nil for no path. It is called by several goroutines.
	Unsaved func(path string) bool

	// Sum computes a data blob's ID. With it, files in the target are compared by hash and blobs that are there already
	// are not read from the repository; without it they are loaded and compared byte for byte.
	Sum func(plain []byte) blob.ID

	// Announce, if it is not nil, is told which data blobs will be loaded next, in order, so that they can be fetched meanwhile. It must not
	// wait. The function that it returns is called when they are not needed any more.
	Announce func(ids []blob.ID) (done func())
}

// Filter decides what is restored. What it does not take stays as it is in the target: if that is in the way of an entry of another type, which is to
// be restored, that one fails.
type Filter interface {
	// Match is asked for each path, slash-separated below the restored root, and for "." which is the root itself; with
	// Options.Delete also for what is in the target only, and for what is there in the place of an entry of another type. It is not asked for what is below a folder that it skipped. It is
	// called by several goroutines.
	Match(path string, t snapshot.Type) Decision
}

// Decision is what a Filter says of a path.
type Decision uint8

// The decisions.
const (
	Take Decision = iota // restore it; what is below a folder is asked for in turn
	Skip                 // leave it out, and all below it
	Pass                 // of a folder: not wanted itself, but something below it may be; it is made if something is
)

// Overwrite says what to do with entries that the target has already.
type Overwrite uint8

// The ways to overwrite. Folders are never replaced by folders: their entries are merged.
const (
	OverwriteRefuse    Overwrite = iota // the target must be empty (a lost+found folder does not count)
	OverwriteNever                      // keep what is there, metadata too
	OverwriteIfChanged                  // replace what differs, see Compare; set metadata that differs
	OverwriteAlways                     // replace everything
)

// Compare says when two files are held to be equal.
type Compare uint8

// The ways to compare.
const (
	CompareTimes   Compare = iota // same size and modification time
	CompareContent                // same content, whatever the times
)

// Sparse says where holes are made.
type Sparse uint8

// The ways to make holes.
const (
	SparseAuto   Sparse = iota // in files that had holes, wherever a block is zero
	SparseAlways               // in all files, wherever a block is zero
	SparseNever                // nowhere
)

// Owner says how owners are restored.
type Owner uint8

// The ways to restore owners.
const (
	OwnerNumeric Owner = iota // by number
	OwnerByName               // by name where this system knows it, else by number
	OwnerNever                // new entries belong to the caller; this is not counted as lost
)

func (o *Options) check() error {
	if o.Workers < 0 {
		return errors.New("restore: negative number of workers")
	}
	if o.Delete && o.Overwrite == OverwriteRefuse {
		return errors.New("restore: delete needs an overwrite mode: a target that must be empty has nothing to delete")
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return nil
}

func (o *Options) match(path string, t snapshot.Type) Decision {
	if o.Filter == nil {
		return Take
	}
	d := o.Filter.Match(path, t)
	if d == Pass && t != snapshot.Dir {
		return Skip
	}
	return d
}

// holes reports whether zero blocks of n become holes.
func (o *Options) holes(n *snapshot.Node) bool {
	return o.Sparse == SparseAlways || o.Sparse == SparseAuto && n.Sparse
}
