package seal

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// preferHugePages has the heap's next allocation of size bytes lie in huge pages where the system leaves that to programs
// (/sys/kernel/mm/transparent_hugepage/enabled is madvise, as most distributions have it). Argon2 goes through its memory at random: with pages
// of 4 KiB most of the time that it takes is the kernel's, for 32,768 page faults.
//
// The package argon2 allocates for itself, so this relies on what the runtime does with a large block that is freed: the next one of its size is
// put in its place, and advice is the addresses'. If the runtime ever does otherwise, nothing but the gain is lost.
func preferHugePages(size int) {
	block := make([]byte, size)
	unix.Madvise(block, unix.MADV_HUGEPAGE) // an error means that there are none: as good as not asked
	runtime.KeepAlive(block)
	runtime.GC()
}
