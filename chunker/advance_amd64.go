package chunker

import "golang.org/x/sys/cpu"

// vectorAdvance returns the fastest advanceFunc of this machine, or nil.
func vectorAdvance() advanceFunc {
	if cpu.X86.HasAVX2 {
		return advanceAVX2
	}
	return nil
}

// advanceAVX2 is an advanceFunc, in advance_amd64.s.
//
//go:noescape
func advanceAVX2(a, b *byte, n int, factor uint32, limit uint32) int
