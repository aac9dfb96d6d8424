package storage

import (
	"context"
	"errors"
	"io/fs"
)

// permanent marks an error; its text stays as it is.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks err as one that trying again does not change: a wrong password, a certificate that nobody vouches for.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether trying again is of no use: err is marked, or says that the object is not there, or there already, that it or its name is
// not as it should be, that the user may not, that nobody may yet, that there is no room, or that the caller gave up.
func IsPermanent(err error) bool {
	var p permanent
	if errors.As(err, &p) {
		return true
	}
	if _, held := HeldUntil(err); held {
		return true
	}
	for _, known := range []error{ErrNotExist, ErrExist, errors.ErrUnsupported, ErrTooLarge, ErrFull, fs.ErrInvalid, fs.ErrPermission, context.Canceled} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// busy marks an error; its text stays as it is.
type busy struct{ error }

func (b busy) Unwrap() error { return b.error }

// Busy marks err as the answer of a server that is the right one, and can't do it now: a 503 of S3.
func Busy(err error) error {
	if err == nil {
		return nil
	}
	return busy{err}
}

// IsBusy reports whether err is an answer that says "come again": the store exists, so it is worth to wait for it as long as for one that has worked.
func IsBusy(err error) bool {
	var b busy
	return errors.As(err, &b)
}
