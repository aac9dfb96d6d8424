package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func noArgs(cmd *cobra.Command, args []string) error { return argsBetween(0, 0)(cmd, args) }

// argsBetween bounds the number of arguments.
func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{fmt.Errorf("something is missing: %s", cmd.UseLine()), cmd.CommandPath()}
		case most >= 0 && len(args) > most:
			err := fmt.Errorf("%q is too much: %s", args[most], cmd.UseLine())
			if f := flagAlone(cmd.Flags()); f != nil {
				return withHint(err, "the value of --%s stands behind an equals sign: --%s=%s", f.Name, f.Name, args[most])
			}
			return usageError{err, cmd.CommandPath()}
		}
		return nil
	}
}

// flagAlone returns a flag that was given without the value that it can have, and nil if none was: what stands behind it may be meant for that.
func flagAlone(flags *pflag.FlagSet) (alone *pflag.Flag) {
	flags.Visit(func(f *pflag.Flag) {
		if f.NoOptDefVal == f.Value.String() && f.Value.Type() != "bool" && f.NoOptDefVal != "" {
			alone = f
		}
	})
	return alone
}

// commandsOnly is for a command that has others below it: an argument would be one that there is not.
func commandsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if hint := hereInstead(args[0]); hint != "" && !cmd.HasParent() {
		return withHint(err, "%s", hint)
	}
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return withHint(err, "did you mean \"%s %s\"?", cmd.CommandPath(), like[0])
	}
	return withHint(err, "\"%s --help\" lists the commands", cmd.CommandPath())
}

// hereInstead says what does here what a command of restic or borg does there.
func hereInstead(command string) string {
	switch command {
	case "create":
		return "\"tarn backup\" makes a snapshot"
	case "list":
		return "\"tarn snapshots\" lists the snapshots, \"tarn ls latest\" what is in one"
	case "extract":
		return "\"tarn restore latest --target FOLDER\" writes a snapshot to disk"
	case "dump":
		return "\"tarn restore latest:PATH --target FOLDER\" writes one file; or read it from \"tarn mount FOLDER\""
	case "find":
		return "\"tarn ls latest --recursive\" lists all paths; in history/ of \"tarn mount FOLDER\" each file has all its versions"
	case "diff":
		return "compare two folders of \"tarn mount FOLDER\" with diff -r; \"tarn backup --dry-run\" counts what changed since the last snapshot"
	case "delete":
		return "\"tarn forget\" removes snapshots"
	case "compact":
		return "\"tarn prune\" reclaims the space"
	case "info":
		return "\"tarn stats\" says how much is stored"
	case "unlock", "break-lock":
		return "there are no locks; \"tarn session list\" says who is writing"
	case "rebuild-index":
		return "\"tarn repair index\" makes the index again"
	}
	return ""
}

// flagError says which flag has a value that makes no sense, and what would.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var number *strconv.NumError
	switch {
	case !errors.As(err, &invalid):
	case errors.As(err, &number):
		err = fmt.Errorf("--%s %q: want a number", invalid.GetFlag().Name, invalid.GetValue())
	default:
		err = fmt.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), errors.Unwrap(err))
	}
	return usageError{err, cmd.CommandPath()}
}

// absolute makes a path absolute and clean, with slashes, and follows no links.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return filepath.ToSlash(path)
}

// hostName is this machine's name, or "unknown".
func hostName() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "unknown"
}

// userNameMax is what is taken of a user's name, in bytes: Linux has 256, but where nobody knows the user, as in a container, it is what $USER says.
const userNameMax = 256

// userName is who runs this.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username[:min(len(u.Username), userNameMax)]
	}
	return fmt.Sprint(os.Getuid())
}
