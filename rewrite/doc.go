// Package rewrite makes trees of trees: a snapshot's folders are read, looked at entry by entry, and stored again.
//
// A [Tree] goes through a folder and all below it in walk order. Its Edit function says of each entry whether it stays, and may change
// it: leave it out (a secret that got in), give it another content (lost parts), or other names for the same content (a copy for another
// repository). Folders that come out as they went in have the same blobs as before, so that nothing is stored twice where both are in one
// repository.
//
// A part of a folder that can't be read does not hide the others: Lost is told of it, and may give entries to stand in its place.
//
// Entries that are no folders are edited side by side, as many at a time as there are Workers; folders one after the other.
package rewrite
