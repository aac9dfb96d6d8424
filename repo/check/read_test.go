package check

import (
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
)

// zeros is a pack that goes on.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestTailIsBounded: a storage that says a pack is huge, and has bytes for it, does not fill the memory with what follows the segments.
func TestTailIsBounded(t *testing.T) {
	for _, size := range []int64{64 << 20, 1 << 40} {
		s := &stream{r: io.LimitReader(zeros{}, 64<<20), hash: sha256.New(), size: seal.HeaderSize}
		if err := readTail(s, nil, size, &index.Pack{}); !errors.Is(err, seal.ErrCorrupt) || s.size != seal.HeaderSize {
			t.Errorf("%d bytes were read of %d: %v", s.size, size, err)
		}
	}
}
