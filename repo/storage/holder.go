package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Holder is a Storage that can hold objects for a time in which nobody can remove their bytes, whatever his rights: object lock. Its Put holds
// what should last (HoldUntil), and its Remove of a pack that is held is a HeldError. Other objects can be taken out of sight.
type Holder interface {
	Storage
	// HoldTime is for how long at least everything is to be held that is needed after a backup; 0 if nothing is.
	HoldTime() time.Duration
	// Hold holds an object until then, or as long as it is held already. It is an error that wraps ErrNotExist if the object is gone.
	Hold(ctx context.Context, name string, until time.Time) error
	// Held returns until when an object is held; the zero Time if it is not.
	Held(ctx context.Context, name string) (time.Time, error)
}

// HoldUntil is until when an object is to be held that is put at now: for longer than asked, by half, so that what is needed for long has to be
// held anew only when half of the time has passed. That takes a request for each object.
func HoldUntil(now time.Time, hold time.Duration) time.Time { return now.Add(hold + hold/2) }

// HeldError says that an object can't be removed before a time.
type HeldError struct{ Until time.Time }

func (h HeldError) Error() string {
	return fmt.Sprintf("it is locked until %s", h.Until.Format(time.DateTime))
}

// HeldUntil returns until when an object is held that Remove refused to remove for that.
func HeldUntil(err error) (time.Time, bool) {
	var held HeldError
	return held.Until, errors.As(err, &held)
}
