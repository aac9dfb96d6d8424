package rest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
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
		return rest.New(o)
	})
}
