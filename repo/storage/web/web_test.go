package web_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get asks a server for something, over a transport with options.
func get(t *testing.T, o web.Options, url string) error {
	t.Helper()
	tr, err := web.NewTransport(o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err == nil {
		res.Body.Close()
	}
	return web.Explain(err)
}

func TestCertificates(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	s.Config.ErrorLog = nil
	err := get(t, web.Options{}, s.URL)
	if !storage.IsPermanent(err) || !strings.Contains(fmt.Sprint(err), "vouches for the server's certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(t, web.Options{CACert: file}, s.URL); err != nil {
		t.Errorf("a certificate that is trusted: %v", err)
	}
	other := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if err := get(t, web.Options{CACert: file}, other); !storage.IsPermanent(err) || !strings.Contains(fmt.Sprint(err), "is for another name") {
		t.Errorf("a certificate for another name: %v", err)
	}
	if _, err := web.NewTransport(web.Options{CACert: filepath.Join(t.TempDir(), "missing")}); err == nil || errors.Is(err, storage.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestExplainShowsNoPassword(t *testing.T) {
	for _, url := range []string{"http://ann:secret@127.0.0.1:1/", "http://ann:secret@nowhere.invalid/"} {
		if err := get(t, web.Options{}, url); err == nil || strings.Contains(err.Error(), "secret") || storage.IsPermanent(err) {
			t.Errorf("%v", err)
		}
	}
}

// TestUploadThatIsGivenUp ends the context before the last byte is read, and behind it.
func TestUploadThatIsGivenUp(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1000)
	ctx, cancel := context.WithCancel(t.Context())
	err := web.Upload(ctx, data, func(sending context.Context, body io.Reader) error {
		if _, err := io.ReadFull(body, make([]byte, 999)); err != nil {
			t.Errorf("read the beginning: %v", err)
		}
		cancel()
		<-sending.Done() // else the test hangs
		n, err := body.Read(make([]byte, 1))
		if n != 0 || err == nil {
			t.Errorf("the last byte came all the same: %d, %v", n, err)
		}
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = web.Upload(ctx, data, func(sending context.Context, body io.Reader) error {
		if _, err := io.ReadAll(body); err != nil {
			t.Errorf("read: %v", err)
		}
		cancel()
		if sending.Err() != nil {
			t.Error("the request ended while the server could have all of it")
		}
		return nil // the answer came
	})
	if err != nil {
		t.Errorf("got %v for what was stored", err)
	}
	if err := web.Upload(ctx, data, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v before it began", err)
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, -1, ""}, {0, 10, "bytes=0-9"}, {5, 10, "bytes=5-14"}, {5, -1, "bytes=5-"}, {1, 1<<63 - 1, "bytes=1-"}} {
		if got, whole := web.Range(c.off, c.n); got != c.want || whole != (c.want == "") {
			t.Errorf("%d bytes from %d: %q", c.n, c.off, got)
		}
	}
}
