//go:build !linux

// Inuse tries what backup tools make of files that are being saved, on Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "inuse: this runs on Linux only")
	os.Exit(1)
}
