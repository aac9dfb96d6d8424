package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// truncated is a store whose objects have lost their last byte since their sizes were looked up.
type truncated struct{ storage.Storage }

func (s truncated) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := s.Storage.Get(ctx, name, off, n)
	if err != nil || n == 0 {
		return r, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	// The reader breaks its promise and ends with io.EOF: ReadRange has to notice all the same.
	return io.NopCloser(iotest.OneByteReader(bytes.NewReader(data[:len(data)-1]))), nil
}

func store(t *testing.T, name string, data []byte) *memory.Store {
	t.Helper()
	s := memory.New()
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReadAll(t *testing.T) {
	const size = 1000
	data := bytes.Repeat([]byte("x"), size)
	s := store(t, "config", data)
	for _, limit := range []int64{0, 1, size - 1, size, size + 1, math.MaxInt64} {
		got, err := storage.ReadAll(t.Context(), s, "config", limit)
		if limit < size {
			if !errors.Is(err, storage.ErrTooLarge) || got != nil {
				t.Errorf("limit %d: got %d bytes and %v, want ErrTooLarge", limit, len(got), err)
			}
		} else if err != nil || !bytes.Equal(got, data) {
			t.Errorf("limit %d: got %d bytes and %v", limit, len(got), err)
		}
	}
	if _, err := storage.ReadAll(t.Context(), s, "keys/1", size); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("missing object: got %v", err)
	}
}

func TestReadAllNamesTheObjectThatFails(t *testing.T) {
	s := failing{store(t, "config", []byte("x"))}
	_, err := storage.ReadAll(t.Context(), s, "config", 10)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "config") {
		t.Errorf("got %v", err)
	}
}

// failing is a store whose readers end early, as they should say.
type failing struct{ storage.Storage }

func (failing) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), nil
}

func TestReadRange(t *testing.T) {
	const size = 100
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i)
	}
	s := store(t, "config", data)
	for _, off := range []int64{0, 1, size / 2, size - 1, size} {
		for _, n := range []int64{0, 1, size - off, size - off + 1} {
			p := make([]byte, n)
			err := storage.ReadRange(t.Context(), s, "config", p, off)
			if off+n > size {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d bytes at %d: got %v", n, off, err)
				}
			} else if err != nil || !bytes.Equal(p, data[off:off+n]) {
				t.Errorf("%d bytes at %d: got %x and %v", n, off, p, err)
			}
			if n > 0 && off+n <= size {
				if err := storage.ReadRange(t.Context(), truncated{s}, "config", p, off); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d bytes at %d of a truncated object: got %v", n, off, err)
				}
			}
		}
	}
	if err := storage.ReadRange(t.Context(), s, "keys/1", make([]byte, 1), 0); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("missing object: got %v", err)
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct{ size, off, n, want int64 }{
		{0, 0, -1, 0}, {0, 0, 0, 0}, {10, 0, -1, 10}, {10, 3, -1, 7}, {10, 3, 7, 7}, {10, 10, -1, 0}, {10, 10, 0, 0}, {10, 9, 1, 1},
	} {
		if got, err := storage.Range(c.size, c.off, c.n); got != c.want || err != nil {
			t.Errorf("%+v: got %d and %v", c, got, err)
		}
	}
	for _, c := range []struct{ size, off, n int64 }{
		{0, 0, 1}, {0, 1, -1}, {10, 3, 8}, {10, 11, 0}, {10, 11, -1}, {10, 1, math.MaxInt64}, {10, math.MaxInt64, math.MaxInt64},
	} {
		if _, err := storage.Range(c.size, c.off, c.n); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: got %v, want io.ErrUnexpectedEOF", c, err)
		}
	}
	if _, err := storage.Range(10, -1, 5); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("from -1: got %v, want fs.ErrInvalid", err)
	}
}

func TestValidLabel(t *testing.T) {
	for label, want := range map[string]bool{
		"0123456789abcdef": true, "z": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "A": false, "a-b": false, "a/b": false, "ä": false,
	} {
		if got := storage.ValidLabel(label); got != want {
			t.Errorf("%q: got %v", label, got)
		}
	}
}

// FuzzCheckName looks for a name that passes and could still leave a folder or be two names at once.
func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"config", "data/ab/cd", "../x", "a/../b", "a//b", "/a", "a/", ".", ".nfs1", "a.",
		"tmp/x", "A", "a\\b", "a\x00", "a/b/c/d"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if (storage.CheckPrefix(name+"/") == nil) != (storage.CheckName(name) == nil && strings.Count(name, "/") < 2) {
			t.Errorf("%q: name and prefix do not agree", name)
		}
		if storage.CheckName(name) != nil {
			return
		}
		if !fs.ValidPath(name) || !filepath.IsLocal(name) || path.Clean(name) != name || name == "." || len(name) > storage.NameSizeMax {
			t.Errorf("%q is no plain path", name)
		}
		if strings.ToLower(name) != name || strings.ContainsAny(name, "\\: \x00") {
			t.Errorf("%q has letters that are not the same everywhere", name)
		}
		if first, _, _ := strings.Cut(name, "/"); first == "tmp" {
			t.Errorf("%q is the adapter's own", name)
		}
	})
}

func ExampleReadRange() {
	ctx := context.Background()
	s := memory.New()
	if err := s.Put(ctx, "data/ab/1", []byte("segment one, segment two")); err != nil {
		fmt.Println(err)
	}
	p := make([]byte, len("segment two"))
	if err := storage.ReadRange(ctx, s, "data/ab/1", p, 13); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s\n", p)
	// Output: segment two
}
