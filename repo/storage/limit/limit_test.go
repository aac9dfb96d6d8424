package limit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/tarn-backup/tarn/repo/storage/limit"
)

func TestNoLimit(t *testing.T) {
	var none *limit.Limits
	r := bytes.NewReader(nil)
	if none.Reader(t.Context(), r) != io.Reader(r) || limit.New(0, 0).Reader(t.Context(), r) != io.Reader(r) {
		t.Error("what is not limited is wrapped")
	}
}

func TestAllBytesComeThrough(t *testing.T) {
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	l := limit.New(1<<30, 1<<30)
	var out bytes.Buffer
	if n, err := l.Writer(t.Context(), &out).Write(data); n != len(data) || err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("wrote %d: %v", n, err)
	}
	if got, err := io.ReadAll(l.Reader(t.Context(), bytes.NewReader(data))); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d: %v", len(got), err)
	}
}

// TestTheRateHolds asks for more than a second's worth with a context that has ended: only what the rate allows at once may pass.
func TestTheRateHolds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	n, err := limit.New(20_000, 0).Writer(ctx, &out).Write(make([]byte, 100_000))
	if !errors.Is(err, context.Canceled) || n > 20_000 || n != out.Len() {
		t.Errorf("wrote %d bytes of 100,000 at 20,000 a second at once: %v", n, err)
	}
}

func TestCloseEndsTheWait(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := limit.New(1, 0).Conn(a)
	go io.Copy(io.Discard, b)
	done := make(chan error)
	go func() {
		_, err := c.Write(make([]byte, 1<<20))
		done <- err
	}()
	c.Close()
	if err := <-done; err == nil {
		t.Error("a MiB went out at a byte a second")
	}
}
