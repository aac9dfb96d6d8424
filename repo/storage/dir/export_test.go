package dir

// What the tests need to run a Dir over a disk of their own.
type (
	Disk = disk
	File = file
)

// Over returns a Dir on d.
func Over(d Disk) *Dir { return over(d, "simulated disk") }

// MakePath is how Create makes its folder.
func MakePath(path string, sync func(folder string) error) error { return makePath(path, sync) }
