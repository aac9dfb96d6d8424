package dir

import "golang.org/x/sys/unix"

func statSpace(path string) (Space, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return Space{}, err
	}
	block := uint64(st.Frsize) // what blocks are counted in; FUSE mounts may have another Bsize
	if block == 0 {
		block = uint64(st.Bsize)
	}
	return Space{Free: st.Bavail * block, Total: st.Blocks * block}, nil
}
