//go:build !linux

package source

// Born says which inode is at a path now, and when that was made. Here it can't tell.
func Born(path string) Birth { return Birth{} }
