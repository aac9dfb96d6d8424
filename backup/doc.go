// Package backup reads folders and saves them as a snapshot.
//
// Data goes one way, through three kinds of goroutines that [Run] starts and waits for:
//
//	walker     lists and stats in walk order, compares with the parent snapshot, and makes batches: neighbouring entries with about
//	           4 MiB to be read. One goroutine.
//	readers    take batches that have something to be read: open, hold still, cut, save. Each has a lane of its own, so that a
//	           batch's small files become one segment. One per processor.
//	assembler  takes all batches in walk order, encodes folders and the scan record, and saves those. One goroutine.
//
// The number of batches between walker and assembler is bounded, and so is memory: neither the number of files nor their size matters.
//
// A file is unchanged if its size, mtime, ctime, inode and file system are those of the parent's scan record, and all its blobs may be
// referred to. Then its node is taken over as it is encoded. What is in doubt is read again.
//
// A file that is in use is captured by package source/live: what could not be held still is taken up again at the end of its batch, and
// if it changes then too, it is stored and marked torn. Nothing that goes wrong with one entry ends a backup: it becomes a [snapshot.Problem].
package backup
