package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/source/live"
)

// capture captures one file as a backup does. A file that is to be taken up later is ErrLater.
func capture(ctx context.Context, c *live.Capturer, dirfd int, name string, pass live.Pass) ([]byte, live.Result, error) {
	f, err := c.Open(ctx, dirfd, name, pass)
	if err != nil {
		return nil, live.Result{}, err
	}
	defer f.Close()
	for {
		data, err := readAll(f)
		if err != nil {
			return nil, live.Result{}, err
		}
		r, err := f.Finish(ctx)
		switch {
		case err != nil:
			return nil, r, err
		case r.Later:
			return nil, r, fmt.Errorf("%s: %w", r.Reason, live.ErrLater)
		case !r.Again:
			if n := r.Stat.Size; n != int64(len(data)) {
				return nil, r, fmt.Errorf("the result says %d bytes, %d were read", n, len(data))
			}
			return data, r, nil
		}
		if err := f.Restart(ctx); err != nil {
			return nil, r, err
		}
	}
}

// readAll reads in small steps and, two times out of three, as slowly as if it had to wait for somebody, so that much can
// happen in between.
func readAll(f io.Reader) ([]byte, error) {
	var data []byte
	buf := make([]byte, 16<<10)
	for lag := rand.IntN(3) * 1000; ; {
		if lag > 0 && len(data) < 1<<20 {
			time.Sleep(time.Duration(rand.IntN(lag)) * time.Microsecond)
		}
		n, err := f.Read(buf)
		data = append(data, buf[:n]...)
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func newCapturer(t testing.TB, o live.Options) *live.Capturer {
	t.Helper()
	c, err := live.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), c.Close()); err != nil { // twice is no error
			t.Error(err)
		}
	})
	return c
}
