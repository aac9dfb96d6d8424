package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
)

// Bytes that SQLite locks. They lie in a page of the database that it never uses, and past what it maps of the -shm.
const (
	pendingByte  = 0x40000000
	reservedByte = pendingByte + 1
	sharedByte   = pendingByte + 2
	sharedBytes  = 510
	allBytes     = sharedBytes + 2
	readMarkByte = 124 // of the -shm: the first of four
	readMarks    = 4
)

const whyLocked = "its lock could not be had"

// locked captures the set under SQLite's own locks, as one of its readers would.
func (u *unit) locked(ctx context.Context, try int) (*Set, string, error) {
	if ok, err := u.share(ctx); !ok {
		return nil, whyLocked, err
	}
	defer unlock(u.db.fd, pendingByte, allBytes)
	head, err := u.head()
	if err != nil {
		return nil, "", err
	}
	if isWAL(head) {
		return u.withLog(ctx)
	}
	return u.withJournal(ctx, try)
}

// withLog copies a database in WAL mode, then its log, under a shared lock. Checkpoints may go on meanwhile: they write
// into the database only what the log holds, and the log begins anew only with another header. So the log that is copied
// after the database makes good whatever was torn. A lock on a read mark keeps the log from beginning anew.
func (u *unit) withLog(ctx context.Context) (*Set, string, error) {
	shm, err := unix.Openat(u.dirfd, u.name+"-shm", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		defer unix.Close(shm) // and with it the lock
		for i := int64(0); i < readMarks && !lock(shm, unix.F_RDLCK, readMarkByte+i, 1); i++ {
		}
	}
	log, err := u.companion(ctx, walSuffix)
	if err != nil {
		return nil, "", err
	}
	set := &Set{files: []*File{u.db}}
	before, err := u.lookAt(log)
	if log != nil {
		set.files = append(set.files, log)
	}
	for _, f := range set.files {
		if err == nil {
			err = f.spool(ctx)
		}
	}
	after, afterErr := u.lookAt(log)
	if err = errors.Join(err, afterErr); err != nil {
		set.letGo()
		why, err := noRoom(err)
		return nil, why, err
	}
	if after.head != before.head || !u.stillThere(log, walSuffix) {
		set.letGo()
		return nil, "its log began anew each time", nil
	}
	return set, "", nil
}

// withJournal copies a database in rollback mode, without a lock at first: if nothing changed between two moments at
// which nobody was writing, nobody wrote in between. After some tries it keeps writers out, if that is for a short time
// only.
func (u *unit) withJournal(ctx context.Context, try int) (*Set, string, error) {
	const why = "written again and again"
	before, journal, err := u.quiet(ctx)
	if err != nil {
		return nil, "", err
	}
	set := &Set{files: []*File{u.db}}
	if journal != nil {
		set.files = append(set.files, journal)
	}
	keepOut := try >= setTriesFree && before.db.stat.Size <= lockedSizeMax
	if !keepOut {
		unlock(u.db.fd, pendingByte, allBytes)
		if !u.settled(before) {
			set.letGo()
			return nil, why, nil
		}
	}
	for _, f := range set.files {
		if err == nil {
			err = f.spool(ctx)
		}
	}
	if err != nil {
		set.letGo()
		why, err := noRoom(err)
		return nil, why, err
	}
	if keepOut {
		return set, "", nil
	}
	if ok, err := u.share(ctx); !ok {
		set.letGo()
		return nil, whyLocked, err
	}
	after, again, err := u.quiet(ctx)
	if again != nil {
		again.Close()
	}
	if err != nil || !after.same(before) {
		set.letGo()
		return nil, why, err
	}
	return set, "", nil
}

// cloned captures a database whose lock another program keeps (locking_mode=EXCLUSIVE, or a long transaction): clone it,
// then what goes with it. A log whose header is the same before and after makes good what was torn, as in withLog. A
// journal that is wholly the same holds all that its transaction overwrote until then, or nothing, if none was under way.
func (u *unit) cloned(ctx context.Context) (*Set, string, error) {
	const why = "another program keeps it locked and writes"
	head, err := u.head()
	if err != nil {
		return nil, "", err
	}
	suffix := journalSuffix
	if isWAL(head) {
		suffix = walSuffix
	}
	other, err := u.companion(ctx, suffix)
	if err != nil {
		return nil, "", err
	}
	if other == nil && suffix == journalSuffix {
		return nil, "another program keeps it locked, and there is no journal", nil // which it may keep in memory
	}
	set := &Set{files: []*File{u.db}}
	if other != nil {
		set.files = append(set.files, other)
	}
	for _, f := range set.files { // or there will be more to be written back between the looks
		_ = retry(func() error { return syncPages(f.fd) })
	}
	before, err := u.lookAtBoth(other)
	ok := err == nil && (suffix == walSuffix || u.settled(before))
	for _, f := range set.files {
		ok = ok && f.clone()
		f.rung, f.off, f.ended = onClone, 0, false
	}
	after, afterErr := u.lookAtBoth(other)
	if suffix == walSuffix {
		ok = ok && after.other.head == before.other.head
	} else {
		hot := before.other.head[0] != 0
		ok = ok && after.other.same(before.other) && (hot || after.db.same(before.db))
	}
	if err = errors.Join(err, afterErr); err != nil || !ok || !u.stillThere(other, suffix) {
		set.letGo()
		return nil, why, err
	}
	return set, "", nil
}

// sight is a file as it was at a look.
type sight struct {
	stat Stat
	head [headSize]byte
}

// sights is a database and its journal or log as they were at a look. A file that isn't there is all zero.
type sights struct{ db, other sight }

func (s sight) same(t sight) bool {
	a, b := &s.stat, &t.stat
	return s.head == t.head && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

func (s sights) same(t sights) bool { return s.db.same(t.db) && s.other.same(t.other) }

// settled reports whether a change from now on must give another ctime. Since Linux 6.13 the ctime is as fine as that;
// before, it is the time of the last tick of the clock.
func (u *unit) settled(s sights) bool {
	need := 20 * time.Millisecond
	switch {
	case s.db.stat.Ctim.Nsec == 0:
		need = clearCoarse
	case u.db.traits.fineTimes && hasFineTimes():
		return true
	}
	now := u.c.now()
	return now.Sub(ctimeOf(&s.db.stat)) >= need && now.Sub(ctimeOf(&s.other.stat)) >= need
}

// hasFineTimes reports whether the kernel keeps multigrain timestamps where the file system supports them.
func hasFineTimes() bool {
	var name unix.Utsname
	var major, minor int
	if err := unix.Uname(&name); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 13
}

func (u *unit) lookAtBoth(other *File) (s sights, err error) {
	if s.db, err = u.lookAt(u.db); err == nil {
		s.other, err = u.lookAt(other)
	}
	return s, err
}

// lookAt looks at a file, or at none.
func (u *unit) lookAt(f *File) (s sight, err error) {
	if f == nil {
		return s, nil
	}
	size := companionHead
	if f == u.db {
		size = headSize
	}
	if err := fstat(f.fd, &s.stat); err != nil {
		return s, fmt.Errorf("stat %q: %w", f.name, err)
	}
	if _, err := pread(f.fd, s.head[:size], 0); err != nil {
		return s, fmt.Errorf("read %q: %w", f.name, err)
	}
	return s, nil
}

// quiet looks at a database in rollback mode while a shared lock is held: nobody is writing into it. It returns the
// journal if it is hot: its writer is gone and has left it for the next reader to roll back. That of a writer who is at
// work isn't needed, since the database has not been written to yet.
func (u *unit) quiet(ctx context.Context) (s sights, journal *File, err error) {
	journal, err = u.companion(ctx, journalSuffix)
	if err != nil {
		return s, nil, err
	}
	if s, err = u.lookAtBoth(journal); err == nil && journal != nil && s.other.head[0] != 0 && !taken(u.db.fd, reservedByte) {
		return s, journal, nil
	}
	if journal != nil {
		journal.Close()
	}
	s.other = sight{}
	return s, nil, err
}

// stillThere reports whether the name leads to the same file as before, or to none if f is nil.
func (u *unit) stillThere(f *File, suffix string) bool {
	var st Stat
	err := retry(func() error { return unix.Fstatat(u.dirfd, u.name+suffix, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if f == nil {
		return err != nil
	}
	return err == nil && st.Ino == f.first.Ino
}

// spool makes Read read a copy of the file, so that locks need not be held for as long as it is read.
func (f *File) spool(ctx context.Context) error {
	if f.traits.clones && !f.worn() && f.clone() {
		f.becomeCopy(f.src, f.size)
		return nil
	}
	if err := fstat(f.fd, &f.first); err != nil {
		return fmt.Errorf("stat %q: %w", f.name, err)
	}
	if f.copied != 0 && !f.c.budget.spend(0, f.first.Size) {
		return fmt.Errorf("copy %q again: %w", f.name, errSpent)
	}
	f.copied = snapshot.MethodLocked
	tmp, err := f.c.tempFile()
	if err != nil {
		return fmt.Errorf("copy %q: %w", f.name, err)
	}
	size := int64(0)
	buf := make([]byte, blockSize)
	for size < f.first.Size && err == nil {
		var n int
		if n, err = pread(f.fd, buf[:min(blockSize, f.first.Size-size)], size); n == 0 {
			break
		}
		size += int64(n)
		if err == nil {
			err = write(tmp, buf[:n])
		}
		if err == nil {
			err = ctx.Err()
		}
	}
	if err != nil {
		_ = unix.Close(tmp)
		return fmt.Errorf("copy %q: %w", f.name, err)
	}
	f.becomeCopy(tmp, size)
	return nil
}

func (f *File) becomeCopy(fd int, size int64) {
	f.rung, f.src, f.size, f.first.Size = onCopy, fd, size, size
	f.off, f.ended, f.sum, f.copied = 0, false, nil, snapshot.MethodLocked
}

// errSpent is wrapped when the budget allows no more copies.
var errSpent = errors.New("too much was read again")

// noRoom splits off the errors that come from where the copy goes, and not from the user's file.
func noRoom(err error) (why string, other error) {
	for _, known := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, errSpent} {
		if errors.Is(err, known) {
			return "could not be copied: " + known.Error(), nil
		}
	}
	return "", err
}

// share waits a little for the lock of a reader. Asking often finds the short gaps between the transactions of a busy
// writer.
func (u *unit) share(ctx context.Context) (bool, error) {
	const (
		asks  = 40
		pause = 500 * time.Microsecond
	)
	for range asks {
		if share(u.db.fd) {
			return true, nil
		}
		if waited, err := u.c.pause(ctx, pause); err != nil || !waited {
			return false, err
		}
	}
	return false, nil
}

// share takes the lock of a reader, in the way SQLite does: no writer can be starved, since one who waits holds the
// pending byte.
func share(fd int) bool {
	if !lock(fd, unix.F_RDLCK, pendingByte, 1) {
		return false
	}
	shared := lock(fd, unix.F_RDLCK, sharedByte, sharedBytes)
	unlock(fd, pendingByte, 1)
	return shared
}

// lock sets a lock that belongs to the open file, not to the process: it meets those of SQLite in all processes, and
// closing another descriptor of the same file doesn't end it.
func lock(fd int, kind int16, start, length int64) bool {
	l := unix.Flock_t{Type: kind, Start: start, Len: length}
	return retry(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l) }) == nil
}

func unlock(fd int, start, length int64) { lock(fd, unix.F_UNLCK, start, length) }

// taken reports whether anybody has locked a byte for writing.
func taken(fd int, start int64) bool {
	l := unix.Flock_t{Type: unix.F_RDLCK, Start: start, Len: 1}
	err := retry(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l) })
	return err != nil || l.Type != unix.F_UNLCK
}

func write(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err != nil && err != unix.EINTR {
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}
