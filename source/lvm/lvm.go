package lvm

// Provider makes snapshots of logical volumes. Its zero value is ready.
type Provider struct {
	// Share is the room of a thick snapshot in percent of its origin, 0 for 20. It gets less if there is less in the volume group.
	Share int
	// Folder is where snapshots are mounted, each on a folder of its own, for kernels before 5.2 and for the reading by other programs. Empty
	// means nowhere if the kernel can do that.
	Folder string
}
