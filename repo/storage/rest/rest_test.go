package rest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/locks"
	"github.com/tarn-backup/tarn/repo/storage/rest"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
	"github.com/tarn-backup/tarn/repo/storage/web"
	"github.com/tarn-backup/tarn/testing/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func transport(t *testing.T) *http.Transport {
	t.Helper()
	tr, err := web.NewTransport(web.Options{Connections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func options(t *testing.T, addr, path string) rest.Options {
	return rest.Options{URL: &url.URL{Scheme: "http", Host: addr, Path: path}, Transport: transport(t)}
}

func folder(t *testing.T) string {
	return "/" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
}

func TestStorage(t *testing.T) {
	server := servers.StartREST(t)
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		o := options(t, server.Addr, folder(t))
		if err := rest.NewServer(o).Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		return locks.Wrap(rest.NewServer(o), locks.Restic())
	})
}

// TestAppendOnly has a server that lets nobody remove anything but what is in envelopes.
func TestAppendOnly(t *testing.T) {
	server := servers.StartREST(t, "--append-only")
	o := options(t, server.Addr, "/repo")
	if err := rest.NewServer(o).Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := locks.Wrap(rest.NewServer(o), locks.Restic())
	data := []byte("a pack")
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	pack := "data/" + sum[:2] + "/" + sum
	for range 2 { // the second time it is there
		for _, name := range []string{pack, "sessions/0123456789abcdef0123456789abcdef", "evictions/0123456789abcdef0123456789abcdef"} {
			if err := s.Put(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Remove(t.Context(), "sessions/0123456789abcdef0123456789abcdef"); err != nil {
		t.Errorf("remove a session: %v", err)
	}
	if err := s.Remove(t.Context(), pack); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("remove a pack: %v", err)
	}
	var names []string
	if err := s.List(t.Context(), "", func(name string, _ int64) error { names = append(names, name); return nil }); err != nil || len(names) != 2 {
		t.Errorf("got %v and %v", names, err)
	}
}

func FuzzDecodeList(f *testing.F) {
	f.Add([]byte(`[{"name":"00","size":1},{"name":"01","size":2}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`[{"name":"../x","size":1}]`))
	f.Add([]byte(`[{"name":"00","size":-1}]`))
	f.Add([]byte(`[{"name":"00","size":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, err := rest.DecodeList(bytes.NewReader(text)); err == nil && n > len(text) {
			t.Errorf("%d objects in %d bytes", n, len(text))
		}
	})
}
