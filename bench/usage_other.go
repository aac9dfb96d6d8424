//go:build !linux

package bench

import (
	"errors"
	"os"
	"runtime"
	"time"
)

// Elsewhere time is measured, and nothing else.

func awaitEnd(int, *Usage) bool { return false }

func peakOf(*os.ProcessState) uint64 { return 0 }

func ownPeak() uint64 { return 0 }

func running(int) (time.Duration, uint64, error) {
	return 0, 0, errors.New("mounts are measured on Linux only")
}

func syncAll() {}

func describeMachine(m *Machine, _ string) { m.Kernel = runtime.GOOS }

func load() float64 { return 0 }

func residentMemory() (uint64, uint64) { return 0, 0 }
