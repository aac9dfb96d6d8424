package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tarn-backup/tarn/repo"
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
}

func (o *opened) Close() { o.store.Close() }

// folder is the absolute path of a repository on this machine, or empty.
func (o *opened) folder() string {
	if d, ok := o.store.closer.(*dir.Dir); ok {
		return d.Path()
	}
	return ""
}

// open opens the repository, and asks for the password.
func (a *app) open(ctx context.Context) (*opened, error) {
	l, err := a.location()
	if err != nil {
		return nil, err
	}
	s, err := a.reach(ctx, l, mustExist)
	if errors.Is(err, storage.ErrNotExist) && !errors.Is(err, repo.ErrNoRepository) {
		return nil, fmt.Errorf("%s: %w", l.text, repo.ErrNoRepository)
	}
	if err != nil {
		return nil, err
	}
	defer debug.FreeOSMemory() // hashing the password took 64 MiB
	r, err := repo.Open(ctx, s, func() ([]byte, error) { return a.password(ctx) }, repo.OpenOptions{KDFMemoryMaxKiB: uint32(a.kdfMaxMemory >> 10)})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", l.text, err)
	}
	return &opened{r, l, s}, nil
}

// program is how this program signs what it writes.
func program() string { return "tarn " + buildOf().Version }
