package storagetest

import (
	"context"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Check is a check for the tests of this package.
type Check struct {
	Name string
	Run  func(ctx context.Context, s storage.Storage) error
}

// Checks returns all checks.
func Checks() []Check {
	var out []Check
	for _, c := range checks() {
		out = append(out, Check{c.name, c.run})
	}
	return out
}
