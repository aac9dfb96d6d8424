//go:build !linux

package dir

import (
	"errors"
	"os"
)

func renameToFree(*os.Root, string, string) error { return errors.ErrUnsupported }
