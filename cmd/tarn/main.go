package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// Garbage is collected when the heap, ballast included, has grown by gcPercent since the last time. The percentage is small since most of the
// heap are buffers that live as long as the program. The ballast is never touched, so it takes no memory; but while the heap is small it
// lets tens of megabytes come together, where Go would collect after every other one.
const (
	gcPercent = 12
	gcBallast = 96 << 20
)

func main() { os.Exit(run(os.Args[1:])) }

// run is one call of the program; it returns the exit code.
func run(args []string) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		ballast := make([]byte, gcBallast)
		defer runtime.KeepAlive(ballast)
	}
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(a)
	root.SetArgs(args)
	ctx, stop := withInterrupt(a)
	defer stop()
	return a.finish(ctx, root.ExecuteContext(ctx))
}
