package check

import (
	"context"
	"fmt"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// Repository is what a check needs of an open repository. A *repo.Repo is one.
type Repository interface {
	// Storage is where the repository is kept.
	Storage() storage.Storage
	// SealKeys are the keys that it is sealed with.
	SealKeys() *seal.Keys
	// TakeView reads which packs there are and what they hold.
	TakeView(ctx context.Context) (*repo.View, error)
	// Segment returns the plaintext of one segment of a pack.
	Segment(ctx context.Context, info *index.PackInfo, number uint16) ([]byte, error)
	// OpenObject proves an object that is no pack, given its name in storage, and returns its body and its directory.
	OpenObject(name string, data []byte) (body, directory []byte, err error)
}

// Options says what to check. The zero value checks the structure of everything.
type Options struct {
	ReadData  bool        // read and prove every byte of the packs
	Fraction  float64     // with ReadData: the share of the packs to read, more than 0 and at most 1; 0 is all
	Turn      uint64      // which share: 1/Fraction runs with following turns read every pack
	Snapshots []blob.Name // only these, and with ReadData only the packs that they need; all if empty
	Workers   int         // goroutines that read; 0 for one per processor
	// Pick, if not nil, chooses with ReadData which packs to read, of all that there are and their sizes.
	Pick func(packs map[blob.Name]int64) map[blob.Name]bool
	// Proven, if not nil, is told of each pack all of whose bytes were found right. Calls don't overlap.
	Proven func(pack blob.Name)
	// Progress, if not nil, is told how many bytes of packs were read, and how many there are to read. Calls don't overlap.
	Progress func(done, total int64)
}

// Severity says how bad a finding is.
type Severity uint8

// The severities.
const (
	Warning Severity = 1 // nothing is lost, but somebody should know
	Error   Severity = 2 // stored bytes are damaged or missing
)

func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity %d", uint8(s))
}

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity
	Object   string   // its name in storage; empty if the finding is about no single object
	Problem  string   // what is wrong
	Effect   string   // what this means for the backups
	Paths    []string // of a snapshot: the first of those that can't be restored as they were, raw
	More     int      // how many such paths there are besides; it stops at a thousand
}

func (f Finding) String() string {
	s := f.Severity.String()
	for _, part := range []string{f.Object, f.Problem} {
		if part != "" {
			s += ": " + part
		}
	}
	if f.Effect != "" {
		s += "; " + f.Effect
	}
	for i, p := range f.Paths {
		if i == 0 {
			s += ":"
		}
		s += fmt.Sprintf(" %q", p)
	}
	if f.More > 0 {
		s += fmt.Sprintf(" and %d more", f.More)
	}
	return s
}

// Summary counts what a check looked at and what it found.
type Summary struct {
	Snapshots int // whose records were read
	Trees     int // distinct pieces of trees and of lists
	Blobs     int // distinct blobs that the snapshots refer to
	Packs     int // whose directories were read
	PacksRead int // that were read whole
	BytesRead int64
	Objects   int // that are no packs
	Appended  int // files that are stored up to where they ended at first; like the next two in distinct folders
	Torn      int // files that changed while they were saved
	Carried   int // files that could not be saved, and stand as an older snapshot had them
	Clusters  int // distinct database clusters that were saved file by file while their servers ran
	TornIn    int // snapshots that have torn files or clusters, as their records say
	Errors    int
	Warnings  int
}

// checker is one run of a check.
type checker struct {
	repo    Repository
	store   storage.Storage
	keys    *seal.Keys
	options Options
	workers int
	decoder sync.Pool // of *decoder

	listed *listing
	view   *repo.View
	walked *walker // the first walk: what the snapshots refer to
	lost   lost
	blind  bool // trash can't be read

	picked map[blob.Name]bool // by the caller; nil if he does not care

	mu       sync.Mutex // guards what follows, and the calls of report, Proven and Progress
	report   func(Finding)
	summary  Summary
	read     map[blob.Name]bool // packs that were read whole, or are about to be
	doubtful map[blob.Name]bool // packs that are to be read whole in any case
	trouble  bool               // a second look is needed
	total    int64              // bytes of packs to read
}

// Run checks a repository and reports what it finds, one finding at a time. An error means that the check could not be carried
// out; what is wrong with the repository is told by findings alone.
func Run(ctx context.Context, r Repository, o Options, report func(Finding)) (Summary, error) {
	if o.Fraction < 0 || o.Fraction > 1 {
		return Summary{}, fmt.Errorf("check: read %v of the packs: want a share between 0 and 1", o.Fraction)
	}
	c := &checker{repo: r, store: r.Storage(), keys: r.SealKeys(), options: o, workers: o.Workers, report: report,
		read: map[blob.Name]bool{}, doubtful: map[blob.Name]bool{}}
	if c.workers <= 0 {
		c.workers = repo.Workers()
	}
	c.decoder.New = func() any { return &decoder{dec: pack.NewDecompressor(1)} }
	err := c.run(ctx)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("check: %w", err)
	}
	return c.summary, err
}

// run goes through the steps. The list of what there is comes before the view: so the view has all that the snapshots need.
func (c *checker) run(ctx context.Context) error {
	var err error
	if c.listed, err = list(ctx, c.store); err != nil {
		return err
	}
	c.reportForeign()
	snapshots, err := c.snapshots(ctx)
	if err != nil {
		return err
	}
	if c.view, err = c.takeView(ctx); err != nil {
		return err
	}
	c.walk(ctx, snapshots)
	c.compareKinds()
	if err := c.packs(ctx); err != nil {
		return err
	}
	if err := c.objects(ctx); err != nil {
		return err
	}
	if c.trouble {
		return c.lookAgain(ctx, snapshots)
	}
	return nil
}

// takeView takes the repository's view. Damaged trash keeps nobody from finding out what else is wrong: the packs that it names count.
func (c *checker) takeView(ctx context.Context) (*repo.View, error) {
	v, err := c.repo.TakeView(ctx)
	if err != nil || v.Blind == nil || c.blind {
		return v, err
	}
	c.blind = true
	c.found(Finding{Severity: Error, Problem: v.Blind.Error(),
		Effect: "nobody can back up or prune before the damaged object is removed, which is safe while no prune runs; no snapshot is affected"})
	return v, nil
}

// found counts and reports a finding.
func (c *checker) found(f Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Severity == Error {
		c.summary.Errors++
	} else {
		c.summary.Warnings++
	}
	c.report(f)
}

// look asks for a second look at the snapshots.
func (c *checker) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = true
}
