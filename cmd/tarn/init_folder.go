package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/tarn-backup/tarn/repo"
)

// refuseForeign returns an error if a folder holds anything but what an interrupted init leaves: nobody wants packs among his photos.
func refuseForeign(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	foreign := ""
	for _, e := range entries {
		if e.Name() == "config" {
			return fmt.Errorf("%s: %w", path, repo.ErrExists)
		}
		if !slices.Contains([]string{"keys", "tmp", "lost+found"}, e.Name()) {
			foreign = e.Name()
		}
	}
	if foreign != "" {
		return withHint(fmt.Errorf("%s is not empty (it has %q)", path, foreign), "name an empty folder, or one that is not there yet")
	}
	return nil
}
