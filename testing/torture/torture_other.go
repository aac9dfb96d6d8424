//go:build !linux

package torture

import "errors"

// Make works on Linux only.
func Make(string, Options) ([]Skipped, error) { return nil, errors.ErrUnsupported }

// Describe works on Linux only.
func Describe(string) ([]string, error) { return nil, errors.ErrUnsupported }

// Remove works on Linux only.
func Remove(string) error { return errors.ErrUnsupported }
