// Package index says where a blob is: in which pack, in which segment of it, from which byte on.
//
// It has four parts. The codec ([AppendDirectory], [AppendList] and their inverses) is what stands in packs and in index
// objects; it is part of the repository's format. [Index] answers look-ups while a program runs. [Set] is what a running
// backup has stored already and need not store again. [Cache] keeps what is known of packs in local files, from one run to
// the next, so that an Index of ten million blobs is there at once and takes next to no memory of its own.
//
// None of them does I/O to a repository, knows keys, or decides what may be trusted. The caller takes the view of the
// repository: it lists the packs, leaves out those in trash, and puts no others into an Index. The cache is keyed by pack, and a
// pack's directory never changes; so it can lack packs or have ones that are gone, but can't be out of date, and any
// process may add to it at any time. It is a hint: it can be removed at any time, and an error from it is never a reason to fail.
//
// # Half an id
//
// Directories have the first 16 bytes of a blob's id, a [Prefix], and so have an Index, a Set and a Cache; trees have all 32. The id is a keyed
// hash, so without the key nobody can tell, let alone choose, which blobs would have the same prefix, and by chance that takes 2^64
// blobs: among the 2^34 that an index can hold at most, the chance that any two share one is below 2^-60, far below that of a memory
// error that goes unseen. What would happen then: who reads the one blob gets the other, hashes it, and has an error instead
// of wrong bytes; who saves the one while the other is stored stores nothing. Somebody who holds the key, and could search for such
// a pair at a cost of 2^64 hashes, can delete the backup at less.
//
// # Memory and time
//
// A blob takes 28 bytes as a row, and about 6 more where it is found by, in memory or in a file. Files are mapped: they count as the
// system's page cache, not as the program's memory, and nothing is read into the program when a cache is opened, though all of it
// is checked against its checksums. Waiting for memory is what a look-up costs; BenchmarkIndex10M compares it with Go's map.
// A binary fuse filter in front of each file answers most look-ups of blobs that are not there; its yes decides nothing, since it
// is wrong once in 256 times: the row is always read.
//
// # Concurrency
//
// Nothing here starts a goroutine. All methods of Index, Set and Cache may be called at the same time, except that nothing
// of a Cache, nor of an Index made from it, may be used once it is closed.
//
// BUG(tarn): where cache files are mapped, one that is truncated while it is open, or lies on a network file system and is
// removed by another host, kills the program with SIGBUS when it is read. tarn itself never truncates one.
//
// BUG(tarn): systems other than Unix read cache files into memory instead.
package index
