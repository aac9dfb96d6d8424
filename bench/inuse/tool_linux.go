package inuse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tool is a program that makes backups.
type Tool interface {
	// Name says which program it is.
	Name() string
	// Backup makes a repository in the folder repo, which is empty, and backs up dir. Problems with single files are no error.
	Backup(ctx context.Context, repo, dir string) error
	// Restore writes the last backup of dir to a folder, and returns where below it the entries of dir are.
	Restore(ctx context.Context, repo, dir, target string) (string, error)
	// Marked returns what the tool said of files that are not whole, by paths below dir.
	Marked(ctx context.Context, repo, dir string) (func(path string) bool, error)
}

// program is a tool that is told what to do by command lines. In them @repo, @dir and @target stand for folders.
type program struct {
	name     string
	binary   string
	env      []string
	init     []string // nothing if none is needed
	backup   []string
	restore  []string
	in       string // where to run it; empty for anywhere
	below    string // the restored folder, below the target; @dir for its whole path
	tolerant int    // an exit code of backup that means that some files are in doubt
	said     string // by the last backup
}

func (p *program) Name() string { return p.name }

func (p *program) run(ctx context.Context, args []string, repo, dir, target string) (string, int, error) {
	fill := strings.NewReplacer("@repo", repo, "@dir", dir, "@target", target)
	expanded := make([]string, len(args))
	for i, a := range args {
		expanded[i] = fill.Replace(a)
	}
	cmd := exec.CommandContext(ctx, p.binary, expanded...)
	cmd.Env = os.Environ()
	for _, v := range p.env {
		cmd.Env = append(cmd.Env, fill.Replace(v))
	}
	cmd.Dir = fill.Replace(p.in)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), exit.ExitCode(), fmt.Errorf("%s %s: %w: %.2000s", p.name, strings.Join(expanded, " "), err, out.String())
	}
	return out.String(), 0, err
}

func (p *program) Backup(ctx context.Context, repo, dir string) error {
	if p.init != nil {
		if _, _, err := p.run(ctx, p.init, repo, dir, repo); err != nil {
			return err
		}
	}
	said, code, err := p.run(ctx, p.backup, repo, dir, repo)
	p.said = said
	if code != 0 && code == p.tolerant {
		return nil
	}
	return err
}

func (p *program) Restore(ctx context.Context, repo, dir, target string) (string, error) {
	_, _, err := p.run(ctx, p.restore, repo, dir, target)
	return filepath.Join(target, strings.ReplaceAll(p.below, "@dir", dir)), err
}

// Marked finds the paths in what the tool printed while it made the backup.
func (p *program) Marked(ctx context.Context, repo, dir string) (func(string) bool, error) {
	return func(path string) bool { return strings.Contains(p.said, path) }, nil
}

// tarn asks the snapshot itself what is not whole.
type tarn struct{ program }

// Tarn returns the tool that a binary of tarn is. Flags are those of "tarn backup".
func Tarn(binary string, flags ...string) Tool {
	return &tarn{program{name: "tarn", binary: binary,
		env:     []string{"TARN_PASSWORD=secret", "TARN_REPOSITORY=@repo/tarn", "XDG_CACHE_HOME=@repo/cache"},
		init:    []string{"init", "--kdf-memory", "8M", "--kdf-passes", "1"},
		backup:  append(append([]string{"backup"}, flags...), "@dir"),
		restore: []string{"restore", "latest:@dir", "--target", "@target"}, tolerant: 3}}
}

func (t *tarn) Marked(ctx context.Context, repo, dir string) (func(string) bool, error) {
	out, _, err := t.run(ctx, []string{"ls", "latest:@dir", "--recursive", "--json"}, repo, dir, repo)
	if err != nil {
		return nil, err
	}
	marked := map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var entry struct{ Path, State string }
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			return nil, fmt.Errorf("tarn ls --json: %w", err)
		}
		if path, ok := strings.CutPrefix(entry.Path, dir+"/"); ok && entry.State != "whole" {
			marked[path] = true
		}
	}
	return func(path string) bool { return marked[path] }, nil
}

// Peers returns the other tools that are there, by names.
func Peers() map[string]Tool {
	all := []*program{
		{name: "restic", env: []string{"RESTIC_PASSWORD=secret", "RESTIC_REPOSITORY=@repo/restic", "RESTIC_CACHE_DIR=@repo/cache"},
			init: []string{"init"}, backup: []string{"backup", "@dir"}, restore: []string{"restore", "latest", "--target", "@target"},
			below: "@dir", tolerant: 3},
		{name: "borg", env: []string{"BORG_PASSPHRASE=secret", "BORG_BASE_DIR=@repo/base", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes"},
			init: []string{"init", "--encryption", "repokey-blake2", "@repo/borg"}, backup: []string{"create", "--list", "--filter", "CE", "@repo/borg::a", "@dir"},
			restore: []string{"extract", "@repo/borg::a"}, in: "@target", below: "@dir", tolerant: 1},
		{name: "kopia", env: []string{"KOPIA_PASSWORD=secret", "KOPIA_CONFIG_PATH=@repo/config", "KOPIA_CACHE_DIRECTORY=@repo/cache", "KOPIA_CHECK_FOR_UPDATES=false"},
			init: []string{"repository", "create", "filesystem", "--path", "@repo/kopia"}, backup: []string{"snapshot", "create", "@dir"},
			restore: []string{"restore", "@dir", "@target", "--snapshot-time", "latest"}},
		{name: "tar", backup: []string{"-cf", "@repo/a.tar", "-C", "@dir", "."}, restore: []string{"-xf", "@repo/a.tar", "-C", "@target"}, tolerant: 1},
	}
	found := map[string]Tool{}
	for _, p := range all {
		if path, err := exec.LookPath(p.name); err == nil {
			p.binary = path
			found[p.name] = p
		}
	}
	return found
}
