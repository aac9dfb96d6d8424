package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// targets are where restores go to. None may meet what is left of another one: an ext4 without a journal passes over inodes that were removed in
// the last minutes one by one (recently_deleted in the kernel), which makes a restore up to ten times as slow for whoever comes next. So each
// gets a file system that was just made, or, where that can't be had, a folder that stays until all is measured.
type targets struct {
	dir   string // holds them, and nothing else
	own   bool
	count int // folders that stay
}

// What a report says of targets.
const (
	targetsOwn  = "an ext4 of its own, just made in an image"
	targetsKept = "a new folder; all of them stay until the end"
)

// newTargets finds out which way can be gone here. Who interrupted an earlier run may have left a target behind.
func newTargets(ctx context.Context, dir string) (*targets, error) {
	t := &targets{dir: dir, own: true}
	if isMount(t.mount()) {
		unmount(t.mount())
	}
	removeAll(dir)
	_, end, err := t.open(ctx, 1, 1)
	if err == nil {
		return t, end()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	t.own = false
	return t, nil
}

func (t *targets) mount() string { return filepath.Join(t.dir, "mnt") }

func (t *targets) about() string {
	if t.own {
		return targetsOwn
	}
	return targetsKept
}

// open makes an empty folder that has room for so many files and bytes. Whoever used it calls end.
func (t *targets) open(ctx context.Context, files int, bytes int64) (folder string, end func() error, err error) {
	if !t.own {
		t.count++
		folder = filepath.Join(t.dir, strconv.Itoa(t.count))
		return folder, func() error { return nil }, os.MkdirAll(folder, 0o755)
	}
	image := filepath.Join(t.dir, "image")
	end = func() error {
		if isMount(t.mount()) {
			unmount(t.mount())
		}
		return os.Remove(image)
	}
	if err = os.MkdirAll(t.mount(), 0o755); err != nil {
		return "", nil, err
	}
	if err = mountNew(ctx, image, t.mount(), files, bytes); err == nil {
		folder = filepath.Join(t.mount(), "out") // the file system's own root has lost+found
		err = os.Mkdir(folder, 0o755)
	}
	if err != nil {
		return "", nil, errors.Join(err, end())
	}
	return folder, end, nil
}

// close removes what stayed.
func (t *targets) close() { removeAll(t.dir) }
