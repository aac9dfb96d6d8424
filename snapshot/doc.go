// Package snapshot is what a backup says of files: records, trees, nodes and scan records, and how they are coded, built and walked.
//
// A [Record] is one backup. It refers to the root folder's [Node], and each folder's node to the tree that lists its entries. Trees are cut
// into blobs where content says so, at the end of a node, so that folders with the same entries have the same tree wherever they are, and a
// large folder that changed a little shares most of its blobs with what it was. [TreeBuilder] makes them, [Walk], [Lookup] and [Cursor] read
// them.
//
// The scan record is what the next backup compares with: inode, ctime and the way in which each file was captured, in walk order. It stands
// beside the trees, not in them, since it depends on the file system that was read; it may be lost, and everything is then read again.
//
// Nothing here does I/O but through a [Loader] and a [Saver], and nothing trusts what it decodes: lengths, order and depth are bounded before
// anything is allocated. The bytes are specified in docs/format.md, sections 3 and 7 to 9.
package snapshot
