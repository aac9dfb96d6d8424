package main

import (
	"os"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is one call of the program; it returns the exit code.
func run(args []string) int {
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(a)
	root.SetArgs(args)
	ctx, stop := withInterrupt(a)
	defer stop()
	return a.finish(ctx, root.ExecuteContext(ctx))
}
