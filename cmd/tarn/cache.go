package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tarn-backup/tarn/repo/cache"
)

// cacheSizeUsual is how large the cache of one repository may get.
const cacheSizeUsual = 1 << 30

// cacheFlags say what of a repository is kept on this machine.
type cacheFlags struct {
	dir  string
	size size
	off  bool
}

func (c *cacheFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&c.dir, "cache-dir", os.Getenv("TARN_CACHE_DIR"), "keep what packs hold, and copies of a far repository's metadata, in `FOLDER` (TARN_CACHE_DIR)")
	f.Var(&c.size, "cache-size", "let the copies take `SIZE` for each repository (1G)")
	f.BoolVar(&c.off, "no-cache", false, "keep nothing about the repository on this machine")
	f.Lookup("cache-dir").DefValue = ""
}

// folder is where the caches are, one folder for each repository.
func (c *cacheFlags) folder() (string, error) {
	if c.dir != "" {
		return c.dir, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache: %w", err)
	}
	return filepath.Join(base, "tarn"), nil
}

// openCache opens the cache of a repository. Without one all works as well, but not as fast.
func (a *app) openCache(id string) *cache.Dir {
	if a.cache.off {
		return nil
	}
	max := int64(a.cache.size)
	if max == 0 {
		max = cacheSizeUsual
	}
	folder, err := a.cache.folder()
	if err == nil {
		var d *cache.Dir
		if d, err = cache.Open(filepath.Join(folder, id, "copies"), max); err == nil {
			return d
		}
	}
	a.detailf("no cache: %v", err)
	return nil
}

type cacheLine struct {
	Type       string    `json:"type"`
	Repository string    `json:"repository"`
	Folder     string    `json:"folder"`
	Bytes      int64     `json:"bytes"`
	Files      int       `json:"files"`
	Used       time.Time `json:"used,omitzero"`
	Removed    bool      `json:"removed,omitempty"`
}

func newCache(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "Look at what is kept of repositories on this machine, and clean it", Args: noArgs,
		Long: `What a repository's packs hold is kept on this machine, and copies of the metadata of repositories on other machines, so that a backup
need not read them again. The copies are sealed and bounded in size. All of it can be removed at any time.`,
		Example: `  tarn cache
  tarn cache clean
  tarn cache clean --unused 30d`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.showCaches() },
	}
	unused := ""
	clean := &cobra.Command{
		Use: "clean", Short: "Remove what is kept", Args: noArgs,
		Example: "  tarn cache clean --unused 30d",
		RunE: func(cmd *cobra.Command, args []string) error {
			var age time.Duration
			if unused != "" {
				var err error
				if age, err = parseDays(unused); err != nil {
					return fmt.Errorf("--unused %q: %w", unused, err)
				}
			}
			return a.cleanCaches(age)
		},
	}
	clean.Flags().StringVar(&unused, "unused", "", "only of repositories that were not used for `TIME` (such as 30d)")
	cmd.AddCommand(clean)
	return cmd
}

// isID reports whether a folder is named like a cache: nothing else is ever removed.
func isID(name string) bool {
	return len(name) == 32 && strings.Trim(name, "0123456789abcdef") == ""
}

// caches says which are there.
func (a *app) caches() ([]cacheLine, error) {
	folder, err := a.cache.folder()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at the cache: %w", err)
	}
	var list []cacheLine
	for _, e := range entries {
		if !e.IsDir() || !isID(e.Name()) {
			continue
		}
		path := filepath.Join(folder, e.Name())
		u, err := cache.Look(path)
		if err != nil {
			return nil, err
		}
		list = append(list, cacheLine{Type: "cache", Repository: e.Name(), Folder: path, Bytes: u.Bytes, Files: u.Files, Used: u.Used})
	}
	return list, nil
}

func (a *app) showCaches() error {
	list, err := a.caches()
	if err != nil {
		return err
	}
	t := table{head: []string{"Repository", "Size", "Files", "Used", "Folder"}, right: map[int]bool{1: true, 2: true}, gives: []int{4}}
	for _, l := range list {
		if a.json {
			a.emit(l)
			continue
		}
		used := ""
		if !l.Used.IsZero() {
			used = timeText(l.Used)
		}
		t.add(l.Repository[:8], bytesText(uint64(l.Bytes)), count(l.Files), used, a.stdout.name(l.Folder))
	}
	switch {
	case a.json:
	case len(list) == 0:
		a.notef("nothing is kept")
	default:
		t.print(&a.stdout)
	}
	return nil
}

// cleanCaches removes those that were not used for a while. What a backup that runs meanwhile looks for there, it fetches.
func (a *app) cleanCaches(unused time.Duration) error {
	list, err := a.caches()
	if err != nil {
		return err
	}
	removed, bytes := 0, int64(0)
	for _, l := range list {
		if time.Since(l.Used) < unused {
			continue
		}
		if err := os.RemoveAll(l.Folder); err != nil {
			return fmt.Errorf("clean the cache: %w", err)
		}
		removed, bytes = removed+1, bytes+l.Bytes
		if a.json {
			l.Removed = true
			a.emit(l)
		}
	}
	a.notef("removed what was kept of %s, %s", counted(removed, "repository"), bytesText(uint64(bytes)))
	return nil
}
