package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// errInterrupted is the cause of the end of the context that all commands run in.
var errInterrupted = errors.New("interrupted")

// withInterrupt returns a context that the first SIGINT or SIGTERM ends. The second one ends the program at once.
func withInterrupt(a *app) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		cancel(errInterrupted)
		said := time.AfterFunc(patience, a.tellWait) // elsewhere: who prints may be held up himself
		defer said.Stop()
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// patience is how long an interrupted program waits for something before it says for what.
const patience = time.Second

// waitsFor notes what the program can't go on without, and can't stop waiting for: a system call that a dead file system does not answer ends with the
// program only, and not even then if the file system's server has taken it up. The function that it returns takes the note away.
func (a *app) waitsFor(what string) func() {
	before := a.waits.Swap(&what)
	return func() { a.waits.Store(before) }
}

func (a *app) tellWait() {
	if what := a.waits.Load(); what != nil {
		a.notef("interrupted: waiting for %s; interrupt again to stop at once", a.stderr.text(*what))
	}
}

// isInterrupted reports whether a signal ended the context.
func isInterrupted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errInterrupted) }
