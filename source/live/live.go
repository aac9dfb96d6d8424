package live

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tarn-backup/tarn/snapshot"
)

// Pass says how often a file is being looked at.
type Pass uint8

// The passes of a backup. First never waits: what is busy is put off with [ErrLater]. Second comes after others,
// waits and reads again within the budgets of [Options], and always ends with a result.
const (
	First  Pass = 1
	Second Pass = 2
)

// Errors of Open and OpenSet.
var (
	// ErrLater is wrapped in the first pass when a file should be taken up again in the second.
	ErrLater = errors.New("in use, to be taken up later")
	// ErrNotRegular is wrapped when the name is no regular file (any more): a folder, symlink, FIFO, socket or device.
	ErrNotRegular = errors.New("not a regular file")
	// ErrNotSQLite is wrapped by OpenSet when the file is no SQLite database that can be taken with its companions. It is
	// to be taken as a file.
	ErrNotSQLite = errors.New("not a SQLite database")
)

// Options bounds what a Capturer may spend on files in use. The zero value is right for a backup.
type Options struct {
	Settle time.Duration    // of pauses in all; 0 is 30 s, less than 0 is none
	Reread int64            // bytes read again in all; 0 is 8 GiB, less than 0 is none
	Temp   string           // folder for copies made under SQLite's locks; empty is the system's
	Clones []string         // folders in which clones may be made if the file's own can't be written, such as the user's cache
	Now    func() time.Time // the clock that file times are compared with; nil is time.Now
}

// Result is what became of one capture.
type Result struct {
	State  snapshot.State  // Whole, Appended or Torn, if neither Again nor Later is set
	Method snapshot.Method // what State rests on
	Stat   Stat            // to be recorded; its size is the number of bytes that Read returned and that are to be kept
	Again  bool            // what was read is worth nothing: call Restart, which waits for Pause, and read from the start
	Pause  time.Duration
	Later  bool   // what was read is worth nothing: close the file and take it up in the second pass
	Reason string // why the state is not Whole, or why Again or Later is set; for people
}

const (
	settleDefault = 30 * time.Second
	rereadDefault = 8 << 30
	triesMax      = 5 // of one file
)

// budget is what all files together may still spend.
type budget struct {
	mu    sync.Mutex
	pause time.Duration
	bytes int64
}

func newBudget(o Options) *budget {
	b := &budget{pause: o.Settle, bytes: o.Reread}
	if b.pause == 0 {
		b.pause = settleDefault
	}
	if b.bytes == 0 {
		b.bytes = rereadDefault
	}
	return b
}

// spend takes a pause and a number of bytes to be read again, or neither if either is too much.
func (b *budget) spend(pause time.Duration, bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if pause > b.pause || bytes > b.bytes {
		return false
	}
	b.pause -= pause
	b.bytes -= bytes
	return true
}

// wait sleeps, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pauseOf is the pause after the n-th try, counted from 0: 50 ms, 100 ms, 200 ms and so on.
func pauseOf(n int) time.Duration { return 50 * time.Millisecond << n }
