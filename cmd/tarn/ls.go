package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/snapshot"
)

// entryLine is one entry of a snapshot.
type entryLine struct {
	Type string `json:"type"`
	Kind string `json:"kind"`
	rawPath
	Size    uint64   `json:"size"`
	Mode    string   `json:"mode"` // octal
	UID     uint32   `json:"uid"`
	GID     uint32   `json:"gid"`
	User    string   `json:"user,omitempty"`
	Group   string   `json:"group,omitempty"`
	ModTime jsonTime `json:"mtime"`
	State   string   `json:"state"`
	Method  string   `json:"method,omitempty"` // how its content was held still, where that is known
	Target  string   `json:"target,omitempty"`
}

type lsFlags struct {
	criteria
	long, recursive bool
}

func newLs(a *app) *cobra.Command {
	var flags lsFlags
	cmd := &cobra.Command{
		Use: "ls ID[:PATH]", Short: "List what a snapshot has", Args: argsBetween(1, 1),
		Long: `List a folder of a snapshot, or with --recursive all below it. Without a path these are the paths that were saved.

The long form has mode, owner, size, time, class and name. The class of a whole file says how it was held still while it was
read: snapshot (of the file system), lease, reflink (a clone), locked (SQLite's locks), stable (two looks), unproven (two looks, where they
prove nothing), or just whole. Others are torn, appended (saved up to where it ended at first) or carried (from an older snapshot).`,
		Example: `  tarn ls latest
  tarn ls latest:/home/me -l
  tarn ls 1a2b3c4d --recursive --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r, err := a.open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			s, path, err := a.selectSnapshot(ctx, r.Repo, args[0], flags.criteria)
			if err != nil {
				return err
			}
			return a.ls(ctx, r, s, path, &flags)
		},
	}
	flags.flags(cmd.Flags())
	cmd.Flags().BoolVarP(&flags.long, "long", "l", false, "with mode, owner, size and time")
	cmd.Flags().BoolVarP(&flags.recursive, "recursive", "R", false, "all below, too")
	return cmd
}

func (a *app) ls(ctx context.Context, l snapshot.Loader, s saved, path string, flags *lsFlags) error {
	paths := []string{path}
	if path == "" && len(s.Record.Paths) > 0 {
		paths = s.Record.Paths
	}
	for _, p := range paths {
		p = "/" + strings.Trim(p, "/")
		n, err := snapshot.Lookup(ctx, l, s.Record.Root, p)
		if errors.Is(err, snapshot.ErrNotFound) && path == "" {
			a.warnf("%v", err) // it could not be read
			continue
		}
		if err != nil {
			return err
		}
		how := methodsAt(ctx, l, s.Record, p)
		if n.Type != snapshot.Dir || path == "" {
			a.printEntry(p, &n, entryClass{how.self, how.ok}, flags)
		}
		if n.Type == snapshot.Dir {
			err = a.lsBelow(ctx, l, strings.TrimSuffix(p, "/")+"/", n, how, flags)
		}
		how.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// lsBelow lists what is below a folder. A part of the tree that can't be read does not hide the rest.
func (a *app) lsBelow(ctx context.Context, l snapshot.Loader, prefix string, dir snapshot.Node, how *methods, flags *lsFlags) error {
	var damaged error
	err := snapshot.Walk(ctx, l, dir, func(p string, n *snapshot.Node, err error) error {
		if err != nil {
			damaged = errors.Join(damaged, fmt.Errorf("%s: %w", prefix+p, err))
			return nil
		}
		class := entryClass{}
		if flags.long || a.json {
			class.method, class.known = how.of(p)
		}
		a.printEntry(prefix+p, n, class, flags)
		if n.Type == snapshot.Dir && !flags.recursive {
			return snapshot.SkipDir
		}
		return nil
	})
	return errors.Join(err, damaged)
}

func (a *app) printEntry(path string, n *snapshot.Node, class entryClass, flags *lsFlags) {
	if a.json {
		l := entryLine{Type: "entry", Kind: n.Type.String(), rawPath: rawPathOf(path), Size: n.Size, Mode: fmt.Sprintf("%04o", n.Mode), UID: n.UID,
			GID: n.GID, User: n.User, Group: n.Group, ModTime: jsonTime(time.Unix(n.ModTime.Sec, int64(n.ModTime.Nsec)).UTC()), State: n.State.String(), Target: n.Target}
		if n.Type == snapshot.File && class.known {
			l.Method = class.method.String()
		}
		a.emit(l)
		return
	}
	s := &a.stdout
	if !flags.long {
		a.outf("%s\n", s.name(path))
		return
	}
	text := s.name(path)
	if n.Type == snapshot.Symlink {
		text += " -> " + s.name(n.Target)
	}
	size := bytesText(n.Size)
	switch n.Type {
	case snapshot.File:
	case snapshot.CharDevice, snapshot.BlockDevice:
		size = fmt.Sprintf("%d, %d", n.Device>>32, uint32(n.Device))
	default:
		size = "-"
	}
	word := fmt.Sprintf("%-8s", class.text(n))
	if n.State == snapshot.Torn || n.State == snapshot.Carried {
		word = s.red(word)
	}
	a.outf("%s  %-17s  %8s  %s  %s  %s\n", modeText(n), ownerText(s, n), size, timeText(n.ModTime.Time()), word, text)
}

// modeText is a mode as ls shows it.
func modeText(n *snapshot.Node) string {
	kinds := map[snapshot.Type]byte{snapshot.Dir: 'd', snapshot.Symlink: 'l', snapshot.FIFO: 'p', snapshot.Socket: 's',
		snapshot.CharDevice: 'c', snapshot.BlockDevice: 'b'}
	text := []byte("----------")
	if k, ok := kinds[n.Type]; ok {
		text[0] = k
	}
	for i, c := range []byte("rwxrwxrwx") {
		if n.Mode&(1<<(8-i)) != 0 {
			text[i+1] = c
		}
	}
	for _, special := range []struct {
		bit  uint16
		at   int
		c    byte
		bare byte // without the execute bit
	}{{0o4000, 3, 's', 'S'}, {0o2000, 6, 's', 'S'}, {0o1000, 9, 't', 'T'}} {
		if n.Mode&special.bit == 0 {
			continue
		}
		if text[special.at] == 'x' {
			text[special.at] = special.c
		} else {
			text[special.at] = special.bare
		}
	}
	return string(text)
}

func ownerText(s *stream, n *snapshot.Node) string {
	user, group := n.User, n.Group
	if user == "" {
		user = strconv.FormatUint(uint64(n.UID), 10)
	}
	if group == "" {
		group = strconv.FormatUint(uint64(n.GID), 10)
	}
	return s.name(user + ":" + group)
}
