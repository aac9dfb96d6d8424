package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"github.com/spf13/cobra"
)

func noArgs(cmd *cobra.Command, args []string) error { return argsBetween(0, 0)(cmd, args) }

// argsBetween bounds the number of arguments.
func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{fmt.Errorf("%s: something is missing: %s", cmd.CommandPath(), cmd.UseLine()), cmd.CommandPath()}
		case most >= 0 && len(args) > most:
			return usageError{fmt.Errorf("%s: %q is too much", cmd.CommandPath(), args[most]), cmd.CommandPath()}
		}
		return nil
	}
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

// userName is who runs this.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Getuid())
}
