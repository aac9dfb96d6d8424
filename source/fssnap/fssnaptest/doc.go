// Package fssnaptest holds what the tests of all makers of file system snapshots need: writers whose files tell their
// own state, a checker of what a snapshot holds of them, and one suite that every maker passes on a file system of its
// own.
//
// A file of generation g holds the number g, over and over. A file that is whole holds one number; one that was cut in
// the middle of a write that goes from front to back holds g up to some place and g-1 behind it; anything else was
// never its content at any moment. Files that are written in an order, and files that move, tell in the same way
// whether all of them are of one moment.
package fssnaptest
