package dir

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// renameToFree is renameat2 with RENAME_NOREPLACE, which network file systems answer with EINVAL.
func renameToFree(root *os.Root, from, to string) error {
	source, err := root.Open(filepath.Dir(from))
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := root.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer target.Close()
	err = unix.Renameat2(int(source.Fd()), filepath.Base(from), int(target.Fd()), filepath.Base(to), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return &os.LinkError{Op: "renameat2", Old: from, New: to, Err: err}
	}
	return nil
}
