package storage

import (
	"context"
	"io/fs"
)

// ErrExist is wrapped by PutNew when another object of that name is there; it is fs.ErrExist.
var ErrExist = fs.ErrExist

// Creator is a Storage that can put an object and be sure that it replaced none.
type Creator interface {
	Storage
	// PutNew is Put if no object of that name is there, or one with the same bytes, such as an earlier try left. ErrExist is wrapped if
	// there is another: it stays as it is. Of several at the same moment one succeeds. errors.ErrUnsupported is wrapped where that can't be promised.
	PutNew(ctx context.Context, name string, data []byte) error
}
