// Package btrfs holds the files of a Btrfs subvolume still by a read-only snapshot of it. It speaks to the kernel by
// ioctl and needs no btrfs program. Root can hold every subvolume; a plain user those whose top folder is his own, if
// the file system is mounted with user_subvol_rm_allowed (without it he could make a snapshot and never remove it).
//
// # Where the snapshot stands
//
// In the folder .tarn-snapshots at the top of the subvolume itself; for a user other than root, .tarn-snapshots-UID.
// This is the one place that is always on the same file system, reachable by whoever may make the snapshot (a plain
// user must own the top folder), and found again after a crash without mounting anything. The snapshot does not go into
// the top folder itself, which would then have a new modification time in every backup: the folder is made once, owned
// by its user and closed to all others (0700), and stays. It is no part of the user's data: [IsFolder] knows it by its
// name, Skip lists it, and a walk leaves it out. In the snapshot it holds no more than empty folders, since a snapshot
// never holds nested subvolumes.
//
// Somebody else may own the top folder, and could put another folder in the place of ours while root reads. So
// everything is done relative to open folders, and Path leads through the snapshot's own descriptor (/proc/self/fd/N),
// not through the name.
//
// # What the moment is
//
// A Btrfs snapshot is one moment of everything but of files that are being written just then: one write of 8 MiB can be
// in it by half. Such a file betrays itself by its change time. The order is: sync, note the time T0, sync again,
// snapshot. A write that began after T0, and a store to a mapped page (which the second sync has made read-only again),
// both set the change time to T0 or later. A write that began before T0 set it earlier and may still be under way, so
// [Margin] is taken off. Exact is true of files that have not changed since T0 less the margin. All others belong to
// the live ladder.
//
// BUG(tarn): a single write call that takes longer than the margin is not noticed. Freezing the file system for an
// instant (FIFREEZE, FITHAW) would close the gap, but a process that is killed in between leaves a machine that hangs.
//
// # Nested subvolumes
//
// Each appears in the snapshot as an empty folder with the inode number [Placeholder]. [Nested] lists them, so that
// each can be taken for itself.
//
// # Leftovers
//
// Beside each snapshot stands a file, the same name with ".owner", that was durable before the snapshot was made: its
// maker, and the UUID of the origin. A snapshot is a leftover if its name parses, that file is there, and the parent
// UUID that the kernel reports is the one in the file and that of the subvolume around it. A snapshot of the same name
// that somebody else made, received or moved there is named and left alone.
package btrfs
