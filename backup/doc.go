// Package backup reads folders and saves them as a snapshot.
//
// Data goes one way, through four kinds of goroutines that [Run] starts and waits for:
//
//	lister     opens folders, lists and stats, in walk order, and says what belongs to the backup. One goroutine.
//	walker     compares that with the parent snapshot, and makes batches: neighbouring entries with about 4 MiB to be read. One goroutine.
//	readers    take batches that have something to be read: open, hold still, cut, save. Each has a lane of its own, so that a
//	           batch's small files become one segment. One per processor. Those that have nothing to read save chunks of a large
//	           file that another reads.
//	assembler  takes all batches in walk order, encodes folders and the scan record, and saves those. One goroutine.
//
// The number of batches between walker and assembler is bounded, and so is memory: neither the number of files nor their size matters. The lister
// is at most some thousand entries and 160 open folders ahead of the walker. What it says of an entry may be old when the walker takes it, so
// it comes with a moment that lies before the look: by that, not by the clock, it is decided whether a change could have left no trace.
//
// A file is unchanged if its size, mtime, ctime, inode and file system are those of the parent's scan record, and all its blobs may be
// referred to. Then its node is taken over as it is encoded. What is in doubt is read again.
//
// A file that is in use is captured by package source/live: what could not be held still is taken up again at the end of its batch, and
// if it changes then too, it is stored and marked torn. Nothing that goes wrong with one entry ends a backup: it becomes a [snapshot.Problem].
package backup
