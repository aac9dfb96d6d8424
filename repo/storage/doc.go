// Package storage says what tarn asks of the place where a repository is kept.
//
// A repository is a few kinds of immutable objects in one flat space of names, and a [Storage] puts, gets, lists and
// removes them. It knows nothing of packs, keys or snapshots: all bytes that it sees are sealed. The interface has four
// methods, so that a folder, an object store and a remote shell can all be one, and so that a test can stand between tarn
// and any of them:
//
//	dir          a folder of this machine, or one that is mounted
//	s3           a bucket
//	sftp         a folder of another machine, over SSH
//	rest         restic's rest-server
//	rclone       whatever rclone gets to
//	memory       a map, for tests and simulations
//	faulty       fails the nth operation, tears objects, loses answers, and keeps a log of operations
//	crash        knows what a power cut would leave behind
//	storagetest  the tests that every adapter passes
//
// What stands between them and tarn: retry tries again, limit holds streams to a rate, and locks puts into envelopes what a server has no folder for. web and
// pipe are what the adapters are made of.
//
// # What is assumed
//
// tarn takes no locks. That many writers and pruners may share a repository rests on the four assumptions that stand at
// [Storage], and on nothing else: no clock, no conditional put, no rename. An adapter that can't keep one of them must say so in
// its own doc.go, since prune then has to be run alone.
//
// An error of Put or Remove says that the outcome is not known. The object may be there, as it was or as it should be, but never
// in part. Callers try again with the same bytes, or give up; both are safe.
//
// # Names
//
// A name is one to three parts with slashes between them, in the letters that [CheckName] allows. They are few, so that a name is
// the same on every file system and in every URL, and can't leave the repository. A part never begins with a dot, which is how
// network mounts and desktops name the litter that they leave in other people's folders. Names below tmp/ are the adapter's own.
//
// # What it does not do
//
// A Storage tries nothing twice, caches nothing, and does not know whether the bytes of an object are the right ones.
// Trying again and limiting rates is the work of what is wrapped around it; an object's name is the hash of its bytes,
// and its reader checks it.
package storage
