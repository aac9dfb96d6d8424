package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/fusefs"
)

func newUmount(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "umount FOLDER", Short: "End a mount", Args: argsBetween(1, 1),
		Long: `End what "tarn mount FOLDER" began. While the mount is in use this says by whom, and does nothing; with --force it ends
nevertheless, and who uses it gets errors.`,
		Example: `  tarn umount /mnt/backups
  tarn umount ~/past --force`,
		RunE: func(cmd *cobra.Command, args []string) error {
			how := fusefs.Politely
			if force {
				how = fusefs.AtOnce
			}
			err := fusefs.Unmount(args[0], how)
			if errors.Is(err, fusefs.ErrBusy) {
				err = withHint(fmt.Errorf("%w by %s", err, usersText(fusefs.Users(args[0]))), "end these programs, or add --force: they will get errors")
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also while it is in use")
	return cmd
}
