package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/fusefs"
)

// mountCache is how much is kept in memory of what is read from a mount, if the user says nothing.
const mountCache = 64 << 20

// mountReserve is the memory that a mount needs beside its cache before the collector works harder.
const mountReserve = 112 << 20

type mountFlags struct {
	criteria
	templates  []string
	timeForm   string
	ownerMe    bool
	allowOther bool
	cache      size
	background bool
	log        string
	ready      int // descriptor to tell the process that waits for us
}

// mountedLine says that a mount is ready.
type mountedLine struct {
	Type string `json:"type"`
	Path string `json:"path"`
}

func newMount(a *app) *cobra.Command {
	flags := mountFlags{cache: mountCache}
	cmd := &cobra.Command{
		Use: "mount FOLDER", Short: "Show snapshots as folders", Args: argsBetween(1, 1),
		Long: `Show all snapshots as folders, read-only, until Ctrl-C, "tarn umount FOLDER" or "fusermount3 -u FOLDER". The folder must be empty.

In it are snapshots/TIME and snapshots/latest, ids/ID, hosts/HOST/TIME and tags/TAG/TIME. history/PATH merges all snapshots: each file
in it is a folder of its distinct versions. New snapshots appear by themselves.

--path-template changes the layout: %i is the short ID, %I the long one, %T the time, %h the host, %u the user, %t a tag.`,
		Example: `  tarn mount /mnt/backups
  tarn mount ~/past --host web --owner-me --background
  tarn mount /mnt/backups --path-template '%h/%T'
  diff -r /etc /mnt/backups/snapshots/latest/etc`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.bound(cmd.Flags(), a.cache.size)
			if flags.background {
				return a.mountInBackground(cmd.Context(), args[0])
			}
			return a.mount(cmd.Context(), &flags, args[0])
		},
	}
	flags.flags(cmd.Flags())
	return cmd
}

func (m *mountFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.BoolVar(&m.ownerMe, "owner-me", false, "everything is yours")
	f.BoolVar(&m.allowOther, "allow-other", false, "other users may look, as far as modes and ACLs let them")
	f.StringArrayVar(&m.templates, "path-template", nil, "show snapshots at `PATH` (any number)")
	f.StringVar(&m.timeForm, "time-template", "", "write times like `FORM`: 2006-01-02T15-04-05")
	f.Var(&m.cache, "memory-cache", "keep `SIZE` of what was read in memory; --cache-size is for the copies on disk, and bounds this, too")
	f.BoolVar(&m.background, "background", false, "return when the mount is ready")
	f.StringVar(&m.log, "log", "", "with --background: write what can't be read to `FILE`")
	f.IntVar(&m.ready, "ready-fd", 0, "")
	f.Lookup("ready-fd").Hidden = true
	f.Lookup("memory-cache").DefValue = "64M"
	m.criteria.flags(f)
}

// bound lets --cache-size, which is for the copies on disk, bound what is kept in memory as well: who gives it to a mount may mean either.
func (m *mountFlags) bound(f *pflag.FlagSet, copies size) {
	if !f.Changed("memory-cache") && copies > 0 {
		m.cache = min(m.cache, copies)
	}
}

func (m *mountFlags) options(a *app) fusefs.Options {
	o := fusefs.Options{Match: m.match, Templates: m.templates, TimeForm: m.timeForm, AllowOther: m.allowOther, CacheSize: int64(m.cache / 2),
		Device: "tarn:" + a.shownRepository()}
	if m.ownerMe {
		o.Owner = &fusefs.Owner{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	o.Report = func(path string, err error) {
		if path != "" {
			err = fmt.Errorf("%s: %w", path, err)
		}
		a.warnf("%v", err)
	}
	return o
}

func (a *app) mount(ctx context.Context, flags *mountFlags, dir string) error {
	collectAfter(gcMount)
	place, err := a.location()
	if err != nil {
		return err
	}
	if place.kind == kindFolder {
		if err := apart(place.folder, dir); err != nil {
			return err
		}
	}
	for i, p := range flags.paths {
		flags.paths[i] = absolute(p) // in the background we will be elsewhere
	}
	r, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	r.SetCacheSize(int64(flags.cache - flags.cache/2))
	limitMemory(flags.cache)
	m, err := fusefs.Mount(ctx, r.Repo, dir, flags.options(a))
	if err != nil {
		return mountHint(err, dir)
	}
	if err := a.mountReady(flags, m.Dir()); err != nil {
		return errors.Join(err, m.Detach())
	}
	select {
	case <-m.Done():
		a.notef("unmounted")
		return nil
	case <-ctx.Done():
		return a.unmountNow(m)
	}
}

// limitMemory makes the collector keep to what was promised, unless the user set a limit by environment.
func limitMemory(cache size) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cache) + mountReserve + gcBallast) // which counts, although it takes nothing
	}
}

func mountHint(err error, dir string) error {
	switch text := err.Error(); {
	case errors.Is(err, os.ErrNotExist) && !strings.Contains(text, "/dev/fuse"):
		return withHint(err, "make the folder: mkdir %s", dir)
	case strings.Contains(text, "whose program is gone"):
		return withHint(err, "\"tarn umount %s\" removes it", dir)
	case errors.Is(err, exec.ErrNotFound):
		return withHint(err, "install fuse3 (it has fusermount3), or mount as root")
	case errors.Is(err, os.ErrNotExist) && strings.Contains(text, "/dev/fuse"):
		return withHint(err, "load the kernel's FUSE: modprobe fuse")
	}
	return err
}

// apart refuses to mount where the repository is, or around it: the program would wait for itself.
func apart(repository, dir string) error {
	repository, err := filepath.EvalSymlinks(absolute(repository))
	if err != nil {
		return nil // opening it says so better
	}
	dir, err = filepath.EvalSymlinks(absolute(dir))
	if err != nil {
		return nil
	}
	if inside(repository, dir) || inside(dir, repository) {
		return withHint(fmt.Errorf("mount on %s: the repository %s is there", dir, repository), "mount on an empty folder elsewhere")
	}
	return nil
}

// inside reports whether path is dir or lies in it.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// mountReady tells who waits for it.
func (a *app) mountReady(flags *mountFlags, dir string) error {
	if flags.ready > 0 {
		return becomeDaemon(flags.ready, flags.log)
	}
	if a.json {
		a.emit(mountedLine{"mounted", dir})
	} else {
		a.outf("mounted on %s; Ctrl-C or \"tarn umount %s\" ends it\n", a.stdout.name(dir), a.stdout.name(dir))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stdout.Flush()
}

// unmountNow ends a mount, whoever uses it.
func (a *app) unmountNow(m *fusefs.Mounted) error {
	err := m.Unmount()
	if errors.Is(err, fusefs.ErrBusy) {
		a.warnf("%s is in use by %s, who will get errors", m.Dir(), usersText(fusefs.Users(m.Dir())))
		err = m.Detach()
	}
	if err == nil {
		a.notef("unmounted")
	}
	return err
}

// realPath is where a mount on a folder is.
func realPath(dir string) string {
	dir = absolute(dir)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir
}

func usersText(users []fusefs.User) string {
	if len(users) == 0 {
		return "somebody"
	}
	var list []string
	for _, u := range users {
		if len(list) == 10 {
			list = append(list, fmt.Sprintf("and %d more", len(users)-10))
			break
		}
		list = append(list, fmt.Sprintf("%s (process %d)", u.Name, u.PID))
	}
	return strings.Join(list, ", ")
}

// mountInBackground runs this program once more and returns when that has mounted. The password goes through a pipe.
func (a *app) mountInBackground(ctx context.Context, dir string) error {
	password, err := a.password(ctx)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	passwordRead, passwordWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer passwordRead.Close()
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer readyRead.Close()
	args := []string{"--background=false", "--ready-fd=4", "--password-command=", "--password-file=/dev/fd/3"}
	end := len(os.Args)
	if i := slices.Index(os.Args, "--"); i >= 0 {
		end = i
	}
	cmd := &exec.Cmd{Path: self, Args: slices.Concat(os.Args[:end], args, os.Args[end:]), Stdout: a.stdout.file, Stderr: a.stderr.file,
		ExtraFiles: []*os.File{passwordRead, readyWrite}, SysProcAttr: ownSession()}
	cmd.Env = environment()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	readyWrite.Close()
	_, err = passwordWrite.Write(append(password, '\n'))
	if err = errors.Join(err, passwordWrite.Close()); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	if n, _ := io.ReadFull(readyRead, make([]byte, 1)); n == 1 {
		if a.json {
			a.emit(mountedLine{"mounted", realPath(dir)})
		}
		a.notef("mounted, served by process %d", cmd.Process.Pid)
		return cmd.Process.Release()
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return errTold(exit.ExitCode())
	} else if err != nil {
		return fmt.Errorf("in the background: %w", err)
	}
	return nil
}
