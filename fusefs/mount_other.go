//go:build !linux

package fusefs

import "context"

// Mounted is a mount.
type Mounted struct{}

// Mount returns ErrUnsupported.
func Mount(context.Context, Repository, string, Options) (*Mounted, error) {
	return nil, ErrUnsupported
}

// Dir is where it is mounted.
func (m *Mounted) Dir() string { return "" }

// Done is closed when the mount is gone.
func (m *Mounted) Done() <-chan struct{} { return nil }

// Unmount returns ErrUnsupported.
func (m *Mounted) Unmount() error { return ErrUnsupported }

// Detach returns ErrUnsupported.
func (m *Mounted) Detach() error { return ErrUnsupported }

// Unmount returns ErrUnsupported.
func Unmount(string, Force) error { return ErrUnsupported }

// Users returns nil.
func Users(string) []User { return nil }
