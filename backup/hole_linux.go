package backup

import "golang.org/x/sys/unix"

// hasHole reports whether an open file has a hole before its end (SEEK_HOLE of lseek(2)). Few blocks alone prove nothing: a file
// that was written just now may have none yet.
func hasHole(fd int) bool {
	hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	if err != nil {
		return false
	}
	end, err := unix.Seek(fd, 0, unix.SEEK_END)
	return err == nil && hole < end
}
