package cache_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/repo/cache"
)

func open(t *testing.T, max int64) (*cache.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := cache.Open(path, max)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func TestPutAndGet(t *testing.T) {
	d, _ := open(t, 1<<20)
	for _, data := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("y"), 100_000), []byte("another")} {
		d.Put("index/abcdef", data)
		if got, ok := d.Get("index/abcdef"); !ok || !bytes.Equal(got, data) {
			t.Errorf("got %d bytes and %v, want %d", len(got), ok, len(data))
		}
	}
	if _, ok := d.Get("index/abcde0"); ok {
		t.Error("there is what nobody put")
	}
}

func TestStrangeKeys(t *testing.T) {
	d, path := open(t, 1<<20)
	for _, key := range []string{"", "/", "index", "index/", "index/ab", "../ab/abcdef", "index/../../x", "index/ab/cd", "Index/abcdef", "/abcdef"} {
		d.Put(key, []byte("x"))
		if _, ok := d.Get(key); ok {
			t.Errorf("%q is a key", key)
		}
	}
	if u, err := cache.Look(filepath.Dir(filepath.Dir(path))); err != nil || u.Files != 0 {
		t.Errorf("got %+v and %v, want no files", u, err)
	}
}

func TestTheOldestGo(t *testing.T) {
	d, path := open(t, 1000)
	for i := range 10 {
		key := fmt.Sprintf("meta/abcd-%d", i)
		d.Put(key, make([]byte, 300))
		used := time.Now().Add(time.Duration(i-20) * time.Hour)
		if err := os.Chtimes(filepath.Join(path, "meta", "ab", fmt.Sprintf("abcd-%d", i)), used, used); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, ok := d.Get(fmt.Sprintf("meta/abcd-%d", i)); ok != (i >= 7) {
			t.Errorf("entry %d: there is %v", i, ok)
		}
	}
	if u, err := cache.Look(path); err != nil || u.Files != 3 || u.Bytes != 900 {
		t.Errorf("got %+v and %v", u, err)
	}
}

func TestAUseIsNoted(t *testing.T) {
	d, path := open(t, 1000)
	d.Put("index/abcdef", []byte("x"))
	file, old := filepath.Join(path, "index", "ab", "abcdef"), time.Now().Add(-48*time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	d.Get("index/abcdef")
	if info, err := os.Stat(file); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("got %v and %v, want a time of today", info.ModTime(), err)
	}
}

func ExampleDir() {
	folder, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
	}
	defer os.RemoveAll(folder)
	d, err := cache.Open(folder, 64<<20)
	if err != nil {
		fmt.Println(err)
	}
	d.Put("index/0123456789abcdef", []byte("sealed bytes"))
	data, ok := d.Get("index/0123456789abcdef")
	fmt.Printf("%s %v\n", data, ok)
	fmt.Println(d.Close())
	// Output:
	// sealed bytes true
	// <nil>
}
