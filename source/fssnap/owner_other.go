//go:build !linux

package fssnap

import (
	"errors"
	"os"
)

// Self returns the owner that this process is: known on Linux only.
func Self() (Owner, error) { return Owner{}, errors.ErrUnsupported }

// Life tells whether the process runs: known on Linux only.
func (o Owner) Life() Life { return Unknown }

// Root reports whether this process may do all that root may.
func Root() bool { return os.Geteuid() == 0 }
