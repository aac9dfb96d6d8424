//go:build !amd64

package chunker

// vectorAdvance returns nil: there is no vector code for this machine yet, candidate does the work.
func vectorAdvance() advanceFunc { return nil }
