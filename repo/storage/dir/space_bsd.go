//go:build darwin || freebsd

package dir

import "golang.org/x/sys/unix"

func statSpace(path string) (Space, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return Space{}, err
	}
	free := max(int64(st.Bavail), 0) // FreeBSD counts below zero when root has used the reserve
	return Space{Free: uint64(free) * uint64(st.Bsize), Total: uint64(st.Blocks) * uint64(st.Bsize)}, nil
}
