// Package check proves that every stored byte is there and right.
//
// [Run] looks at a repository in four steps.
//
//  1. Every snapshot record is read and its tree is walked. Each distinct piece of a tree is looked at once, however many snapshots share
//     it: it is loaded, hashed, decoded, and all that it names must be in a pack that is listed.
//  2. Every index object is read, and what it says of a pack is compared with the pack's own directory.
//     With [Options.ReadData] each pack is also read from its first byte to its last: the hash of all of them is the pack's name, the
//     header commits to the key, each segment opens and decompresses, each blob in it has the hash that names it, and directory, padding
//     and footer are what was sealed. A pack that looks wrong without that is read whole in any case.
//  3. All other objects are read and proven: the config, keys, sessions, evictions, trash and what it waits for, settings, looks, and with
//     ReadData parity. What is none of tarn's is named.
//  4. If anything was wrong so far, the snapshots are listed and looked at again, with a new view of the repository, and each one that
//     lost something is reported with the first of its paths that can't be restored.
//
// The fourth step is also what makes it safe to check a repository that is being written to and pruned: a pack that was moved
// during the first step is found in its new place. What is reported as lost was missing from a view that is younger than the list of
// snapshots.
//
// # What it costs
//
// Steps 1 to 3 read all metadata but parity; with ReadData all the rest too, once. Memory grows with the number of distinct blobs that snapshots
// refer to, about 25 bytes for each, and not with their size; beside that each worker holds one segment and the directory of a pack.
//
// # What it can't find
//
// A snapshot that somebody removed leaves no trace in the repository; whoever could write to the storage may also have put an old
// state of it back. Only what a client remembers of the snapshots that it has seen tells. Nor is a lost key slot missed, as long
// as one is left, nor an object under sessions/, which comes and goes.
//
// [Scrub] needs no password and finds less: that the names of objects are the hashes of their bytes.
//
// # Where concurrency lives
//
// In the walk, which looks at folders side by side as far as there are workers; in the reading of packs and of small objects, each a
// group of goroutines that ends before the step does. Findings are reported one at a time.
package check
