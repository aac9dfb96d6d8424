// Package fssnap is what the makers of file system snapshots share: the mounts of this machine, a request for a
// snapshot of one of them, the plan for it with a sentence for people, and the names and owners by which leftovers are
// known.
//
// The makers are [Provider]s: packages source/btrfs, source/lvm and source/zfs. Each knows one way, and says of a mount
// either that it is none of its business, or what it would do, or why it does nothing. [Decide] asks them in turn:
//
//	mounts, err := fssnap.Mounts()
//	mount, ok := fssnap.Find(mounts, "/home/ann")
//	plan, provider := fssnap.Decide(ctx, providers, mount, "/home/ann")
//	held, err := provider.Take(ctx, fssnap.Request{Mount: mount, Dir: "/home/ann", Repository: "0badcafe", Session: session})
//	defer held.Release(ctx)
//	path, ok := held.Path("/home/ann/letter.txt") // the same file, held still
//
// # Names and leftovers
//
// A snapshot that outlives its backup costs the user space, and an LVM one slows down every write, so what a crash
// leaves behind must go. But a program that deletes snapshots on a guess will one day delete the wrong volume. Three
// things therefore have to agree before anything is removed: the [Name], which holds 128 random bits of the session; a
// mark that was put there by tarn when the snapshot was made (a file, tags, properties); and the origin, as the file
// system or volume manager itself reports it, which must be the one that the mark names. Where one is missing, the
// [Leftover] carries a Doubt and can't be removed. The proof is made anew by Remove, as close to the removal as the
// tool at hand lets one.
//
// A snapshot of a backup that still runs is not a leftover. The mark names its [Owner]: the boot, the process and the
// moment when that process began, so that neither a reboot nor a reused process number misleads. From inside another
// process namespace this can't be seen; then [Unknown] is what Owner.Life says, and the caller may ask the repository
// whether the session is over.
//
// # What it does not do
//
// It takes no snapshots, walks no folders and starts no goroutines. Paths are compared as they are written: symbolic
// links in them must have been resolved. [Mounts] knows Linux best; elsewhere the list can be empty, and Decide then
// has nothing to hold.
package fssnap
