// Package source reads the folders and files that a backup saves.
//
// A [Dir] is an open folder. Everything in it is reached relative to its descriptor, so that a folder that is renamed meanwhile is
// still the same one, and a path may be of any length. Names are bytes. What the system says of an entry is a [Stat], alike on all
// systems; what it keeps beside that (extended attributes, ACLs, chattr flags) is read by the Attr methods.
//
// How a file's content is held still while it is read is the business of its rooms: live for files on a mounted file system, btrfs,
// lvm and zfs for file systems that can give a view of one moment.
//
// It decides nothing about what belongs to a backup; package backup does.
package source
