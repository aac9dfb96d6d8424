package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/dir"
)

// location returns the folder that the repository is in.
func (a *app) location() (string, error) {
	if a.repository == "" {
		return "", withHint(errors.New("no repository is named"), "name it with -r PATH, or set TARN_REPOSITORY")
	}
	for _, kind := range []string{"s3", "sftp", "rclone", "rest"} {
		if strings.HasPrefix(a.repository, kind+":") {
			return "", withHint(fmt.Errorf("repository %s: storage by %s is not built yet", a.repository, kind),
				"name a folder; ./%s:... if the folder is called so", kind)
		}
	}
	return a.repository, nil
}

// opened is an open repository, to be closed.
type opened struct {
	*repo.Repo
	dir *dir.Dir
}

// Close lets go of the storage. The local cache goes with the process: what a mount still serves when it ends may look into it.
func (o *opened) Close() { o.dir.Close() }

// open opens the repository, and asks for the password.
func (a *app) open(ctx context.Context) (*opened, error) {
	path, err := a.location()
	if err != nil {
		return nil, err
	}
	d, err := dir.Open(path)
	if errors.Is(err, storage.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, repo.ErrNoRepository)
	}
	if err != nil {
		return nil, err
	}
	defer debug.FreeOSMemory() // hashing the password took 64 MiB
	o := repo.OpenOptions{KDFMemoryMaxKiB: uint32(a.kdfMaxMemory >> 10), IndexCache: a.indexCache}
	o.IndexCacheFailed = func(err error) { a.detailf("going on without the local cache: %v", err) }
	r, err := repo.Open(ctx, d, func() ([]byte, error) { return a.password(ctx) }, o)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &opened{r, d}, nil
}

// indexCache is the folder where this machine keeps what the packs of a repository hold, or "".
func (a *app) indexCache(id seal.RepoID) string {
	if a.noCache {
		return ""
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		a.detailf("going on without the local cache: %v", err)
		return ""
	}
	return filepath.Join(dir, "tarn", id.String(), "index")
}

// program is how this program signs what it writes.
func program() string { return "tarn " + buildOf().Version }
