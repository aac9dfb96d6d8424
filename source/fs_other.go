//go:build !linux

package source

// FileSystem tells one file system from another, also after a restart of the machine.
type FileSystem struct {
	ID           string // equal only for the same file system
	StableInodes bool   // an inode number stands for one file as long as that exists
	Pseudo       bool   // made up by the kernel, such as /proc: nothing to back up
}

// FileSystem says which file system the folder is on; on this system tarn does not know how yet, and reads on.
func (d *Dir) FileSystem() FileSystem { return FileSystem{ID: "unknown"} }
