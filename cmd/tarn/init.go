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
	f.Uint32Var(&k.passes, "kdf-passes", seal.DefaultKDF.Passes, "and with `N` passes")
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
		Long: `Make a repository in a folder that is empty or not there yet, or elsewhere: in a bucket (s3:https://HOST/BUCKET/PREFIX), over SSH
(sftp:USER@HOST:PATH), on restic's rest-server (rest:https://HOST/PATH), or wherever rclone gets to (rclone:REMOTE:PATH).

Whoever forgets the password has lost the backups: there is no other way in.`,
		Example: `  tarn -r /backup/repo init
  tarn -r sftp:ann@nas:/backup/repo init
  tarn -r s3:https://s3.eu-central-1.amazonaws.com/bucket/repo init
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
	place, err := a.location()
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
	if place.kind == kindFolder {
		if err := refuseForeign(place.folder); err != nil {
			return err
		}
	}
	if like.repository != "" {
		if algorithm != "" {
			return errors.New("--copy-params-from says how to cut files: leave out --chunker")
		}
		source := a.from(like)
		from, err := source.open(ctx)
		if err != nil {
			return source.ownHint(fmt.Errorf("--copy-params-from: %w", err))
		}
		defer from.Close()
		o.CutLike = from.Repo
	}
	password, err := a.newPassword(ctx, secret{a.passwordFile, a.passwordCommand, "TARN_PASSWORD", ""})
	if err != nil {
		return err
	}
	s, err := a.reach(ctx, place, mayCreate)
	if err != nil {
		return err
	}
	made := &opened{place: place, store: s}
	defer made.Close()
	if made.Repo, err = repo.Init(ctx, s.Storage, password, o); err != nil {
		return fmt.Errorf("%s: %w", place.text, err)
	}
	if parity != "" {
		if err := made.SetParityPolicy(ctx, policy); err != nil {
			return err
		}
	}
	where := place.text
	if folder := made.folder(); folder != "" {
		where = folder
	}
	c := made.Config()
	if a.json {
		a.emit(initLine{"initialized", c.Repo.String(), where, c.Chunker.String()})
		return nil
	}
	a.outf("repository %s made in %s\n", c.Repo.String()[:8], a.stdout.name(where))
	a.notef("Keep the password safe: without it nobody can read the backups, not even you.")
	return nil
}
