//go:build unix

package fssnap

import (
	"os"
	"syscall"
)

func askToEnd(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
