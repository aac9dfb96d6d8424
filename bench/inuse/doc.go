// Package inuse measures what backup tools make of files that are being saved while they run.
//
// A [Workload] is a folder with programs that work in it. Each saves its files in one way, again and again, and every file says by its own
// content what was saved last: each 8-byte word of it holds the number of the save, added to a number that depends on the file and the
// place in it. So a restored copy needs nothing beside it to be judged:
//
//   - whole: all words are of one save, and none is missing;
//   - midway: what the file was like in the middle of a save, new in front and old behind, or new and short. For a program that saves and
//     closes this is as bad as torn, and is counted so. For one that keeps its file open and never says when it is done, it is a moment
//     as good as any other;
//   - empty: emptied, to be written anew; counted as torn, too, for the same reason;
//   - torn: what the file never was.
//
// Files that move between two folders are lost if they are in neither, doubled if they are in both. Of a pair, the second file is
// saved after the first: a copy in which the second is newer is inconsistent. A database is wrong if SQLite finds it damaged or the sum of
// its accounts, which no transfer changes, is another.
//
// A [Tool] is a program that backs a folder up and restores it. What the tool says of a file counts: a torn file that it named is marked,
// one that it did not name is not. tarn keeps that in the snapshot, others print it while they run, or say nothing.
//
// The programs of a workload are goroutines of this process, and their saves are timed, with and without a backup running. It runs on
// Linux.
package inuse
