// Package lvm holds an ext2, ext3, ext4 or XFS file system still that lies on a logical volume, by a snapshot of the
// volume: a thin one in the pool of its origin, or a thick one with room of its own. It needs root, and LVM's own
// programs, which it runs with exact names and reads by their JSON reports.
//
// The device mapper freezes the file system while the snapshot is made. What is on the volume then is the state of
// everything at one moment, files that are being written included, so Exact is always true.
//
// # Reading
//
// The snapshot volume is mounted read-only, and nowhere: a mount that is attached to no folder (fsopen, fsmount) is
// reached by its descriptor alone, nobody else meets it, and when this process is killed it is gone. Kernels before 5.2
// can't do that; then, or if Provider.Folder says so, it is mounted on a folder of its own. XFS refuses a second mount
// of one UUID, so nouuid is given. The volume itself stays writable, since XFS won't mount on a read-only one; the
// mount alone is read-only.
//
// # Overflow
//
// A thick snapshot keeps the old content of each block that is written meanwhile, and dies when its room is full. The
// origin takes no harm. The kernel then answers EIO for blocks that are not in its cache, and shows folders as empty.
// So Valid must be asked after the reading, and a backup that isn't told "valid" has failed. A thin snapshot lives in
// the pool; when that fills up, the origin suffers as well, so a pool that is nearly full is left alone.
//
// # Leftovers
//
// A snapshot volume bears two tags: the process that made it and the UUID of its origin. It is a leftover if its name
// parses, both tags are there, and LVM itself says that its origin has that UUID. The removal is one command which
// names the volume and repeats the proof as a selection, so that LVM makes it under its own lock. There is no force in
// it: LVM refuses to remove a volume that is in use, and that is an error here, never a reason to try harder.
//
// Programs that change something are never killed, see [fssnap.Change].
package lvm
