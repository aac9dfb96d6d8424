// Package repo is a deduplicating, sealed store of blobs, kept as immutable objects in a [storage.Storage].
//
// # Reading
//
// [Open] needs a password and gives a [Repo]. [Repo.Load] returns a blob: the index says in which segment of which pack it lies,
// one ranged read fetches the segment, which is opened, decompressed and kept for the neighbours that are asked for next; then the blob is
// hashed again and compared with its ID, always.
//
// What packs hold never changes, so a machine may keep it: [OpenOptions].IndexCache names a folder for that. Which packs there are is always
// asked of the storage. docs/adr/0005 has the argument and the figures.
//
// # Far away
//
// On a store where a request takes long, [Far] has packs read in long stretches as long as they are read from the front to the back, several small objects
// fetched at a time, and what never changes and is read again kept on this machine: index objects, snapshots, and the segments that hold
// trees. None of it is believed more than what comes from storage, and which objects there are is never taken from it.
//
// Who knows what he is going to load says so to an [Ahead] ([Repo.ReadAhead]): it fetches and decodes some way ahead, several requests at a time, near or far.
//
// # Writing
//
// A [Writer] is one session. Each goroutine that saves has a [Lane] of its own: a segment that is being filled. [Lane.Save] hashes
// a blob, looks it up, and appends it to the segment if it is new. A full segment is compressed by the goroutine that filled it, sealed into
// the open pack, and read back. A full pack is put to storage by a goroutine of the Writer's, two at once, or four on a store that is [Far]. [Writer.Commit] makes
// all of it durable in the order packs, index, snapshot, and then asks whether the session still stands.
//
// # Many writers
//
// There are no locks. A session sees a [View]: the packs that are listed and in no trash. It refers to nothing else, whatever an index or a
// cache says. Whoever removes packs (package prune) names them in trash first ([Repo.PutTrash]), waits for the sessions that might have seen
// them outside of it ([Wait]), and looks again; what is needed after all it stores again with a [Mover]. A session that was evicted meanwhile
// ([Repo.Evict]) finds this out before it reports success. Readers also read what is in trash, as long as it is there. docs/adr/0004 has the argument.
//
// # Where concurrency lives
//
// In the Writer: its lanes belong to the caller's goroutines, its uploads to the Writer, which waits for them in Flush, Commit and Abort. In the
// cache of decoded segments: one fetch per segment, however many ask. In an Ahead, whose goroutines fetch, and end with its Close. Nowhere else.
package repo
