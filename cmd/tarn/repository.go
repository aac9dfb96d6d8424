package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/cache"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/dir"
)

// location returns where the repository is.
func (a *app) location() (location, error) {
	if a.repository == "" {
		return location{}, withHint(errors.New("no repository is named"), "name it with -r PATH, or set TARN_REPOSITORY")
	}
	return parseLocation(a.repository)
}

// shownRepository is what people see of -r: no passwords.
func (a *app) shownRepository() string {
	l, err := a.location()
	if err != nil {
		return "repository"
	}
	return l.text
}

// isFar reports whether the repository is on another machine.
func (a *app) isFar() bool {
	l, err := a.location()
	return err == nil && l.kind != kindFolder
}

// opened is an open repository, to be closed.
type opened struct {
	*repo.Repo
	place location
	store *store
	cache *cache.Dir // nil if there is none
}

// Close lets go of the storage. The local index cache goes with the process: what a mount still serves when it ends may look into it.
func (o *opened) Close() {
	if o.cache != nil {
		_ = o.cache.Close() // one that stays too large is told of by tarn cache
	}
	o.store.Close()
}

// folder is the absolute path of a repository on this machine, or empty.
func (o *opened) folder() string {
	if d, ok := o.store.closer.(*dir.Dir); ok {
		return d.Path()
	}
	return ""
}

// open opens the repository, and asks for the password.
func (a *app) open(ctx context.Context) (*opened, error) { return a.openWith(ctx, useCache) }

// caching says whether what is kept on this machine may be used.
type caching uint8

const (
	useCache caching = iota
	noCache          // what is stored is to be looked at, and nothing else
)

// passwordTries is how often a password can be typed.
const passwordTries = 3

// readAhead is how much of a pack is asked for at once, of a far store.
const readAhead = 4 << 20

func (a *app) openWith(ctx context.Context, use caching) (*opened, error) {
	l, err := a.location()
	if err != nil {
		return nil, err
	}
	defer a.waitsFor(l.text + " to open")()
	s, err := a.reach(ctx, l, mustExist)
	if errors.Is(err, storage.ErrNotExist) && !errors.Is(err, repo.ErrNoRepository) {
		return nil, fmt.Errorf("%s: %w", l.text, repo.ErrNoRepository)
	}
	if err != nil {
		return nil, err
	}
	defer debug.FreeOSMemory() // hashing the password took 64 MiB
	o := &opened{place: l, store: s}
	options := repo.OpenOptions{KDFMemoryMaxKiB: uint32(a.kdfMaxMemory >> 10)}
	if use == useCache {
		options.IndexCache = a.indexCache
		options.IndexCacheFailed = func(err error) { a.detailf("going on without the local cache: %v", err) }
	}
	if l.kind != kindFolder {
		options.Far = func(id seal.RepoID) repo.Far {
			far := repo.Far{Requests: a.store.connections, ReadAhead: readAhead}
			if use == useCache {
				if o.cache = a.openCache(id.String()); o.cache != nil {
					far.Cache = o.cache
				}
			}
			return far
		}
	}
	for try := 1; ; try++ {
		o.Repo, err = repo.Open(ctx, s.Storage, func() ([]byte, error) { return a.password(ctx) }, options)
		if !errors.Is(err, repo.ErrPassword) || a.passwordFrom != "" || try == passwordTries {
			break
		}
		a.sayf("wrong password\n")
	}
	if err != nil {
		s.Close()
		if isInterrupted(ctx) {
			return nil, errInterrupted
		}
		return nil, fmt.Errorf("%s: %w", l.text, err)
	}
	if err := o.CanWrite(); errors.Is(err, repo.ErrOldKey) {
		a.warnf("%v", err)
	}
	return o, nil
}

// indexCache is the folder where this machine keeps what the packs of a repository hold, or "".
func (a *app) indexCache(id seal.RepoID) string {
	if a.cache.off {
		return ""
	}
	folder, err := a.cache.folder()
	if err != nil {
		a.detailf("going on without the local cache: %v", err)
		return ""
	}
	return filepath.Join(folder, id.String(), "packs")
}

// program is how this program signs what it writes.
func program() string { return "tarn " + buildOf().Version }
