package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/locks"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

// Options say where the server is. URL and Transport must be set.
type Options struct {
	URL       *url.URL // of the repository; user and password are sent, and never shown
	Transport http.RoundTripper
	Layout    locks.Layout // what the server takes; if it has no folders, what restic's rest-server does
}

// Server is a server as it is. Its methods refuse names that the server does not take.
type Server struct {
	url    url.URL
	client http.Client
	layout locks.Layout
}

// NewServer returns a server without envelopes: names that it does not take are invalid.
func NewServer(o Options) *Server {
	s := &Server{url: *o.URL, layout: o.Layout}
	if len(s.layout.Folders) == 0 {
		s.layout = locks.Restic()
	}
	s.url.Path = strings.TrimSuffix(s.url.Path, "/") + "/"
	s.client = http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// Create makes the folders of a repository, on servers that have some.
func (s *Server) Create(ctx context.Context) error {
	u := s.url
	u.RawQuery = "create=true"
	res, err := s.do(ctx, http.MethodPost, u, nil, nil)
	if err != nil {
		return fmt.Errorf("create %s: %w", s, err)
	}
	res.Body.Close()
	return nil
}

// String is the address, without the password.
func (s *Server) String() string {
	u := s.url
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}

// folder is the server's folder for a name that it takes: locks/ or one of the layout.
func (s *Server) takes(name string) bool {
	rest, ok := strings.CutPrefix(name, "locks/")
	return s.layout.Takes(name) || ok && !strings.Contains(rest, "/")
}

// address is where an object is.
func (s *Server) address(name string) (url.URL, error) {
	u := s.url
	if err := storage.CheckName(name); err != nil {
		return u, err
	}
	if !s.takes(name) {
		return u, fmt.Errorf("the server takes no object %q: %w", name, fs.ErrInvalid)
	}
	if rest, ok := strings.CutPrefix(name, "data/"); ok {
		name = "data/" + rest[strings.IndexByte(rest, '/')+1:]
	}
	u.Path += name
	return u, nil
}

// do sends a request; what is not a success is an error.
func (s *Server) do(ctx context.Context, method string, u url.URL, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "", nil)
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = &u, u.Host
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
		u.User = nil
	}
	for key := range header {
		req.Header.Set(key, header.Get(key))
	}
	if b, ok := body.(*sized); ok && b.size > 0 {
		req.Body, req.ContentLength = io.NopCloser(b), b.size
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, web.Explain(err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		io.CopyN(io.Discard, res.Body, 4096) // so that the connection can be used again
		res.Body.Close()
		return nil, refusal{web.Status(res.StatusCode), res.StatusCode}
	}
	return res, nil
}

// sized is a body whose length is known.
type sized struct {
	io.Reader
	size int64
}

// refusal is an answer that is no success.
type refusal struct {
	error
	code int
}

func (r refusal) Unwrap() error { return r.error }

func isStatus(err error, codes ...int) bool {
	var r refusal
	if errors.As(err, &r) {
		for _, code := range codes {
			if r.code == code {
				return true
			}
		}
	}
	return false
}

// Put posts an object. One that is there already, with the same bytes, is as good.
func (s *Server) Put(ctx context.Context, name string, data []byte) error {
	u, err := s.address(name)
	if err == nil {
		err = s.post(ctx, u, data)
	}
	if isStatus(err, http.StatusForbidden, http.StatusConflict) {
		err = s.settle(ctx, name, data, err)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (s *Server) post(ctx context.Context, u url.URL, data []byte) error {
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	return web.Upload(ctx, data, func(ctx context.Context, body io.Reader) error {
		res, err := s.do(ctx, http.MethodPost, u, header, &sized{body, int64(len(data))})
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
}

// settle finds out what a Put means that was refused: the object is there with the same bytes; or with others, then it is removed and put
// again; or it is not, then refused is the error.
func (s *Server) settle(ctx context.Context, name string, data []byte, refused error) error {
	there, err := storage.ReadAll(ctx, s, name, int64(len(data)))
	switch {
	case err == nil && bytes.Equal(there, data):
		return nil
	case err != nil && !errors.Is(err, storage.ErrTooLarge):
		return refused
	}
	if err := s.Remove(ctx, name); err != nil {
		return errors.Join(refused, err)
	}
	u, err := s.address(name)
	if err != nil {
		return err
	}
	return s.post(ctx, u, data)
}

// Remove deletes an object.
func (s *Server) Remove(ctx context.Context, name string) error {
	u, err := s.address(name)
	if err == nil {
		err = web.Settle(ctx, func(ctx context.Context) error {
			res, err := s.do(ctx, http.MethodDelete, u, nil, nil)
			if err != nil {
				return err
			}
			return res.Body.Close()
		})
	}
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	if isStatus(err, http.StatusForbidden) {
		err = fmt.Errorf("%w (an append-only server lets nobody remove this: prune on the server's machine)", err)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// sizeOf asks how long an object is.
func (s *Server) sizeOf(ctx context.Context, u url.URL) (int64, error) {
	res, err := s.do(ctx, http.MethodHead, u, nil, nil)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	if res.ContentLength < 0 {
		n, err := strconv.ParseInt(res.Header.Get("Content-Length"), 10, 64)
		if err != nil || n < 0 {
			return 0, errors.New("the server does not say how long the object is")
		}
		return n, nil
	}
	return res.ContentLength, nil
}
