// Package zfs holds the files of a ZFS dataset still by a snapshot of it, and reads them through the dataset's own
// .zfs/snapshot folder. It runs the zfs program with exact names, and never recursively. Root can do all of it; a plain
// user needs "zfs allow USER snapshot,destroy,mount,userprop DATASET", which can't be asked beforehand in a way to rely
// upon, so that it is tried.
//
// # What the moment is
//
// As with Btrfs, a snapshot is one moment but for files that are being written just then: ZFS cuts a long write into
// one transaction per record, and the snapshot falls between two of them. Exact is therefore true only of files whose
// last change is older than the request for the snapshot by more than [Margin]. Stores to a mapped file set the change
// time only when the page was clean before; ZFS is asked to write all of them out before the moment is noted.
//
// BUG(tarn): a single write call that takes longer than the margin is not noticed, as with Btrfs.
//
// # Leftovers
//
// A snapshot bears two user properties: the process that made it, and the guid of its dataset. It is a leftover if its
// name parses, both properties were set on it itself (not inherited from the dataset, nor received with it: a replica
// of our snapshot on another pool is somebody's backup), and the guid is that of the dataset that it is on. What has
// clones or is held is refused by ZFS, and that is an error.
//
// It was tried with OpenZFS 2.1 on Linux. On other systems it does nothing yet.
package zfs
