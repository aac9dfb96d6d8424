package rclone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/limit"
	"github.com/tarn-backup/tarn/repo/storage/locks"
	"github.com/tarn-backup/tarn/repo/storage/pipe"
	"github.com/tarn-backup/tarn/repo/storage/rest"
)

// Options say what to run. Remote must be set.
type Options struct {
	Remote  string   // remote:path
	Program string   // empty: rclone
	Args    []string // before the remote; if nil those that are needed
	Limits  *limit.Limits
}

// Store is a running rclone, and the store behind it.
type Store struct {
	storage.Storage
	server    *rest.Server
	options   Options
	transport *http.Transport

	mu      sync.Mutex    // guards process
	process *pipe.Process // the one that was started last; nil before the first
}

// layout is what rclone takes: all folders of a repository, with any names.
func layout() locks.Layout {
	return locks.Layout{Folders: []string{"keys/", "index/", "snapshots/", "sessions/", "evictions/", "trash/", "wait/", "looks/", "settings/", "parity/"}}
}

// Open starts rclone with the first request.
func Open(o Options) *Store {
	if o.Program == "" {
		o.Program = "rclone"
	}
	if o.Args == nil {
		// Nothing may be cached: other machines write to the remote, too.
		o.Args = []string{"serve", "restic", "--stdio", "--b2-hard-delete", "--cache-objects=false"}
	}
	s := &Store{options: o}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s.transport = &http.Transport{DialContext: s.dial, Protocols: protocols, DisableCompression: true}
	address := &url.URL{Scheme: "http", Host: "rclone"}
	s.server = rest.NewServer(rest.Options{URL: address, Transport: explaining{s}, Layout: layout()})
	s.Storage = locks.Wrap(s.server, layout())
	return s
}

// Create makes the folder, where the remote has folders.
func (s *Store) Create(ctx context.Context) error {
	if err := s.server.Create(ctx); err != nil {
		return fmt.Errorf("rclone:%s: %w", s.options.Remote, err)
	}
	return nil
}

// Close ends rclone.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	return s.process.Close()
}

// dial starts rclone, since none runs, or the one that ran is gone.
func (s *Store) dial(context.Context, string, string) (net.Conn, error) {
	argv := append([]string{s.options.Program}, s.options.Args...)
	p, err := pipe.Start(append(argv, s.options.Remote), nil, s.options.Limits)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.Close()
	}
	s.process = p
	return p, nil
}

// explaining adds to a failed request why rclone went away, if it did.
type explaining struct{ *Store }

func (e explaining) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := e.transport.RoundTrip(req)
	if err == nil || req.Context().Err() != nil {
		return res, err
	}
	e.mu.Lock()
	p := e.process
	e.mu.Unlock()
	if p == nil {
		return nil, err
	}
	select {
	case <-p.Ended():
	default:
		return nil, err
	}
	said := clean(p.Last())
	err = fmt.Errorf("rclone ended: %s", said)
	if said == "" {
		err = errors.New("rclone ended without a word")
	}
	if hopeless(said) {
		err = storage.Permanent(err)
	}
	return nil, err
}

// hopeless reports whether rclone says that what it was asked for makes no sense.
func hopeless(said string) bool {
	return slices.ContainsFunc([]string{"didn't find section in config file", "unknown flag", "unknown command", "Failed to create file system", "Failed to load config"},
		func(s string) bool { return strings.Contains(said, s) })
}

// clean removes the date that rclone's messages begin with.
func clean(line string) string {
	return regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d +(CRITICAL|ERROR|NOTICE|Fatal error)? *:? *`).ReplaceAllString(line, "")
}
