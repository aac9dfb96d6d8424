package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
)

const (
	walSuffix     = "-wal"
	journalSuffix = "-journal"

	setTries      = 24
	setTriesFree  = 5 // without keeping writers out
	pauseMax      = 16 * time.Millisecond
	lockedSizeMax = 64 << 20 // of a database in rollback mode that is copied while writers are kept out
	headSize      = 100
	versionAt     = 18 // in the head: file format versions for writing and reading, 2 for a write-ahead log
	companionHead = 32 // of a -wal, and more than that of a -journal: salts that change whenever it begins anew
)

// Set is a SQLite database and what belongs to it, captured as one. Read its files in order, each to the end, then call
// Finish.
type Set struct {
	files []*File
	torn  string // why it is
}

// unit is a set being captured.
type unit struct {
	c     *Capturer
	dirfd int
	name  string
	pass  Pass
	db    *File
}

// OpenSet captures the database name of the folder dirfd with its -wal or -journal. What is not among the files of the
// set, such as the -shm and a journal that holds nothing, must not be in the backup: SQLite makes it anew. ErrNotSQLite
// is wrapped if the file does not begin as a database does.
func (c *Capturer) OpenSet(ctx context.Context, dirfd int, name string, pass Pass) (*Set, error) {
	db, err := c.open(ctx, dirfd, name, pass)
	if err != nil {
		return nil, err
	}
	u := &unit{c: c, dirfd: dirfd, name: name, pass: pass, db: db}
	set, err := u.open(ctx)
	if set == nil {
		db.Close()
	}
	return set, err
}

// open returns the first set that can be proven; the torn one can always be had in the second pass.
func (u *unit) open(ctx context.Context) (*Set, error) {
	if _, err := u.head(); err != nil {
		return nil, err
	}
	set, err := u.leased(ctx)
	if set != nil || err != nil {
		return set, err
	}
	set, why, err := u.repeat(ctx)
	if set != nil || err != nil {
		return set, err
	}
	if u.pass == First {
		return nil, fmt.Errorf("open database %q: %s: %w", u.name, why, ErrLater)
	}
	return u.unproven(ctx, why)
}

// Files are the database, and its -wal or -journal if it has one.
func (s *Set) Files() []*File { return s.files }

// Finish says what the set is worth. The Stat of the result is the database's; after Finish the Stat of each file is to be
// recorded for it. There is never a result with Again.
func (s *Set) Finish(ctx context.Context) (Result, error) {
	var worst Result
	for i, f := range s.files {
		r, err := f.Finish(ctx)
		if err != nil {
			return Result{}, err
		}
		f.first = r.Stat
		if i == 0 || worst.Reason == "" && r.Reason != "" {
			r.Stat = s.files[0].first
			worst = r
		}
	}
	if s.torn != "" {
		worst = Result{State: snapshot.Torn, Method: worst.Method, Stat: worst.Stat, Reason: s.torn}
	}
	return worst, nil
}

// Close lets go of all files.
func (s *Set) Close() error {
	for _, f := range s.files {
		f.Close()
	}
	return nil
}

// leased takes leases on all files: if they are granted, nobody has the database open, except perhaps for reading only.
// All leases are taken before anything is read, and each file is as it was at that moment for as long as its own stands.
func (u *unit) leased(ctx context.Context) (*Set, error) {
	set := &Set{files: []*File{u.db}}
	granted := u.db.takeLease()
	for _, suffix := range []string{walSuffix, journalSuffix} { // looked for under the lease: nobody makes one now
		if !granted {
			break
		}
		f, err := u.companion(ctx, suffix)
		if err != nil {
			set.letGo()
			return nil, err
		}
		if f != nil {
			set.files = append(set.files, f)
			granted = f.takeLease()
		}
	}
	if !granted {
		set.letGo()
		return nil, nil
	}
	if u.pass == First {
		return set, nil
	}
	for _, f := range set.files { // there is no third pass: copy it now, and try the locks if that fails
		if whole, err := f.keep(ctx); !whole || err != nil {
			set.letGo()
			return nil, err
		}
	}
	return set, nil
}

// letGo closes all files but the database, and ends its lease.
func (s *Set) letGo() {
	for _, f := range s.files[1:] {
		f.Close()
	}
	db := s.files[0]
	if db.lease != nil {
		db.c.leases.drop(db.lease)
		db.lease = nil
	}
	db.closeSource()
}

// keep copies a leased file, so that the lease does not have to stand any longer. It reports whether the copy is whole.
func (f *File) keep(ctx context.Context) (bool, error) {
	tmp, err := f.c.tempFile()
	if err != nil {
		return false, nil
	}
	buf := make([]byte, blockSize)
	for err == nil && ctx.Err() == nil {
		var n int
		if n, err = f.Read(buf); err == nil {
			err = write(tmp, buf[:n])
		}
	}
	if err != io.EOF || f.err != nil || f.doubt() != "" {
		_ = unix.Close(tmp)
		return false, ctx.Err()
	}
	f.becomeCopy(tmp, f.off)
	f.copied = snapshot.MethodLease
	return true, nil
}

// repeat tries to capture the set until it succeeds, some times. A string says why it didn't.
func (u *unit) repeat(ctx context.Context) (set *Set, why string, err error) {
	for try := range setTries {
		if try > 0 {
			waited, err := u.c.pause(ctx, min(time.Millisecond<<try, pauseMax))
			if err != nil {
				return nil, "", err
			}
			if !waited {
				break
			}
		}
		if set, why, err = u.locked(ctx, try); set != nil || err != nil {
			return set, why, err
		}
		if why != whyLocked || !u.db.traits.clones {
			continue
		}
		if set, why, err = u.cloned(ctx); set != nil || err != nil {
			return set, why, err
		}
	}
	return nil, why, nil
}

// unproven is the set when nothing else could be had.
func (u *unit) unproven(ctx context.Context, why string) (*Set, error) {
	set := &Set{files: []*File{u.db}, torn: why}
	for _, suffix := range []string{walSuffix, journalSuffix} {
		f, err := u.companion(ctx, suffix)
		if err != nil {
			set.letGo()
			return nil, err
		}
		if f != nil {
			set.files = append(set.files, f)
		}
	}
	for _, f := range set.files {
		f.rung, f.off, f.ended, f.armed, f.sum, f.tries = onLooks, 0, false, false, nil, triesMax
		if err := fstat(f.fd, &f.first); err != nil {
			set.letGo()
			return nil, fmt.Errorf("stat %q: %w", f.name, err)
		}
		f.size = f.first.Size
	}
	return set, nil
}

// companion opens a file that goes with the database, or returns nil if there is none.
func (u *unit) companion(ctx context.Context, suffix string) (*File, error) {
	f, err := u.c.open(ctx, u.dirfd, u.name+suffix, u.pass)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENAMETOOLONG) {
		return nil, nil
	}
	if errors.Is(err, ErrNotRegular) { // then neither is it SQLite's
		return nil, fmt.Errorf("open database %q: %w: %w", u.name, ErrNotSQLite, err)
	}
	return f, err
}

// head reads the first bytes of the database.
func (u *unit) head() ([headSize]byte, error) {
	var head [headSize]byte
	n, err := pread(u.db.fd, head[:], 0)
	if err != nil {
		return head, fmt.Errorf("read %q: %w", u.name, err)
	}
	if n < headSize || !IsSQLite(head[:]) {
		return head, fmt.Errorf("open database %q: %w", u.name, ErrNotSQLite)
	}
	return head, nil
}

func isWAL(head [headSize]byte) bool { return head[versionAt] == 2 || head[versionAt+1] == 2 }
