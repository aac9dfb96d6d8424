// Package blob names stored things.
//
// It is the vocabulary that all other packages share, and it imports none of them: an [ID] names plaintext (a chunk of a
// file, a piece of a tree), a [Name] names stored bytes (an object of the repository), a [Session] names a writer's run, and an
// [Extent] says where a blob lies. It does no I/O and computes no hashes; package repo/seal does that, since it holds the keys.
package blob
