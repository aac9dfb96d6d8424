//go:build !linux

package bench

import (
	"context"
	"errors"
)

func isMount(string) bool { return false }

func mountNew(context.Context, string, string, int, int64) error { return errors.ErrUnsupported }
