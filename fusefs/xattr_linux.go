package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tarn-backup/tarn/snapshot"
)

// Attributes that every entry of a snapshot has. They are not listed, so that who copies all attributes gets what was backed up.
const (
	xattrCapture  = "user.tarn.capture"  // of a file: how far its content is of one moment
	xattrSnapshot = "user.tarn.snapshot" // the ID
)

func (fs *fileSystem) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(header.NodeId)
	if !ok {
		return 0, fuse.Status(syscall.ESTALE)
	}
	s := n.shot()
	if s == nil {
		return 0, fuse.ENODATA
	}
	if name == xattrSnapshot {
		return give(dest, s.name.String())
	}
	var found snapshot.Node
	if err := n.describe(ctx, &found); err != nil {
		return 0, fs.status(ctx, n, err)
	}
	if name == xattrCapture && found.Type == snapshot.File {
		return give(dest, found.State.String())
	}
	for i := range found.Xattrs {
		if x := &found.Xattrs[i]; x.Name == name {
			value, err := fs.xattr(ctx, x)
			if err != nil {
				return 0, fs.status(ctx, n, err)
			}
			return give(dest, value)
		}
	}
	return 0, fuse.ENODATA
}

// xattr returns an attribute's value.
func (fs *fileSystem) xattr(ctx context.Context, x *snapshot.Xattr) (string, error) {
	if x.Ref.IsZero() {
		return x.Value, nil
	}
	data, err := fs.reader.data(ctx, x.Ref)
	return string(data), err
}

// give answers with a value. An empty dest asks for its length.
func give(dest []byte, value string) (uint32, fuse.Status) {
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

func (fs *fileSystem) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(header.NodeId)
	if !ok {
		return 0, fuse.Status(syscall.ESTALE)
	}
	if n.shot() == nil {
		return 0, fuse.OK
	}
	var found snapshot.Node
	if err := n.describe(ctx, &found); err != nil {
		return 0, fs.status(ctx, n, err)
	}
	var list []byte
	for i := range found.Xattrs {
		list = append(append(list, found.Xattrs[i].Name...), 0)
	}
	return give(dest, string(list))
}
