package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

// listType is the second version of the protocol's lists, with sizes.
const listType = "application/vnd.x.restic.rest.v2"

// listSizeMax bounds a list, in bytes: ten million objects.
const listSizeMax = 1 << 30

// listTries is how often a list is asked for when the server says that there is no such folder: rest-server says so when a file is removed
// while it lists.
const listTries = 10

// listed is an object in a list.
type listed struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// List lists folders whole, since the server knows nothing smaller, and reports those objects that it takes.
func (s *Server) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	if err := storage.CheckPrefix(prefix); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	if prefix == "" {
		if err := s.listConfig(ctx, fn); err != nil {
			return err
		}
	}
	for _, folder := range append([]string{"data/", "locks/"}, s.layout.Folders...) {
		if !strings.HasPrefix(folder, prefix) && !strings.HasPrefix(prefix, folder) {
			continue
		}
		list, err := s.folder(ctx, folder)
		if err != nil {
			return fmt.Errorf("list %s: %w", folder, err)
		}
		for _, l := range list {
			name := folder + l.Name
			if folder == "data/" && len(l.Name) > 2 {
				name = folder + l.Name[:2] + "/" + l.Name
			}
			if !strings.HasPrefix(name, prefix) || storage.CheckName(name) != nil || !s.takes(name) {
				continue // a temporary file of the server's, or nothing of ours
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("list %s: %w", prefix, err)
			}
			if err := fn(name, l.Size); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) listConfig(ctx context.Context, fn func(name string, size int64) error) error {
	u, err := s.address("config")
	if err != nil {
		return err
	}
	size, err := s.sizeOf(ctx, u)
	if errors.Is(err, storage.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for config: %w", err)
	}
	return fn("config", size)
}

// folder asks for the list of a folder. All of it is read before anybody gets to see it, so that the connection is free again.
func (s *Server) folder(ctx context.Context, folder string) ([]listed, error) {
	u := s.url
	u.Path += folder
	header := http.Header{"Accept": {listType}}
	for try := 1; ; try++ {
		res, err := s.do(ctx, http.MethodGet, u, header, nil)
		if isStatus(err, http.StatusNotFound) {
			if try < listTries {
				continue
			}
			// An empty folder is an empty list; this is something else, and must not be taken for one.
			return nil, fmt.Errorf("the server can't list it: %s", err)
		}
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if t := res.Header.Get("Content-Type"); !strings.HasPrefix(t, listType) {
			return nil, storage.Permanent(fmt.Errorf("the server does not speak version 2 of restic's REST protocol (its list is %q)", t))
		}
		return decodeList(res.Body)
	}
}

// decodeList reads a list of objects.
func decodeList(r io.Reader) ([]listed, error) {
	limited := &io.LimitedReader{R: r, N: listSizeMax}
	dec := json.NewDecoder(limited)
	if _, err := dec.Token(); err != nil {
		return nil, listError(err)
	}
	var list []listed
	for dec.More() {
		var l listed
		if err := dec.Decode(&l); err != nil {
			return nil, listError(err)
		}
		if l.Size < 0 || strings.Contains(l.Name, "/") {
			return nil, listError(fmt.Errorf("an object %q of %d bytes", l.Name, l.Size))
		}
		list = append(list, l)
	}
	if _, err := dec.Token(); err != nil { // the end, so that a list that was cut is none
		return nil, listError(err)
	}
	if limited.N == 0 {
		return nil, listError(storage.ErrTooLarge)
	}
	return list, nil
}

func listError(err error) error {
	return fmt.Errorf("the server's list makes no sense: %w", web.Explain(err))
}
