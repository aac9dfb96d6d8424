package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
)

type keyLine struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"`
	Current bool      `json:"current,omitempty"`
	Old     bool      `json:"old,omitempty"`
	Label   string    `json:"label,omitempty"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	Created time.Time `json:"created"`
	Memory  uint64    `json:"kdf_memory"`
	Passes  uint32    `json:"kdf_passes"`
}

type keyChangeLine struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

func newKey(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Manage the passwords of a repository", Args: noArgs,
		Long: `A repository has one to 16 keys. Each is opened by a password of its own, and all of them give the same access.

Removing a key or changing its password takes nothing back from somebody who copied the old key file and knows the
old password.`,
		Example: `  tarn key list
  tarn key add --label laptop
  tarn key passwd
  tarn key rotate
  tarn key remove 1a2b3c4d`,
	}
	cmd.AddCommand(newKeyList(a), newKeyAdd(a), newKeyPasswd(a), newKeyRemove(a), newKeyRotate(a))
	return cmd
}

// keyFlags are those of the commands that make a key.
type keyFlags struct {
	label         string
	file, command string
	kdf           kdfFlags
}

func (k *keyFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&k.label, "label", "", "a `WORD` that helps to tell keys apart")
	f.StringVar(&k.file, "new-password-file", "", "read the new password from `FILE`")
	f.StringVar(&k.command, "new-password-command", "", "run `COMMAND`, which prints the new password")
	k.kdf.flags(f)
}

func (k *keyFlags) secret() secret { return secret{k.file, k.command, "TARN_NEW_PASSWORD", "new-"} }

// slot is a new key's slot, with the labels that help people.
func (a *app) slot(label string) seal.Slot {
	return seal.Slot{Created: time.Now(), Label: label, Host: hostName(), User: userName()}
}

func newKeyList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys", Args: noArgs, Example: "  tarn key list",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			slots, err := r.Keys(cmd.Context())
			a.printKeys(slots)
			return err
		},
	}
}

func (a *app) printKeys(slots []repo.KeySlot) {
	old := 0
	t := table{head: []string{"ID", "Created", "User", "Host", "Label", "Hashing"}, gives: []int{2, 3, 4}}
	for _, k := range slots {
		memory := uint64(k.Slot.KDF.MemoryKiB) << 10
		if a.json {
			a.emit(keyLine{"key", k.Name.String(), k.Current, k.Old, k.Slot.Label, k.Slot.User, k.Slot.Host, k.Slot.Created, memory, k.Slot.KDF.Passes})
			continue
		}
		id := k.Name.Short()
		if k.Current {
			id += "*"
		}
		if k.Old {
			id += "-"
			old++
		}
		s := &a.stdout
		t.add(id, timeText(k.Slot.Created), s.name(k.Slot.User), s.name(k.Slot.Host), s.name(k.Slot.Label),
			fmt.Sprintf("%s, %s", bytesText(memory), counted(uint64(k.Slot.KDF.Passes), "pass")))
	}
	if !a.json {
		t.print(&a.stdout)
		a.notef("* opened the repository just now")
	}
	if old > 0 && !a.json {
		a.notef("- still opens what was saved before the key was rotated, since that was interrupted: \"tarn key remove\" or another \"tarn key rotate\" ends it")
	}
}

func newKeyAdd(a *app) *cobra.Command {
	var flags keyFlags
	cmd := &cobra.Command{
		Use: "add", Short: "Add a password", Args: noArgs,
		Example: "  tarn key add --label laptop\n  tarn key add --new-password-file ~/.tarn-laptop",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			return a.newKey(cmd.Context(), &flags, r.AddKey, "key_added", "added")
		},
	}
	flags.flags(cmd.Flags())
	return cmd
}

func newKeyPasswd(a *app) *cobra.Command {
	var flags keyFlags
	cmd := &cobra.Command{
		Use: "passwd", Short: "Change the password that opens the repository now", Args: noArgs, Example: "  tarn key passwd",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			return a.newKey(cmd.Context(), &flags, r.ChangePassword, "key_changed", "takes the old one's place")
		},
	}
	flags.flags(cmd.Flags())
	return cmd
}

// newKey asks for a new password and has store make a key of it.
func (a *app) newKey(ctx context.Context, flags *keyFlags, store func(context.Context, seal.Slot, []byte) (blob.Name, error), kind, text string) error {
	password, err := a.newPassword(ctx, flags.secret())
	if err != nil {
		return err
	}
	slot := a.slot(flags.label)
	slot.KDF = flags.kdf.kdf()
	name, err := store(ctx, slot, password)
	if err == nil {
		a.keyChanged(kind, text, name)
	}
	return err
}

func (a *app) keyChanged(kind, text string, name blob.Name) {
	if a.json {
		a.emit(keyChangeLine{kind, name.String()})
		return
	}
	a.outf("key %s %s\n", name.Short(), text)
}

func newKeyRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Remove a password", Args: argsBetween(1, 1), Example: "  tarn key remove 1a2b3c4d",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			slots, err := r.Keys(cmd.Context())
			if err != nil {
				return err
			}
			k, err := selectKey(slots, args[0])
			if err != nil {
				return err
			}
			if k.Current && len(slots) > 1 {
				return withHint(fmt.Errorf("key %s is the one that opened the repository now", k.Name.Short()),
					"to remove it use another password; to replace it use \"tarn key passwd\"")
			}
			if err := r.RemoveKey(cmd.Context(), k.Name); err != nil {
				return fmt.Errorf("key %s: %w", k.Name.Short(), err)
			}
			a.keyChanged("key_removed", "removed", k.Name)
			return nil
		},
	}
}

func newKeyRotate(a *app) *cobra.Command {
	var flags keyFlags
	yes := false
	cmd := &cobra.Command{
		Use: "rotate", Short: "Seal what comes with a new key, after a password got out", Args: noArgs,
		Long: `Give the repository another master key and another password. What is saved from now on can't be read by somebody who has an
old key file and its password. What was saved before can, if he has a copy of it or can read the storage: to take that from him, copy
the snapshots to a new repository, and remove this one.

All other keys are removed, since their passwords are not known: add them again. Nothing is read or written anew. Do it when no
backup is running: one that is ends with the old key.`,
		Example: "  tarn key rotate\n  tarn key rotate --new-password-file ~/.tarn-password --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			slots, err := r.Keys(cmd.Context())
			if err != nil && len(slots) == 0 {
				return err
			}
			if len(slots) > 1 && !yes {
				return withHint(fmt.Errorf("%s would be removed, and nothing was changed", counted(len(slots)-1, "other key")),
					"\"tarn key list\" lists them; run it again with --yes, and add them again")
			}
			return a.newKey(cmd.Context(), &flags, r.RotateKey, "key_rotated", "opens the repository now, and no other does")
		},
	}
	flags.flags(cmd.Flags())
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "also if there are other keys")
	return cmd
}

func selectKey(slots []repo.KeySlot, prefix string) (repo.KeySlot, error) {
	var names []blob.Name
	for _, k := range slots {
		names = append(names, k.Name)
	}
	found := byPrefix(names, prefix)
	if len(found) > 1 {
		return repo.KeySlot{}, fmt.Errorf("key %q: %s begin so: %s", prefix, count(len(found)), shortest(found))
	}
	for _, k := range slots {
		if len(found) == 1 && k.Name == found[0] {
			return k, nil
		}
	}
	return repo.KeySlot{}, withHint(fmt.Errorf("key %q: there is none of that name", prefix), "\"tarn key list\" lists them")
}
