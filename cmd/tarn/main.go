package main

import (
	"os"
	"runtime/debug"
)

// gcPercent keeps the heap small: most of it are buffers that live as long as the program, and collecting the rest is cheap.
const gcPercent = 50

func main() { os.Exit(run(os.Args[1:])) }

// run is one call of the program; it returns the exit code.
func run(args []string) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(a)
	root.SetArgs(args)
	ctx, stop := withInterrupt(a)
	defer stop()
	return a.finish(ctx, root.ExecuteContext(ctx))
}
