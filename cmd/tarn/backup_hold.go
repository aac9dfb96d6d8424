package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/source"
	"github.com/tarn-backup/tarn/source/fssnap"
)

// holdFlags say how the source is held still.
type holdFlags struct {
	modes                    snapshotModes
	settle                   length
	before, after, onFailure string
}

func (h *holdFlags) flags(f *pflag.FlagSet) {
	f.Var(&h.modes, "fs-snapshot", "read from file system snapshots (Btrfs, ZFS, LVM): off, auto, on or required; FOLDER=`MODE` for a folder")
	h.settle = length(30 * time.Second)
	f.Var(&h.settle, "settle-time", "wait for `TIME` in all for files that are in use")
	f.StringVar(&h.before, "before", "", "run `COMMAND` before the source is held still; no backup if it fails")
	f.StringVar(&h.after, "after", "", "run `COMMAND` when the source is held still, or else when it was read; always")
	f.StringVar(&h.onFailure, "on-failure", "", "run `COMMAND` if the backup fails")
}

// hooks runs the user's commands around the moment in which the source is held still.
type hooks struct {
	*holdFlags
	job   *backupJob
	begun bool // the command before was run, and the one after was not
}

// hold runs the command before, makes the snapshots that can be had, and runs the command after if all that is read is held by them.
func (k *hooks) hold(ctx context.Context, w *repo.Writer, r *repo.Repo) (*source.Holder, error) {
	if k.before != "" {
		k.begun = true
		if err := k.command(ctx, k.before, ""); err != nil {
			return nil, fmt.Errorf("--before: %w", err)
		}
	}
	k.begun = true
	o := source.HoldOptions{Mode: k.modes.all, Below: k.modes.below, Repository: r.Config().Repo.String()[:8], Session: w.Session().String()}
	h, err := source.Hold(ctx, k.job.options.Paths, o)
	if err != nil {
		return nil, err
	}
	held := false
	for _, m := range h.Mounts() {
		if m.Method == "live" {
			k.job.detailf("%s is read file by file (%s)", m.Point, m.Reason)
			continue
		}
		held = true
		k.job.notef("%s is read from a snapshot (%s)", m.Point, m.Reason)
	}
	if held {
		k.clean(ctx, o)
	}
	if h.HoldsAll() {
		k.end(ctx)
	}
	return h, nil
}

// end runs the command after, once. If that fails the backup is as good as it is, but the user must know.
func (k *hooks) end(ctx context.Context) {
	if !k.begun {
		return
	}
	k.begun = false
	if k.after == "" {
		return
	}
	if err := k.command(context.WithoutCancel(ctx), k.after, ""); err != nil {
		k.job.warnf("--after: %v", err)
		k.job.afterFailed = true
	}
}

// failed runs the command for failures.
func (k *hooks) failed(ctx context.Context, err error) {
	if k.onFailure == "" {
		return
	}
	if err := k.command(context.WithoutCancel(ctx), k.onFailure, err.Error()); err != nil {
		k.job.warnf("--on-failure: %v", err)
	}
}

// command runs one of the user's commands. What it prints is for people.
func (k *hooks) command(ctx context.Context, command, failure string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = environment()
	if failure != "" {
		cmd.Env = append(cmd.Env, "TARN_ERROR="+failure)
	}
	return cmd.Run()
}

// clean removes snapshots that backups to this repository left behind when they were killed.
func (k *hooks) clean(ctx context.Context, o source.HoldOptions) {
	list, err := source.Leftovers(ctx)
	if err != nil {
		k.job.detailf("look for snapshots of backups that were killed: %v", err)
	}
	for _, l := range list {
		if l.Name.Repository != o.Repository || l.Name.Session == o.Session || l.Life != fssnap.Gone || l.Doubt != "" {
			continue
		}
		if err := l.Remove(ctx); err != nil {
			k.job.warnf("%v", err)
			continue
		}
		k.job.notef("removed the snapshot %s, which a backup that was killed had left", l.Where)
	}
}

// read runs fn while the source is held still.
func (k *hooks) read(ctx context.Context, w *repo.Writer, r *repo.Repo, fn func() error) (err error) {
	defer func() {
		k.end(ctx)
		if err != nil {
			k.failed(ctx, err)
		}
	}()
	if len(k.job.options.Paths) > 0 {
		h, err := k.hold(ctx, w, r)
		defer func() { k.job.released(h.Release(ctx)) }()
		k.job.options.Held = h
		if err != nil {
			return err
		}
	}
	return fn()
}

// released tells that a snapshot could not be given back; the backup is as good as it was.
func (j *backupJob) released(err error) {
	if err != nil {
		j.warnf("%v (\"tarn source clean\" removes what is left)", err)
	}
}

// asAsked gives the exit code for a backup that is good, but was not made as it was asked for.
func (j *backupJob) asAsked() error {
	if missed := j.options.Held.Missed(); len(missed) > 0 {
		for _, m := range missed {
			j.warnf("%s was not read from a file system snapshot: %s", m.Point, m.Reason)
		}
		return errTold(exitNoSnapshot)
	}
	if j.afterFailed {
		return errTold(exitFailed)
	}
	return nil
}
