// Package fusefs shows the snapshots of a repository as folders, read-only, through FUSE. It is the only user of go-fuse.
//
// # What is there
//
//	snapshots/<time>/      the tree of a snapshot, from / on; this is the only place where it is a folder
//	snapshots/latest       and other such places: a symlink to it
//	ids/<id>, hosts/<host>/<time>, tags/<tag>/<time>
//	history/<path>/        the folders of all snapshots, merged; each file in them is a folder of its distinct versions
//
// The layout is made from path templates. A tree is a folder in one place only, so that its pages and entries are cached once and a search
// from the top sees it once. The same is why history shows a version once, under the oldest snapshot that has it.
//
// # How it works
//
// A snapshot never changes, so the kernel may keep all that it is told: entries and attributes have no time limit, open, opendir and flush
// are answered with ENOSYS, after which the kernel asks no more. What remains are READDIRPLUS, one or a few per folder, READ, and
// LOOKUP of what was not listed. Only the folders of the layout and of history change; the kernel asks for them again after a second ([Options].Fresh).
//
// The state per inode that the kernel knows is small and has no pointers: its number, how often it was told, and the place of its record in a
// folder (see table and place). The record is decoded again when it is asked for, from a bounded cache of folder blobs. The position in a
// listing is such a place, too, so a listing has no state at all, however long the folder is.
//
// Inode numbers are hashes: of the snapshot and the path, or for a file with several names of the snapshot, the link key and the content. They are
// the same in each mount. The FUSE node number is the inode number.
//
// What the kernel was told of costs it memory and time, so of a folder of more than some ten thousand entries a listing tells names only, until
// somebody looks up one of them.
//
// When files are read one after the other, the small ones that come next in the folder are pushed into the kernel's page cache
// before it asks for them.
//
// # Errors
//
// A blob that is damaged or missing gives EIO to the calls that need it, and one line through [Options.Report]; the rest of its folder or
// file can be read. For some seconds it is not asked for again. A request that hangs for half a second can be interrupted by a signal.
//
// # Where concurrency lives
//
// In go-fuse, which calls from several goroutines; in the one goroutine that pushes; in refreshing the list of snapshots, where
// some are loaded at once. Unmounting ends all of them.
//
// # Limits
//
// SEEK_HOLE finds runs of zeros of 256 KiB and more of files that had holes; shorter ones are data here. Names with a slash or
// a NUL, "." and ".." and those of more than 1024 bytes can't be shown by a kernel and are left out, with a line through Report. Folders have
// one link, which says that their subfolders are not counted. To count the links of a file that has several, the whole snapshot is
// walked once. A folder of history is listed in memory, with some 50 bytes per name. Chattr flags show to who asks by ioctl, as lsattr does; a
// kernel takes none for statx from FUSE.
package fusefs
