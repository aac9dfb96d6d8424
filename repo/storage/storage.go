package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
)

// ErrNotExist is wrapped when an object or a whole repository is not there; it is fs.ErrNotExist.
var ErrNotExist = fs.ErrNotExist

// ErrNoPlace is wrapped, besides ErrNotExist, when the place is not there in which objects would be: a bucket.
var ErrNoPlace = errors.New("the place does not exist")

// ErrTooLarge is wrapped when an object is longer than its reader allows.
var ErrTooLarge = errors.New("object is too large")

// ErrFull is wrapped by Put when the store has no room left, or its user no quota.
var ErrFull = errors.New("the storage is full")

// Storage keeps immutable objects by name. Names are slash-separated paths of lower-case letters, digits, '-', '_' and '.':
// "config", "keys/<hex>", "data/ab/<hex>". All methods may be called by many goroutines at once, and give up when ctx ends.
//
// What tarn's protocol assumes of a store (each point is a test in storagetest):
//   - Put is atomic, and durable when it returns: the object is there whole or not at all, also after a power cut.
//   - Get and List that begin after a Put or Remove returned see what it did.
//   - List reports every object that existed during the whole of the call.
//   - No request takes effect after its sender got the answer to a later try of the same.
type Storage interface {
	// Put stores an object, and replaces one of the same name. It must not change or keep data.
	Put(ctx context.Context, name string, data []byte) error
	// Get returns n bytes of an object from off, or everything from off if n is negative. A reader that ends early is an error
	// of the reader (io.ErrUnexpectedEOF), so that a truncated object is never taken for a short one; a range that does not lie
	// inside the object is the same error, of Get or of the reader. ErrNotExist is wrapped by Get if the object is not there.
	Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	// List calls fn for each object whose name begins with prefix, which is empty or ends with a slash, in no order, with its
	// size in bytes. fn may call the store. An error of fn ends it and is returned as it is.
	List(ctx context.Context, prefix string, fn func(name string, size int64) error) error
	// Remove removes an object. It is no error if it is not there.
	Remove(ctx context.Context, name string) error
}

// usualSize is how long most objects are that are read whole, in bytes.
const usualSize = 64 << 10

// ReadAll returns a whole object of at most limit bytes.
func ReadAll(ctx context.Context, s Storage, name string, limit int64) ([]byte, error) {
	r, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	size := int64(usualSize)
	if known, ok := r.(interface{ Len() int }); ok { // of a storage in memory
		size = int64(known.Len())
	}
	var buf bytes.Buffer
	buf.Grow(int(min(max(limit, 0), size)) + bytes.MinRead)
	_, err = buf.ReadFrom(io.LimitReader(r, min(limit, math.MaxInt64-1)+1)) // one more, to tell full from too large
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	data := buf.Bytes()
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return data, nil
}

// ReadRange fills p with the bytes of an object from off.
func ReadRange(ctx context.Context, s Storage, name string, p []byte, off int64) error {
	r, err := s.Get(ctx, name, off, int64(len(p)))
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes of %s at %d: %w", len(p), name, off, err)
	}
	return nil
}

// Range returns how many bytes Get(off, n) has of an object of size bytes. It is for adapters.
func Range(size, off, n int64) (int64, error) {
	if off < 0 {
		return 0, fmt.Errorf("read from %d: %w", off, fs.ErrInvalid)
	}
	if off > size || n > size-off {
		return 0, fmt.Errorf("read %d bytes at %d of %d: %w", n, off, size, io.ErrUnexpectedEOF)
	}
	if n < 0 {
		n = size - off
	}
	return n, nil
}

// Ordered is a Storage that lists in the order of the names, so that a List that was cut off can go on.
type Ordered interface {
	Storage
	// ListAfter is List, without the objects up to the one called after; all if it is empty.
	ListAfter(ctx context.Context, prefix, after string, fn func(name string, size int64) error) error
}
