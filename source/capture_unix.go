//go:build unix

package source

import (
	"context"

	"github.com/tarn-backup/tarn/source/live"
	"golang.org/x/sys/unix"
)

// Capture opens a regular file of d for reading while it may be in use.
func (d *Dir) Capture(ctx context.Context, c *live.Capturer, name string, pass live.Pass) (*live.File, error) {
	return c.Open(ctx, d.fd, name, pass)
}

// CaptureSet opens a SQLite database of d with the files that belong to it.
func (d *Dir) CaptureSet(ctx context.Context, c *live.Capturer, name string, pass live.Pass) (*live.Set, error) {
	return c.OpenSet(ctx, d.fd, name, pass)
}

// StatOf converts what a capture recorded.
func StatOf(st live.Stat) Stat { return FromUnix(&st) }

// HasPrefix reports whether an open file begins so.
func HasPrefix(fd int, prefix string) bool {
	buf := make([]byte, len(prefix))
	n, err := retry(func() (int, error) { return unix.Pread(fd, buf, 0) })
	return err == nil && string(buf[:n]) == prefix
}
