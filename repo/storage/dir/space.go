package dir

import "fmt"

// Space is the room of the file system that a store is on, in bytes.
type Space struct {
	Free  uint64 // for this user
	Total uint64
}

// Space asks the file system how much room there is. It wraps errors.ErrUnsupported where that is not known.
func (d *Dir) Space() (Space, error) {
	space, err := statSpace(d.path)
	if err != nil {
		return Space{}, fmt.Errorf("free space of %s: %w", d.path, err)
	}
	return space, nil
}

// freeText is for an error message, which is better without the figure than not at all.
func (d *Dir) freeText() string {
	space, err := d.Space()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", where %d bytes are free", space.Free)
}
