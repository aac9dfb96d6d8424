// Package live captures files that may be in use, one by one, on a mounted file system: it reads a file so that the bytes
// are those of one moment, or says that they are not. It serves where no file system snapshot is to be had.
//
// # The ladder
//
// A [File] is opened once, relative to its folder, and everything is done on that descriptor. The first rung that can be
// had is taken:
//
//   - Lease. The kernel grants a read lease only while nobody has the file open for writing, nor mapped for writing, and
//     makes anybody who wants to open it for writing wait until the lease is let go. So if the lease stands after
//     reading, nobody has written. There is one way around it: open with O_RDONLY|O_TRUNC empties a file without breaking
//     its lease, so size and mtime must be the same too. A goroutine of the [Capturer] lets go of a lease as soon as
//     somebody wants to write, even while the reader is held up, and of all of them before the process is stopped from
//     the keyboard. What was read until then is thrown away. A lease is let go when the last byte has been read; until
//     then it stands only for as long as nobody wants to write. It is never taken twice on one descriptor.
//   - Reflink, on XFS and Btrfs. FICLONE makes a clone in one step: no write, long write or store to a mapping is in it
//     by half. The clone is a file without a name in the same folder, else in one of Options.Clones, else in the topmost
//     folder of the mount. Dirty pages are written back before, since writers are kept out while that is done. XFS lays
//     out a file anew where it is written while a clone exists, for good; so a file of more than 2,000 extents is tried
//     on the next rung first, and a clone is closed when its last byte has been read.
//   - Two looks, on ext2, ext3, ext4, XFS, Btrfs and f2fs. If size, mtime and ctime after reading are those from before,
//     nothing has changed, provided that every change shows. Three things see to that. The ctime must be 50 ms older than
//     the first look, 2 s where it has no nanoseconds, or a change could fall into the same tick of the clock. A write
//     sets the ctime when it begins and not when it ends: lseek(SEEK_DATA) after the first look waits for one that is
//     going on. A store to a mapping sets the ctime only when it makes a clean page dirty: writing the dirty pages back
//     makes them clean. A reader that does without these calls torn files whole; the tests of this package count how
//     many. This was tried on ext4, XFS and Btrfs; f2fs and the old driver of ext2 are taken to be alike.
//   - Two looks on any other file system are no proof: the state may be whole, the method is unproven. On overlayfs and
//     FUSE a lease is granted although somebody writes; on tmpfs stores to a mapping don't show (leases are good there);
//     of network file systems nothing is known.
//
// A file whose looks differ is read again after a pause, a bounded number of times, out of budgets of time and bytes that
// all files share. If it has only grown, twice, what was read is read once more. If it is the same, every byte was so at
// the moment between both readings (or went through another value and back), and the state is appended: the stored bytes
// are a true beginning of the file. All else is torn.
//
// # Two passes
//
// A moment is not always what anybody wants to keep: programs empty a file and then write it, sometimes with the file
// closed in between. So a file that was changed less than 200 ms ago, or is empty and was changed less than 10 s ago, is
// put off in the first pass ([ErrLater], [Result].Later), as is one whose lease was broken or whose looks differ, and one that
// somebody has open for writing and changed less than 1 s ago: it may be in the middle of being saved. In the
// second pass, after the others (package backup takes it at the end of each batch of neighbours), they are waited for:
// twice, or five times if a file has lost bytes since it was opened. After that a file that goes on changing is taken as it is, and called torn if it has just lost bytes. A program
// that takes longer than that between emptying a file and writing it is caught with an empty file. A caller who knows
// that a file had content at the last backup may put off an empty one by itself.
//
// # SQLite
//
// A database and its log or journal are good only together, so [Capturer.OpenSet] takes them as a [Set], whole or torn as
// one, without SQLite's library. If leases are granted on all of them, nobody is using the database, and they are files.
// Else it takes the lock of a reader, as an open file description lock, and copies:
//
//   - In WAL mode first the database, then the log, with a lock on a read mark in the -shm, and the log's header the same
//     before and after. Checkpoints tear the copy of the database with nothing but pages that the copy of the log holds.
//     Writers and readers notice nothing, but that the log can't begin anew meanwhile.
//   - In rollback mode nobody may write to the database while the lock is held, so it is held only for two looks, before
//     and after the copying. If both are equal nobody wrote in between. After 5 tries, a database of at most 64 MiB is
//     copied under the lock; a writer that does not wait (no busy_timeout) can fail then. A hot journal, left by a
//     program that was killed, is part of the set; that of a writer at work is not.
//   - Where the lock is refused, with locking_mode=EXCLUSIVE or in the middle of a long transaction, the database and
//     then its log or journal are cloned (XFS, Btrfs), with the same log header, or the whole journal unchanged, before
//     and after.
//
// Copies are spooled to unnamed files (cloned where possible, else in Options.Temp), so no lock is held while a set is
// read. In the first pass a leased set is not copied. The -shm is opened for its locks, never created, written or stored.
//
// # Cost
//
// A file at rest costs one fstat and four fcntl more than being opened, looked at and read. The file system is asked for
// once per st_dev.
//
// # What it does not do
//
// Folders, links, devices, extended attributes and names are the caller's. Many files are not one moment together, except
// a Set. On systems other than Linux every file is read between two looks and its method is unproven; there are no sets.
//
// BUG(tarn): a direct write (O_DIRECT) into existing blocks holds no lock that SEEK_DATA waits for. On ext4, one that
// takes longer than 50 ms can be in flight during both looks, and its file be called whole. A lease or a clone is not
// affected.
//
// BUG(tarn): an open write by a process on the file system below (the block device, another node of a cluster) is seen by
// no rung.
//
// BUG(tarn): a database with journal_mode=MEMORY or OFF under locking_mode=EXCLUSIVE is cloned with a stale empty journal
// beside it, if there is one and no write happens between the looks, and is then called whole in the middle of a
// transaction. Without a journal it is called torn. Transactions over several attached databases are not kept together.
//
// BUG(tarn): a process stopped by SIGSTOP, which can't be caught, makes those who want to open a leased file for writing
// wait for up to 45 s (/proc/sys/fs/lease-break-time). After Close, SIGTSTP stays without effect until the process ends,
// since Go's runtime does not give its default action back.
package live
