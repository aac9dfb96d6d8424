package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
)

// rung says what a file's state rests on. The order is that in which they are tried.
type rung uint8

const (
	onLease rung = iota + 1 // a read lease on the user's file
	onClone                 // a clone that the file system made in one step
	onCopy                  // a copy made under a program's own locks
	onLooks                 // two equal looks
)

// File is one capture of one file: read it to the end, then call Finish. One goroutine uses it.
type File struct {
	c      *Capturer
	dirfd  int
	name   string
	pass   Pass
	fd     int // the user's file
	src    int // what Read reads: fd, or a clone or copy of it
	traits traits

	first Stat  // the look before reading
	last  Stat  // the look after it
	size  int64 // bytes to read
	seen  int64 // the size at Open
	most  int64 // the largest size seen
	off   int64 // bytes read
	holes holes // of src

	rung     rung
	lease    *lease          // while it is held
	asked    bool            // for a lease, and not refused it for a writer's sake: never twice on one descriptor
	open     bool            // somebody had it open for writing when a lease was asked for
	looked   bool            // two looks were tried
	cut      bool            // it has just lost bytes, and there is no more waiting for them to be written anew
	armed    bool            // a change after the first look must show in the second
	sum      *blake3.Hasher  // of what was read, if two looks are compared
	copied   snapshot.Method // what a copy rests on
	tries    int
	pause    time.Duration // before the next try
	ended    bool          // the last look was taken
	lastTime time.Time     // of the last look
	stood    bool          // the lease, until the last look
	err      error         // of the last look
}

// Name is the name under which the file was opened.
func (f *File) Name() string { return f.name }

// FD is the descriptor of the user's file, for extended attributes and flags. Read these after Finish: what changes them
// later has a later ctime than the one in the result, so that the next backup sees it.
func (f *File) FD() int { return f.fd }

// Stat is what was known of the file when reading began.
func (f *File) Stat() Stat { return f.first }

// Size is the number of bytes that Read will return in all, if the file does not shrink and no lease is broken.
func (f *File) Size() int64 { return f.size }

// Read reads on. It never reads past the size that the file had when reading began. It ends early when what was read has
// become worth nothing; that is no error, and Finish says what to do.
func (f *File) Read(p []byte) (int, error) {
	if f.ended {
		return 0, io.EOF
	}
	left := f.size - f.off
	if left == 0 || f.lease != nil && !f.c.leases.standing(f.lease) {
		f.end()
		return 0, io.EOF
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.off == 0 {
		f.holes = holesOf(f.traits, &f.first)
	}
	n := int(min(f.holes.zeros(f.src, f.off, f.size), int64(len(p))))
	if n > 0 {
		clear(p[:n])
	} else {
		var err error
		if n, err = pread(f.src, p, f.off); err != nil {
			return 0, fmt.Errorf("read %q at %d: %w", f.name, f.off, err)
		}
	}
	f.off += int64(n)
	if f.sum != nil {
		_, _ = f.sum.Write(p[:n]) // never fails
	}
	if n == 0 || f.off == f.size { // at once: the shorter the time between the looks, the fewer changes fall into it
		f.end()
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// SkipZeros passes over what is left of the hole that is read just now, if it is one, and returns its length.
func (f *File) SkipZeros() int64 {
	if f.ended || f.off == 0 || f.sum != nil || f.lease != nil && !f.c.leases.standing(f.lease) { // Read knows what to do
		return 0
	}
	hole := f.holes.zeros(f.src, f.off, f.size)
	if f.off += hole; f.off == f.size {
		f.end()
	}
	return hole
}

// end takes the last look, and lets go of the file.
func (f *File) end() {
	f.ended = true
	switch f.rung {
	case onLease:
		f.err = fstat(f.fd, &f.last) // before the lease is looked at, so that it is proven too
		f.stood = f.c.leases.drop(f.lease)
		f.lease = nil
	case onLooks:
		f.err = f.look(&f.last)
		f.lastTime = f.c.now()
	default:
		f.closeSource()
	}
}

// Finish says what the bytes that were read are worth. It is called when Read has reported the end.
func (f *File) Finish(ctx context.Context) (Result, error) {
	if !f.ended {
		if f.off < f.size {
			return Result{}, fmt.Errorf("finish %q: %d of %d bytes were read", f.name, f.off, f.size)
		}
		f.end()
	}
	if f.err != nil {
		return Result{}, fmt.Errorf("stat %q: %w", f.name, f.err)
	}
	r := Result{Method: f.method(), Stat: f.first}
	r.Stat.Size = f.off
	if r.Reason = f.doubt(); r.Reason == "" {
		if f.rung == onLease {
			r.Stat = f.last // only metadata can differ
		}
		return r, nil
	}
	if f.pass == First {
		r.Later = true
		return r, nil
	}
	grew := f.sum != nil && f.size > 0 && f.off == f.size && f.last.Size >= f.size && f.last.Size > f.seen
	// What grows once may be a file that is being saved; what has grown again after a pause is a log.
	if (!grew || f.tries == 0) && f.again() {
		r.Again, r.Pause = true, f.pause
		return r, nil
	}
	r.State = snapshot.Torn
	if grew {
		same, err := f.unchanged(ctx)
		if err != nil {
			return Result{}, err
		}
		if same {
			r.State, r.Reason = snapshot.Appended, fmt.Sprintf("grew from %d to %d bytes meanwhile", f.seen, f.last.Size)
		}
	}
	return r, nil
}

// doubt says why what was read may not be one moment's, or nothing if it is.
func (f *File) doubt() string {
	switch {
	case f.rung == onLease && !f.stood:
		return "opened for writing while it was read"
	case f.off < f.size:
		return fmt.Sprintf("shrank to %d of %d bytes while it was read", f.off, f.size)
	case f.rung == onLease && (f.last.Size != f.size || f.last.Mtim != f.first.Mtim):
		return "changed while it was read, without being opened for writing" // O_RDONLY|O_TRUNC can do that
	case f.cut:
		return "was shortened a moment ago, again and again"
	case f.rung == onLooks:
		return f.difference()
	}
	return ""
}

func (f *File) method() snapshot.Method {
	switch {
	case f.rung == onLease:
		return snapshot.MethodLease
	case f.rung == onClone:
		return snapshot.MethodReflink
	case f.rung == onCopy && f.traits.leases: // elsewhere a lock may not be seen by all who write
		return f.copied
	case f.rung == onLooks && f.traits.stable:
		return snapshot.MethodStable
	}
	return snapshot.MethodUnproven
}

// again reports whether the file is to be read once more, and sets the pause before it.
func (f *File) again() bool {
	pause := pauseOf(f.tries)
	switch {
	case f.tries < triesMax && f.c.budget.spend(pause, f.size):
		f.pause = pause
	case f.rung == onLease: // it wasn't read to the end, so once more it must be
		f.pause = 0
	default:
		return false
	}
	f.tries++
	return true
}

// Restart begins anew after a result with Again: it waits for the pause, holds the same file again and goes back to its
// start.
func (f *File) Restart(ctx context.Context) error {
	if err := wait(ctx, f.pause); err != nil {
		return err
	}
	f.pause = 0
	if err := fstat(f.fd, &f.first); err != nil {
		return fmt.Errorf("stat %q: %w", f.name, err)
	}
	f.size, f.off = f.first.Size, 0
	f.ended, f.stood, f.err = false, false, nil
	return f.hold(ctx)
}

// hold takes the best hold of the file that can be had.
func (f *File) hold(ctx context.Context) error {
	for !f.takeLease() {
		if waited, err := f.awaitClose(ctx); err != nil {
			return err
		} else if !waited {
			return f.holdOpen(ctx)
		}
	}
	return nil
}

// holdOpen takes hold of a file that there is no lease on.
func (f *File) holdOpen(ctx context.Context) error {
	if f.traits.clones && (f.looked || !f.worn()) {
		if cloned, err := f.cloneAtRest(ctx); cloned || err != nil {
			return err
		}
	}
	f.looked = true
	f.rung = onLooks
	return f.arm(ctx)
}

// takeLease asks for a lease. It is refused if anybody has the file open for writing, or if the file isn't ours.
func (f *File) takeLease() bool {
	if !f.traits.leases || f.asked {
		return false
	}
	l, err := f.c.leases.take(f.fd)
	f.open = errors.Is(err, unix.EAGAIN)
	f.asked = !f.open
	if err != nil { // whatever it is, the next rung serves
		return false
	}
	f.rung, f.lease = onLease, l
	return true
}

// Between two steps of being saved, such as after it was emptied, a file may be closed, or be cloned, and all the same
// not be what anybody wants to keep. So its last change must be some time ago.
const (
	restMin   = 200 * time.Millisecond
	restEmpty = 10 * time.Second // in the first pass, of an empty file
	restOpen  = time.Second      // for a file that somebody has open for writing
	triesRest = 2                // for a file that goes on changing but has lost nothing, which is taken as it is then
)

// unrest says how long to wait until the file, as st shows it, has rested.
func (f *File) unrest(st *Stat, now time.Time) time.Duration {
	age := now.Sub(ctimeOf(st))
	f.most = max(f.most, st.Size)
	switch {
	case age <= -restMin: // farther in the future than a tick: a clock that was set back
		return 0
	case f.pass == First && st.Size == 0 && age < restEmpty:
		return restEmpty - age
	case f.tries >= triesMax, f.tries >= triesRest && st.Size > 0 && st.Size >= f.most:
		return 0
	}
	return restMin - age
}

// isCut reports whether the file has lost bytes a moment ago. It may be in the middle of being saved.
func (f *File) isCut(st *Stat, now time.Time) bool {
	return st.Size < f.most && now.Sub(ctimeOf(st)).Abs() < restMin
}

// putOff ends the first pass for the file; in the second it waits, and reports whether it could.
func (f *File) putOff(ctx context.Context, wait time.Duration) (bool, error) {
	if f.pass == First {
		return false, fmt.Errorf("open %q: changed a moment ago: %w", f.name, ErrLater)
	}
	f.tries++
	return f.c.pause(ctx, wait)
}

// awaitClose waits for who has the file open and wrote to it a moment ago: a program that is put aside in the middle of saving, on a busy
// machine for longer than restMin, closes the file when it has done, and then there is a lease to be had. It reports whether
// it has waited.
func (f *File) awaitClose(ctx context.Context) (bool, error) {
	age := f.c.now().Sub(ctimeOf(&f.first))
	if !f.open || age >= restOpen || age <= -restMin || f.tries >= triesRest {
		return false, nil
	}
	if waited, err := f.putOff(ctx, restOpen-age); err != nil || !waited {
		return false, err
	}
	if err := fstat(f.fd, &f.first); err != nil {
		return false, fmt.Errorf("stat %q: %w", f.name, err)
	}
	f.size = f.first.Size
	return true, f.rest(ctx)
}

// rest waits until the file has rested.
func (f *File) rest(ctx context.Context) error {
	f.seen = f.first.Size
	for {
		now := f.c.now()
		short := f.unrest(&f.first, now)
		f.cut = f.isCut(&f.first, now)
		if short <= 0 {
			return nil
		}
		if waited, err := f.putOff(ctx, short); err != nil || !waited {
			return err
		}
		if err := fstat(f.fd, &f.first); err != nil {
			return fmt.Errorf("stat %q: %w", f.name, err)
		}
		f.size = f.first.Size
	}
}

// Close lets go of the file. It can be called at any time, also twice.
func (f *File) Close() error {
	if f.lease != nil {
		f.c.leases.drop(f.lease)
		f.lease = nil
	}
	f.closeSource()
	if f.fd >= 0 {
		_ = unix.Close(f.fd) // open for reading: there is nothing that could be lost
		f.fd, f.src, f.ended = -1, -1, true
	}
	return nil
}

// closeSource closes the clone or copy. A clone makes XFS write elsewhere what is written to the original while both exist.
func (f *File) closeSource() {
	if f.src != f.fd {
		_ = unix.Close(f.src)
		f.src = f.fd
	}
}

func pread(fd int, p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(fd, p, off)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
