package source

import (
	"context"
	"path/filepath"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// Capture opens a regular file of d for reading while it may be in use.
func (d *Dir) Capture(ctx context.Context, c *live.Capturer, name string, pass live.Pass) (*live.File, error) {
	return c.Open(ctx, -1, filepath.Join(d.path, name), pass)
}

// CaptureSet opens a SQLite database of d with the files that belong to it.
func (d *Dir) CaptureSet(ctx context.Context, c *live.Capturer, name string, pass live.Pass) (*live.Set, error) {
	return c.OpenSet(ctx, -1, filepath.Join(d.path, name), pass)
}

// StatOf converts what a capture recorded.
func StatOf(st live.Stat) Stat {
	t := st.LastWriteTime.Nanoseconds()
	return Stat{Type: snapshot.File, Mode: 0o644, Size: uint64(st.FileSizeHigh)<<32 | uint64(st.FileSizeLow), Links: 1,
		ModTime: snapshot.Time{Sec: floorDiv(t, 1e9), Nsec: uint32(t - floorDiv(t, 1e9)*1e9)}}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// HasPrefix reports whether an open file begins so; on this system tarn does not look.
func HasPrefix(fd int, prefix string) bool { return false }
