package live

import (
	"os"

	"golang.org/x/sys/windows"
)

// Stat is what the system knows about a file.
type Stat = windows.ByHandleFileInformation

// openIn opens by path: Windows has no folder descriptors, and dirfd is not used.
func openIn(_ int, path string) (*os.File, error) { return os.Open(path) }

func statOf(f *os.File) (Stat, error) {
	var st Stat
	err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &st)
	return st, err
}

func withSize(st Stat, size int64) Stat {
	st.FileSizeHigh, st.FileSizeLow = uint32(size>>32), uint32(size)
	return st
}

func unchanged(a, b Stat) bool {
	a.LastAccessTime = b.LastAccessTime // reading may set it
	return a == b
}
