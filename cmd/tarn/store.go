package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/dir"
	"github.com/tarn-backup/tarn/repo/storage/limit"
	"github.com/tarn-backup/tarn/repo/storage/locks"
	"github.com/tarn-backup/tarn/repo/storage/rclone"
	"github.com/tarn-backup/tarn/repo/storage/rest"
	"github.com/tarn-backup/tarn/repo/storage/retry"
	"github.com/tarn-backup/tarn/repo/storage/s3"
	"github.com/tarn-backup/tarn/repo/storage/sftp"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

// connectionsUsual is how many requests go to a far store at a time.
const connectionsUsual = 8

// storeFlags say how a store is reached.
type storeFlags struct {
	options          []string
	connections      int
	upload, download size
	caCert           string
	retryFor         length
	retain           string
}

func (s *storeFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVarP(&s.options, "option", "o", nil, "set `KEY=VALUE` for the kind of storage (see docs/repositories.md)")
	f.IntVar(&s.connections, "connections", connectionsUsual, "have `N` requests to a far storage at a time")
	f.Var(&s.upload, "limit-upload", "send at most `SIZE` a second to a far storage")
	f.Var(&s.download, "limit-download", "receive at most `SIZE` a second")
	f.StringVar(&s.caCert, "cacert", "", "trust the certificates in `FILE`, too")
	f.StringVar(&s.retain, "retain", "", "lock what snapshots need for `TIME` (30d) after each backup, where the storage can (S3 with object lock)")
	s.retryFor = length(15 * time.Minute)
	f.Var(&s.retryFor, "retry-for", "try again for `TIME` when the storage fails")
}

// store is a storage that is to be closed.
type store struct {
	storage.Storage
	closer io.Closer // nil if there is nothing to close
}

// Close ends its connections.
func (s *store) Close() {
	if s.closer != nil {
		s.closer.Close()
	}
}

// optionsOf names the options of a kind.
func optionsOf(k kind) []string {
	switch k {
	case kindS3:
		return []string{"region", "style", "storage-class"}
	case kindSFTP:
		return []string{"command", "args"}
	case kindRclone:
		return []string{"program", "args"}
	}
	return nil
}

// values are the options of a kind, by the part before the dot.
func (s *storeFlags) values(k kind) (map[string]string, error) {
	values := map[string]string{}
	for _, o := range s.options {
		key, value, ok := strings.Cut(o, "=")
		of, name, dotted := strings.Cut(key, ".")
		known := optionsOf(kind(of))
		switch {
		case !ok || !dotted || known == nil:
			return nil, fmt.Errorf("--option %q: want s3.KEY=VALUE, sftp.KEY=VALUE or rclone.KEY=VALUE", o)
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("--option %q: %s knows %s", o, of, strings.Join(known, ", "))
		case kind(of) == k: // others are of no use, so that one set of options will do for many repositories
			values[name] = value
		}
	}
	return values, nil
}

// creation says whether a store is to be made.
type creation uint8

const (
	mustExist creation = iota
	mayCreate
)

// reach opens a store, wrapped in what all stores need.
func (a *app) reach(ctx context.Context, l location, c creation) (*store, error) {
	if a.store.retain != "" && l.kind != kindS3 {
		return nil, fmt.Errorf("--retain: only an S3 bucket with object lock can do that, and %s is none", l.text)
	}
	if a.store.connections < 1 {
		return nil, fmt.Errorf("--connections %d: want 1 or more", a.store.connections)
	}
	if _, err := a.store.values(l.kind); err != nil {
		return nil, err
	}
	limits := limit.New(int64(a.store.upload), int64(a.store.download))
	var s *store
	var err error
	switch l.kind {
	case kindFolder:
		s, err = openFolder(l, c)
	case kindS3:
		s, err = a.reachS3(ctx, l, limits, c)
	case kindSFTP:
		s, err = a.reachSFTP(ctx, l, limits, c)
	case kindRclone:
		s, err = a.reachRclone(ctx, l, limits, c)
	case kindREST:
		s, err = a.reachREST(ctx, l, limits, c)
	}
	if err != nil {
		return nil, err
	}
	if l.kind == kindREST {
		return s, nil // knows of envelopes already
	}
	marked, err := locks.Marked(ctx, s)
	if err != nil {
		s.Close()
		if errors.Is(err, storage.ErrNoPlace) {
			err = fmt.Errorf("%w: %w", repo.ErrNoRepository, err)
		}
		return nil, fmt.Errorf("%s: %w", l.text, err)
	}
	if marked { // clients come over HTTP, too
		s.Storage = locks.Wrap(s.Storage, locks.Restic())
	}
	return s, nil
}

func openFolder(l location, c creation) (*store, error) {
	open := dir.Open
	if c == mayCreate {
		open = dir.Create
	}
	d, err := open(l.folder)
	if err != nil {
		return nil, err
	}
	return &store{d, d}, nil
}

// again wraps a far store, so that what fails is tried again, and people are told.
func (a *app) again(s storage.Storage) *retry.Store {
	return retry.Wrap(s, retry.Options{Budget: max(time.Duration(a.store.retryFor), time.Nanosecond), Notify: func(f retry.Failure) {
		a.warnf("the storage fails: %v; trying again in %s", f.Err, f.Pause.Round(100*time.Millisecond))
	}})
}

func (a *app) transport(limits *limit.Limits) (*http.Transport, error) {
	return web.NewTransport(web.Options{CACert: a.store.caCert, Connections: a.store.connections, Limits: limits})
}

// idle closes a transport.
type idle struct{ *http.Transport }

func (i idle) Close() error {
	i.CloseIdleConnections()
	return nil
}

func (a *app) reachS3(ctx context.Context, l location, limits *limit.Limits, c creation) (*store, error) {
	values, err := a.store.values(kindS3)
	if err != nil {
		return nil, err
	}
	t, err := a.transport(limits)
	if err != nil {
		return nil, err
	}
	o := l.s3
	o.Transport, o.Region, o.Style, o.StorageClass = t, values["region"], s3.Style(values["style"]), values["storage-class"]
	if a.store.retain != "" {
		if o.Hold, err = parseDays(a.store.retain); err != nil {
			return nil, fmt.Errorf("--retain %q: %w", a.store.retain, err)
		}
	}
	s, err := s3.Open(o)
	if err != nil {
		return nil, err
	}
	again := a.again(s)
	if c == mayCreate {
		if err := again.Do(ctx, s.Create); err != nil {
			return nil, fmt.Errorf("%s: %w", l.text, err)
		}
	}
	return &store{again, idle{t}}, nil
}

func (a *app) reachREST(ctx context.Context, l location, limits *limit.Limits, c creation) (*store, error) {
	t, err := a.transport(limits)
	if err != nil {
		return nil, err
	}
	s := rest.NewServer(rest.Options{URL: l.rest, Transport: t})
	again := a.again(s)
	if c == mayCreate {
		if err := again.Do(ctx, s.Create); err != nil {
			return nil, err
		}
	}
	return &store{locks.Wrap(again, locks.Restic()), idle{t}}, nil
}

func (a *app) reachSFTP(ctx context.Context, l location, limits *limit.Limits, c creation) (*store, error) {
	values, err := a.store.values(kindSFTP)
	if err != nil {
		return nil, err
	}
	o := l.sftp
	o.Limits, o.Args, o.Command = limits, strings.Fields(values["args"]), strings.Fields(values["command"])
	s := sftp.New(o)
	again := a.again(s)
	first := s.Check
	if c == mayCreate {
		first = s.Make
	}
	if err := again.Do(ctx, first); err != nil {
		s.Close()
		return nil, err
	}
	missing, err := s.Missing(ctx)
	for _, m := range missing {
		a.detailf("%s: %s", l.text, m)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &store{again, s}, nil
}

func (a *app) reachRclone(ctx context.Context, l location, limits *limit.Limits, c creation) (*store, error) {
	values, err := a.store.values(kindRclone)
	if err != nil {
		return nil, err
	}
	o := rclone.Options{Remote: l.remote, Program: values["program"], Limits: limits}
	if args := strings.Fields(values["args"]); len(args) > 0 {
		o.Args = args
	}
	s := rclone.Open(o)
	if c == mayCreate {
		if err := s.Create(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return &store{a.again(s), s}, nil
}
