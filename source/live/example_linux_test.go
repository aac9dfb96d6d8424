package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/source/live"
)

// A backup opens each file, stores what it reads, and then asks what that is worth.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "live")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "letter"), []byte("Dear all"), 0o600); err != nil {
		log.Fatal(err)
	}
	dirfd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(dirfd)

	c, err := live.New(live.Options{Settle: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	store := func(pass live.Pass) error {
		f, err := c.Open(ctx, dirfd, "letter", pass)
		if err != nil {
			return err
		}
		defer f.Close()
		for {
			var stored strings.Builder
			if _, err := io.Copy(&stored, f); err != nil {
				return err
			}
			r, err := f.Finish(ctx)
			switch {
			case err != nil:
				return err
			case r.Later:
				return live.ErrLater
			case !r.Again:
				fmt.Printf("%q is %v\n", stored.String(), r.State)
				return nil
			}
			if err := f.Restart(ctx); err != nil {
				return err
			}
		}
	}
	err = store(live.First)
	if errors.Is(err, live.ErrLater) { // it was written a moment ago
		err = store(live.Second)
	}
	if err != nil {
		log.Fatal(err)
	}
	// Output: "Dear all" is whole
}

// A file that begins as a SQLite database does is taken with what belongs to it.
func ExampleCapturer_OpenSet() {
	ctx := context.Background()
	c, err := live.New(live.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	set, err := c.OpenSet(ctx, unix.AT_FDCWD, "places.sqlite", live.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close()
	for _, f := range set.Files() { // places.sqlite, then places.sqlite-wal
		if _, err := io.Copy(io.Discard, f); err != nil {
			log.Fatal(err)
		}
	}
	r, err := set.Finish(ctx)
	fmt.Println(r.State, err)
	// Output: open "places.sqlite": no such file or directory
}
