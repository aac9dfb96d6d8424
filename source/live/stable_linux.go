package live

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

const (
	// A ctime must be this much older than the first look, or a change right after that look could leave it as it is.
	clearFine   = 50 * time.Millisecond
	clearCoarse = 2 * time.Second // where a ctime has no nanoseconds: ext3, and ext4 with inodes of 128 bytes
	blockSize   = 256 << 10       // of comparing and copying
)

// look takes a stat that no cache of a network file system answers.
func (f *File) look(st *Stat) error {
	var sync unix.Statx_t
	_ = retry(func() error { // a kernel or a sandbox without statx has no way to ask for more than fstat does
		return unix.Statx(f.fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &sync)
	})
	return fstat(f.fd, st)
}

// arm takes the first look in such a way that any later change must show in the second.
func (f *File) arm(ctx context.Context) error {
	f.armed, f.sum = false, blake3.New()
	for {
		if err := f.look(&f.first); err != nil {
			return fmt.Errorf("stat %q: %w", f.name, err)
		}
		now := f.c.now()
		f.size, f.cut = f.first.Size, f.isCut(&f.first, now)
		short := max(tooClose(&f.first, now), f.unrest(&f.first, now))
		if short <= 0 {
			break
		}
		if f.pass == Second && f.tries >= triesMax {
			return nil // to be read all the same, and called torn unless it only grew
		}
		if waited, err := f.putOff(ctx, short); err != nil || !waited {
			return err
		}
	}
	// A write sets the ctime when it begins. Looking for data waits for one that began before the look and is still going
	// on.
	if _, err := unix.Seek(f.fd, 0, unix.SEEK_DATA); err != nil && err != unix.ENXIO && f.traits.stable {
		return nil
	}
	// Stores to a mapping set the ctime when they make a page dirty, not after that. Writing all pages back makes them
	// clean.
	if err := retry(func() error { return syncPages(f.fd) }); err != nil && f.traits.stable {
		return nil
	}
	f.armed = true
	return nil
}

func syncPages(fd int) error {
	return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE_AND_WAIT)
}

// tooClose says for how long a change could still leave the ctime as it is, at most. A ctime in the future is as good as
// one in the past if it is as far away.
func tooClose(st *Stat, now time.Time) time.Duration {
	need := clearFine
	if st.Ctim.Nsec == 0 {
		need = clearCoarse
	}
	age := now.Sub(ctimeOf(st))
	if age <= -need {
		return 0
	}
	return need - age
}

// difference says what changed between the two looks.
func (f *File) difference() string {
	a, b := &f.first, &f.last
	switch {
	case !f.armed:
		return "was never left alone for long enough to be read"
	case a.Size != b.Size:
		return fmt.Sprintf("changed from %d to %d bytes while it was read", a.Size, b.Size)
	case a.Mtim != b.Mtim || a.Ctim != b.Ctim || a.Ino != b.Ino || a.Dev != b.Dev:
		return "written while it was read"
	case tooClose(b, f.lastTime) > 0: // the clock has caught up with a ctime in the future
		return "has a time of change in the future"
	}
	return ""
}

// unchanged reads again what was read, and reports whether it is the same. If so, every byte was as it was read at the
// moment between the end of the first reading and the start of the second, unless some went through other values and
// back.
func (f *File) unchanged(ctx context.Context) (bool, error) {
	again := blake3.New()
	buf := make([]byte, blockSize)
	for off := int64(0); off < f.off; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := pread(f.fd, buf[:min(int64(len(buf)), f.off-off)], off)
		if err != nil {
			return false, fmt.Errorf("read %q at %d: %w", f.name, off, err)
		}
		if n == 0 {
			return false, nil
		}
		_, _ = again.Write(buf[:n])
		off += int64(n)
	}
	return bytes.Equal(f.sum.Sum(nil), again.Sum(nil)), nil
}
