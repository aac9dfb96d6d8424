package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/dir"
)

type initLine struct {
	Type       string `json:"type"`
	ID         string `json:"id"`
	Repository string `json:"repository"`
	Chunker    string `json:"chunker"`
}

// kdfFlags say how costly it shall be to guess a password.
type kdfFlags struct {
	memory size
	passes uint32
}

func (k *kdfFlags) flags(f *pflag.FlagSet) {
	f.Var(&k.memory, "kdf-memory", "hash the password with `SIZE` of memory (64M)")
	f.Uint32Var(&k.passes, "kdf-passes", seal.DefaultKDF.Passes, "and with so many passes")
}

func (k *kdfFlags) kdf() seal.KDF {
	p := seal.DefaultKDF
	p.Passes = k.passes
	if k.memory > 0 {
		p.MemoryKiB = uint32(min(k.memory>>10, 1<<32-1))
	}
	return p
}

func newInit(a *app) *cobra.Command {
	var kdf kdfFlags
	var algorithm string
	var like fromFlags
	var parity string
	cmd := &cobra.Command{
		Use: "init", Short: "Make a repository", Args: noArgs,
		Long: `Make a repository in a folder that is empty or not there yet.

Whoever forgets the password has lost the backups: there is no other way in.`,
		Example: `  tarn -r /backup/repo init
  tarn -r /backup/repo --password-file ~/.tarn-password init`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.init(cmd, kdf.kdf(), algorithm, &like, parity) },
	}
	cmd.Flags().StringVar(&parity, "parity", "", "for each N packs make K of parity: `N/K`, or off; see \"tarn parity\"")
	like.flags(cmd.Flags(), "copy-params-from", "cut files as `REPOSITORY` does, its secret included, for \"tarn copy\"")
	kdf.flags(cmd.Flags())
	cmd.Flags().StringVar(&algorithm, "chunker", "", "cut files by `ALGORITHM`: gear or rabin")
	return cmd
}

func (a *app) init(cmd *cobra.Command, kdf seal.KDF, algorithm string, like *fromFlags, parity string) error {
	ctx := cmd.Context()
	path, err := a.location()
	if err != nil {
		return err
	}
	o := repo.InitOptions{KDF: kdf, Program: program(), Now: time.Now(), Slot: a.slot("")}
	if algorithm != "" {
		if o.Chunker, err = chunker.Parse(algorithm); err != nil {
			return err
		}
	}
	policy, err := parsePolicy(parity)
	if err != nil {
		return err
	}
	if err := refuseForeign(path); err != nil {
		return err
	}
	if like.repository != "" {
		if algorithm != "" {
			return errors.New("--copy-params-from says how to cut files: leave out --chunker")
		}
		from, err := a.from(like).open(ctx)
		if err != nil {
			return fmt.Errorf("--copy-params-from: %w", err)
		}
		defer from.Close()
		o.CutLike = from.Repo
	}
	password, err := a.newPassword(ctx, secret{a.passwordFile, a.passwordCommand, "TARN_PASSWORD"})
	if err != nil {
		return err
	}
	d, err := dir.Create(path)
	if err != nil {
		return err
	}
	defer d.Close()
	r, err := repo.Init(ctx, d, password, o)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if parity != "" {
		if err := r.SetParityPolicy(ctx, policy); err != nil {
			return err
		}
	}
	c := r.Config()
	if a.json {
		a.emit(initLine{"initialized", c.Repo.String(), d.Path(), c.Chunker.String()})
		return nil
	}
	a.outf("repository %s made in %s\n", c.Repo.String()[:8], a.stdout.name(d.Path()))
	a.notef("Keep the password safe: without it nobody can read the backups, not even you.")
	return nil
}
