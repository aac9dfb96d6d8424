// Package simulate runs many clients of one repository against each other, on one goroutine at a time, in an order that a seed decides.
//
// The clients are the real thing: backups through [repo.Writer], copies by package rewrite, tags and rewrites by package successor, forgets,
// prunes by package prune, checks, evictions. What is simulated is the storage below them and the time around them. Each operation of each client waits until the scheduler picks it. Then it is done, or fails, or is done and fails, or fails and is
// done later; or its client dies there, or the power of the storage is cut in the middle of it. Before what is delicate, such as putting a snapshot or
// removing a pack, clients rest more often, so that others come in between. A list takes two turns, and reports what was there at
// both, and any part of what was there at one of them. Clients fall asleep for hundreds of operations of the others. Clocks jump. All of it follows
// from the seed alone, so that a failure can be seen again: run the test with TARN_SEED=n. With TARN_SEEDS=m it runs m seeds from there on, so that a million of
// them can be run in parts, by several processes, and gone on with; -v tells how far it is every few thousand seeds.
//
// # What is looked at
//
// After every operation that removes something or puts a snapshot: every snapshot that is stored, unless its session was evicted, has all its blobs in packs
// that are there and that the index names; and so has every snapshot whose backup ended well and that nobody forgot. After a power cut: these are
// still there. A check that runs beside the others finds no damage, and what stands can be copied. When all clients are done: they are loaded and compared with what was saved, check finds no error, and after two quiet prunes nothing
// is stored that no snapshot needs.
//
// # That it would notice
//
// The test plants bugs, one at a time, in a copy of the program's source that only its own compiler sees (go test -overlay), and each has
// to be found within ten thousand seeds. The product holds no trace of them.
//
// # What it does not do
//
// Objects are not padded to 64 KiB, which would be most of the work. Of repairs none is among the clients.
//
// Uploads of one backup are put one after the other, not two at once, so that the order is the seed's alone.
package simulate
