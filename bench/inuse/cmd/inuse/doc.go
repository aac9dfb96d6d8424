// Command inuse tries what backup tools make of files that are being saved. It makes a folder with programs that work in it, backs that up with each
// tool that is named, restores the copies, and prints of each tool how many files came out torn, lost, doubled or inconsistent, and of how many of
// them it had said so; package bench/inuse says what that means. Which ways of saving there are depends on -kinds, and how a file can be held still
// on the file system of -dir.
//
// -latency also prints how long the saves took, before each backup and during it; -lease-cost prints only what part of a backup leases take. "inuse -h"
// lists the flags. Tools other than tarn must be on the PATH.
//
//	go run ./bench/inuse/cmd/inuse -dir /mnt/btrfs -runs 20 -tarn bin/tarn tarn restic borg
//	go run ./bench/inuse/cmd/inuse -latency -runs 5 -before 15s -still 1073741824 -tarn bin/tarn tarn
//	go run ./bench/inuse/cmd/inuse -lease-cost /usr/src/linux -runs 5 -tarn bin/tarn
package main
