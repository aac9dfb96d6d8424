package bench

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// isMount reports whether a file system is mounted at dir.
func isMount(dir string) bool {
	var here, above syscall.Stat_t
	return syscall.Stat(dir, &here) == nil && syscall.Stat(filepath.Dir(dir), &above) == nil && here.Dev != above.Dev
}

// mountNew makes an ext4 in a sparse file and mounts it at dir, which takes root. Its tables are not written by the kernel meanwhile.
func mountNew(ctx context.Context, image, dir string, files int, bytes int64) error {
	const spare = 1 << 30
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(spare + bytes + bytes/4 + int64(files)*(8<<10)); err == nil { // an inode, and the block that is not full
		err = f.Close()
	} else {
		f.Close()
	}
	if err != nil {
		return err
	}
	inodes := strconv.Itoa(2*files + 100_000) // folders have some, too
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-N", inodes, "-E", "nodiscard", image},
		{"mount", "-o", "loop,noinit_itable", image, dir},
	} {
		if _, err := Measure(ctx, Command{Args: args}); err != nil {
			return err
		}
	}
	return nil
}
