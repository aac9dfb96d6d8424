package main

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
)

// Garbage is collected when the heap, ballast included, has grown by a percentage since the last time. The ballast is never touched, so it takes no
// memory; but while the heap is small it lets tens of megabytes come together, where Go would collect after every other one. Most of a backup's
// heap are buffers that live as long as it, which are cheap to look through, so little is let grow over them; a prune's are those and an index, which
// is as cheap; a mount has a million small things there.
const (
	gcBallast = 96 << 20
	gcPercent = 25
	gcBackup  = 12
	gcPrune   = 6
	gcMount   = 50
)

// collectAfter sets that percentage, unless the user has set another one by GOGC.
func collectAfter(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

func main() { os.Exit(run(os.Args[1:])) }

// run is one call of the program; it returns the exit code.
func run(args []string) int {
	if os.Getenv("GOGC") == "" {
		ballast := make([]byte, gcBallast)
		defer runtime.KeepAlive(ballast)
	}
	collectAfter(gcPercent)
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(a)
	root.SetArgs(args)
	ctx, stop := withInterrupt(a)
	defer stop()
	err := root.ExecuteContext(ctx)
	if usage := (usageError{}); errors.As(err, &usage) {
		a.json = a.json || slices.Contains(args, "--json") // what comes behind a flag that makes no sense was not read
	}
	return a.finish(ctx, err)
}
