//go:build !linux

package live

import (
	"io"
	"os"
)

// PassHoles returns f: nothing is known of holes here.
func PassHoles(f *os.File) io.Reader { return f }
