package live

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// leasesMax bounds how long a look at all of them takes, which a waiting program feels: a microsecond for three.
const leasesMax = 128

var errNoLease = errors.New("no lease is given out now")

// lease is one read lease. It ends once, by the reader's drop or by the keeper.
type lease struct {
	fd    int
	place int // in keeper.held, -1 once it has ended
}

// keeper holds the leases of all readers, and lets go of those that somebody waits for. It does so in a goroutine of its
// own, since a reader may be held up for long between two reads by what it does with the bytes.
type keeper struct {
	pid    int
	broken chan os.Signal // capacity 1: one that waits to be read stands for all that come after it
	stop   chan os.Signal
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu   sync.Mutex
	held []*lease
	shut bool // give out no more: closed, or about to be stopped from the keyboard
}

func newKeeper() *keeper {
	k := &keeper{
		pid:    os.Getpid(),
		broken: make(chan os.Signal, 1),
		stop:   make(chan os.Signal, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	// SIGIO is what the kernel sends unless told otherwise (F_SETSIG). A real-time signal would be queued for each lease
	// and say which it is about; but Go doesn't pass that on, the queue can be full, and asking for it costs a system
	// call per file.
	signal.Notify(k.broken, unix.SIGIO)
	if !signal.Ignored(unix.SIGTSTP) {
		signal.Notify(k.stop, unix.SIGTSTP)
	}
	go k.watch()
	return k
}

// close lets go of all leases and waits for the goroutine.
func (k *keeper) close() {
	k.once.Do(func() {
		close(k.quit)
		<-k.done
		signal.Stop(k.broken) // a late signal is ignored by the runtime
		signal.Stop(k.stop)
		k.letGoOfAll()
	})
}

// take asks for a lease on fd. It must be called once only for a descriptor.
func (k *keeper) take(fd int) (*lease, error) {
	// The owner must be set before the lease: taking it makes the calling thread the owner if there is none, and the
	// signal would be lost with that thread.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETOWN, k.pid); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shut || len(k.held) >= leasesMax {
		return nil, errNoLease
	}
	// Under the lock, so that a break right after it finds the lease among those held.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return nil, err
	}
	l := &lease{fd: fd, place: len(k.held)}
	k.held = append(k.held, l)
	return l, nil
}

// drop ends a lease, and reports whether it stood until now: nobody has had the file open for writing since it was taken.
func (k *keeper) drop(l *lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.place < 0 {
		return false
	}
	stood := stands(l.fd)
	k.letGoLocked(l)
	return stood
}

// standing reports whether a lease has not been given up.
func (k *keeper) standing(l *lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return l.place >= 0
}

func (k *keeper) letGoLocked(l *lease) {
	_, _ = unix.FcntlInt(uintptr(l.fd), unix.F_SETLEASE, unix.F_UNLCK) // fails only if the kernel took it away already
	last := len(k.held) - 1
	k.held[l.place] = k.held[last]
	k.held[l.place].place = l.place
	k.held[last] = nil
	k.held = k.held[:last]
	l.place = -1
}

// stands asks for the kind of lease that will be left once those who wait have been served.
func stands(fd int) bool {
	kind, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
	return err == nil && kind == unix.F_RDLCK
}

func (k *keeper) watch() {
	defer close(k.done)
	for {
		select {
		case <-k.broken:
			k.letGoOfBroken()
		case <-k.stop:
			k.suspend()
		case <-k.quit:
			return
		}
	}
}

// letGoOfBroken looks at all leases, since the signal doesn't say which descriptor it is about.
func (k *keeper) letGoOfBroken() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := len(k.held) - 1; i >= 0; i-- { // downwards: letting go moves the last one, which was looked at
		if l := k.held[i]; !stands(l.fd) {
			k.letGoLocked(l)
		}
	}
}

func (k *keeper) letGoOfAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shut = true
	for len(k.held) > 0 {
		k.letGoLocked(k.held[len(k.held)-1])
	}
}

// suspend lets go of all leases before the process is stopped from the keyboard: while it is, a program that wants to
// write would wait for the kernel to lose patience, which takes 45 s.
func (k *keeper) suspend() {
	// The group of a session's leader has no shell that could continue it. The kernel doesn't stop such a group from the
	// keyboard.
	if sid, err := unix.Getsid(0); err != nil || sid == unix.Getpgrp() {
		return
	}
	k.letGoOfAll()
	runtime.LockOSThread()
	// SIGSTOP, since the runtime keeps its handler for SIGTSTP once it was asked for. To this very thread: the process is
	// stopped, and continued, before the call returns.
	_ = unix.Tgkill(k.pid, unix.Gettid(), unix.SIGSTOP)
	runtime.UnlockOSThread()
	k.mu.Lock()
	k.shut = false
	k.mu.Unlock()
}
