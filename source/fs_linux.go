package source

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FileSystem tells one file system from another, also after a restart of the machine.
type FileSystem struct {
	ID           string // equal only for the same file system
	StableInodes bool   // an inode number stands for one file as long as that exists
	Pseudo       bool   // made up by the kernel, such as /proc: nothing to back up
}

// FileSystem says which file system the folder is on (statfs(2)).
func (d *Dir) FileSystem() FileSystem {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return FileSystem{}
	}
	fs := FileSystem{ID: fmt.Sprintf("%x:%x:%x", uint64(st.Type), uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, 0x2FC12FC1: // the last is ZFS
		fs.StableInodes = true
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.PSTOREFS_MAGIC, unix.EFIVARFS_MAGIC, unix.BPF_FS_MAGIC, unix.BINFMTFS_MAGIC,
		unix.HUGETLBFS_MAGIC, unix.NSFS_MAGIC, unix.SELINUX_MAGIC, 0x19800202, 0x62656570, 0x65735543: // mqueue, configfs, fusectl
		fs.Pseudo = true
	}
	return fs
}
