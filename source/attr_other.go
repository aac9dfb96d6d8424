//go:build !linux

package source

import "github.com/tarn-backup/tarn/snapshot"

// FileAttr reads extended attributes and flags of an open file; on this system tarn does not know how yet, and says none.
func FileAttr(fd int) (xattrs []snapshot.Xattr, flags uint32, err error) { return nil, 0, nil }

// Attr reads the extended attributes of an entry that can't be opened; on this system tarn does not know how yet.
func (d *Dir) Attr(name string) ([]snapshot.Xattr, error) { return nil, nil }
