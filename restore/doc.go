// Package restore writes the folders and files of a snapshot to disk.
//
// [Run] takes a root node and a target folder, and makes the target hold what the snapshot holds: content, holes, hard
// links, devices, and all metadata that the target's file system and the caller's rights allow. What can't be set is counted
// by [Aspect] and told with examples; it is never dropped in silence, and it ends nothing. A file whose content can't be had (a blob
// is missing or damaged) is removed and reported, everything else goes on, and Run returns [ErrIncomplete] at the end.
//
// # How it works
//
// One walker goroutine reads the tree in walk order, makes the folders, and cuts the other entries into batches of
// consecutive ones, which end with a folder if they can, so that no two workers make files in the same one. Workers take the batches. Since the
// repository's data lies in walk order too, a batch needs few segments. The walker is some batches ahead, and says what they need
// ([Options.Announce]), so that it can be fetched and decoded while files are written. A folder
// counts its users: the entries waiting in batches, and the folders below. Whoever is the last to let go of it sets its metadata, so
// that times and modes of folders come after everything below them, deepest first. A file of 16 MiB or more is written by
// several goroutines at their own offsets. No other goroutines are started.
//
// The order of metadata is: owner, extended attributes, mode, ACLs, file capabilities, times, flags. Attributes come before the mode
// because user attributes need write permission, which the mode may take away from us; ACLs after it, because a chmod
// rewrites the ACL's mask; capabilities after all, because writes and chown drop them. The flags immutable and append-only
// come last, and for files with several names at the end of the run.
//
// # Safety
//
// A snapshot is not trusted, and neither is what lies in the target. All work is done relative to open folders, one
// component at a time, and a symlink is never followed: each name is checked to be one plain component, each folder is opened
// with O_NOFOLLOW, each file is made with O_EXCL. So the reach of any tree, however it was forged, ends at the target; a
// lookup of several components never happens, which is why openat2 would add nothing. The target path itself is the
// user's own, and symlinks in it are followed.
//
// A new file has mode 0600 until it is complete, and gets its modification time last: a file that an interrupted run
// left behind differs in its time from the snapshot and is written again by [OverwriteIfChanged]. A file that is replaced is written
// under a temporary name beside it and renamed. Set-user-id and set-group-id bits are left out (and that is counted) if the owner could
// not be set. A file in the target that has other names, possibly outside the target, is never changed but replaced. A hard
// link is made only to a file that this run made or compared itself, and the result is looked at.
//
// # Limits
//
// Run does not make the restored files durable unless [Options.Sync] is set: like cp it leaves that to the kernel.
//
// Folders nested deeper than about half the number of descriptors that the process may have open (at most 16,384) are
// reported as failed. The link table holds about 150 bytes per inode with several names, for the whole run.
//
// On systems other than Linux content, folders, symlinks, modes and modification times of files and folders are restored; the rest is counted.
//
// BUG(tarn): names that differ only in case overwrite each other in a target that folds case.
//
// BUG(tarn): a run that is killed can leave files named .tarn-restore-*, which no later run removes unless it deletes. Backups leave them out.
package restore
