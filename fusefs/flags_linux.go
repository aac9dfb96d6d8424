package fusefs

import (
	"encoding/binary"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
)

// Ioctl answers the one question that lsattr(1) asks: the chattr flags. The kernel asks so for files and folders only, and refuses to set them
// itself, since the mount is read-only.
func (fs *fileSystem) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, _ []byte, _ *fuse.IoctlOut, answer []byte) fuse.Status {
	if in.Cmd != unix.FS_IOC_GETFLAGS || len(answer) != 4 {
		return fuse.Status(unix.ENOTTY)
	}
	ctx, end := request(fs.all, cancel)
	defer end()
	n, ok := fs.get(in.NodeId)
	if !ok {
		return fuse.Status(unix.ESTALE)
	}
	var found snapshot.Node
	if err := n.describe(ctx, &found); err != nil {
		return fs.status(ctx, n, err)
	}
	binary.NativeEndian.PutUint32(answer, found.Flags)
	return fuse.OK
}
