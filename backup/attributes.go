package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// attributes reads the extended attributes of an open file or folder that there is room for, and its flags.
func attributes(fd int) ([]snapshot.Xattr, uint32, error) {
	xattrs, flags, err := source.FileAttr(fd)
	xattrs, more := fitting(xattrs)
	return xattrs, flags, errors.Join(err, more)
}

// xattrsSizeMax is how much of an entry's record its extended attributes may take, in bytes. Some file systems let any user give a file more of
// them than that, and a record that is too long would end the backup.
const xattrsSizeMax = snapshot.NodeSizeMax - 64<<10

// fitting returns the extended attributes that there is room for, and an error if there are more.
func fitting(xattrs []snapshot.Xattr) ([]snapshot.Xattr, error) {
	size := 0
	for i := range xattrs {
		const around = 48 // bytes: tag, lengths, and the ID of a value that is a blob
		if size += len(xattrs[i].Name) + min(len(xattrs[i].Value), snapshot.XattrInline) + around; size > xattrsSizeMax {
			return xattrs[:i], fmt.Errorf("there is no room for %d of its %d extended attributes", len(xattrs)-i, len(xattrs))
		}
	}
	return xattrs, nil
}

// saveXattrs stores long values as blobs of their own.
func saveXattrs(ctx context.Context, s snapshot.Saver, xattrs []snapshot.Xattr) error {
	for i := range xattrs {
		x := &xattrs[i]
		if len(x.Value) <= snapshot.XattrInline {
			continue
		}
		id, err := s.Save(ctx, blob.Data, []byte(x.Value))
		if err != nil {
			return err
		}
		x.Ref, x.Value = id, ""
	}
	return nil
}
