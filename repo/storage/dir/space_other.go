//go:build !linux && !darwin && !freebsd && !windows

package dir

import "errors"

func statSpace(string) (Space, error) { return Space{}, errors.ErrUnsupported }
