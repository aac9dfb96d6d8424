//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "inuse: this runs on Linux only")
	os.Exit(1)
}
