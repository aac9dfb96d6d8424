//go:build !unix

package fssnap

import "os"

func askToEnd(p *os.Process) error { return p.Kill() }
