package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Step is one thing that is measured.
type Step string

// The steps, in the order in which they are taken.
const (
	First     Step = "first"      // a backup into a new repository
	Unchanged Step = "unchanged"  // once more
	Changed   Step = "changed"    // a backup after each change of the workload, together
	Restore   Step = "restore"    // the last backup, into an empty folder
	MountFind Step = "mount-find" // find -printf over the last backup, mounted
	MountTar  Step = "mount-tar"  // tar of it
	Check     Step = "check"      // of what is there, by the program's own means without reading all data
	Prune     Step = "prune"      // all but the last backup are removed, and their room reclaimed
)

// Steps are all steps, in order.
func Steps() []Step {
	return []Step{First, Unchanged, Changed, Restore, MountFind, MountTar, Check, Prune}
}

// ParseStep reads the name of a step.
func ParseStep(s string) (Step, error) {
	if !slices.Contains(Steps(), Step(s)) {
		return "", fmt.Errorf("step %q: want one of %v", s, Steps())
	}
	return Step(s), nil
}

// place is what a program works with in one round.
type place struct {
	Source string // what is backed up
	Repo   string
	Cache  string // what the program may keep besides; new in each round
	Target string // where it is restored to: an empty folder
	Mount  string // where it is mounted: an empty folder
	Number int    // of the backup that is made, or was made last
}

// Peer is a program that is measured, and how.
type Peer struct {
	Name    string
	About   string // how it seals and compresses as it is run here
	program string
	version []string
	env     func(place) []string
	init    func(place) []call // before the first step, not measured
	steps   map[Step]func(place) []call
	mount   func(place) (args []string, root string) // serves until it is interrupted or unmounted
}

// call is one command line, without the program.
type call struct {
	args  []string
	in    string // folder to be in
	piped bool   // its standard output is a pipe that is read
}

func calls(args ...string) []call { return []call{{args: args}} }

// all is for programs whose command lines don't depend on the place.
func all(args ...string) func(place) []call { return func(place) []call { return calls(args...) } }

const password = "not a secret"

// Peers are the programs that this suite knows, tarn first; self is the path of tarn. References are not among them.
func Peers(self string) []Peer { return []Peer{tarn(self), restic(), borg(), kopia(), rustic()} }

func tarn(self string) Peer {
	backup := func(p place) []call { return calls("-q", "backup", p.Source) }
	return Peer{
		Name: "tarn", program: self, version: []string{"version"}, About: "AES-256-GCM, BLAKE3, zstd default; what was sealed is looked at again; packs are synced",
		env: func(p place) []string {
			return []string{"TARN_REPOSITORY=" + p.Repo, "TARN_PASSWORD=" + password, "XDG_CACHE_HOME=" + p.Cache}
		},
		init: all("-q", "init"),
		steps: map[Step]func(place) []call{First: backup, Unchanged: backup, Changed: backup,
			Restore: func(p place) []call { return calls("-q", "restore", "latest:"+p.Source, "--target", p.Target) },
			Check:   all("-q", "check"), Prune: all("-q", "forget", "--keep-last", "1", "--max-delete", "all", "--prune")},
		mount: func(p place) ([]string, string) {
			return []string{"mount", p.Mount}, filepath.Join(p.Mount, "snapshots/latest", p.Source)
		},
	}
}

func restic() Peer {
	backup := func(p place) []call { return calls("-q", "backup", p.Source) }
	return Peer{
		Name: "restic", program: "restic", version: []string{"version"}, About: "AES-256-CTR with Poly1305-AES, SHA-256, zstd default (repository version 2)",
		env: func(p place) []string {
			return []string{"RESTIC_REPOSITORY=" + p.Repo, "RESTIC_PASSWORD=" + password, "RESTIC_CACHE_DIR=" + p.Cache}
		},
		init: all("-q", "init", "--repository-version", "2"),
		steps: map[Step]func(place) []call{First: backup, Unchanged: backup, Changed: backup,
			Restore: func(p place) []call { return calls("-q", "restore", "latest", "--target", p.Target) },
			Check:   all("-q", "check"), Prune: all("-q", "forget", "--keep-last", "1", "--prune")},
		mount: func(p place) ([]string, string) {
			return []string{"mount", p.Mount}, filepath.Join(p.Mount, "snapshots/latest", p.Source)
		},
	}
}

func borg() Peer {
	archive := func(p place) string { return fmt.Sprintf("::backup%d", p.Number) }
	backup := func(p place) []call { return calls("create", "--compression", "zstd,3", archive(p), p.Source) }
	return Peer{
		Name: "borg", program: "borg", version: []string{"--version"}, About: "AES-256-CTR with keyed BLAKE2b, zstd 3",
		env: func(p place) []string {
			return []string{"BORG_REPO=" + p.Repo, "BORG_PASSPHRASE=" + password, "BORG_BASE_DIR=" + p.Cache, "BORG_CACHE_DIR=" + p.Cache + "/cache",
				"BORG_CONFIG_DIR=" + p.Cache + "/config", "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"}
		},
		init: all("init", "--encryption", "repokey-blake2"),
		steps: map[Step]func(place) []call{First: backup, Unchanged: backup, Changed: backup,
			Restore: func(p place) []call { return []call{{args: []string{"extract", archive(p)}, in: p.Target}} },
			Check:   all("check"),
			Prune: func(place) []call {
				return []call{{args: []string{"prune", "--keep-last", "1"}}, {args: []string{"compact"}}}
			}},
		mount: func(p place) ([]string, string) {
			return []string{"mount", "-f", archive(p), p.Mount}, filepath.Join(p.Mount, p.Source)
		},
	}
}

func kopia() Peer {
	backup := func(p place) []call { return calls("snapshot", "create", "--no-progress", p.Source) }
	return Peer{
		Name: "kopia", program: "kopia", version: []string{"--version"}, About: "AES-256-GCM, BLAKE2b, zstd",
		env: func(p place) []string {
			return []string{"KOPIA_PASSWORD=" + password, "KOPIA_CONFIG_PATH=" + p.Cache + "/config", "KOPIA_CACHE_DIRECTORY=" + p.Cache + "/cache",
				"KOPIA_LOG_DIR=" + p.Cache + "/log", "KOPIA_CHECK_FOR_UPDATES=false"}
		},
		init: func(p place) []call {
			return []call{{args: []string{"repository", "create", "filesystem", "--path", p.Repo, "--encryption", "AES256-GCM-HMAC-SHA256"}},
				{args: []string{"policy", "set", "--global", "--compression", "zstd"}}}
		},
		steps: map[Step]func(place) []call{First: backup, Unchanged: backup, Changed: backup,
			Restore: func(p place) []call { return calls("restore", p.Source, p.Target) },
			Check:   all("snapshot", "verify"),
			Prune: func(p place) []call {
				return []call{{args: []string{"policy", "set", p.Source, "--keep-latest", "1"}},
					{args: []string{"snapshot", "expire", p.Source, "--delete"}}, {args: []string{"maintenance", "run", "--full", "--safety=none"}}}
			}},
	}
}

// BUG(tarn): the command lines of rustic follow its manual and were never run.

func rustic() Peer {
	backup := func(p place) []call { return calls("--no-progress", "backup", p.Source) }
	return Peer{
		Name: "rustic", program: "rustic", version: []string{"--version"}, About: "as restic, zstd default",
		env: func(p place) []string {
			return []string{"RUSTIC_REPOSITORY=" + p.Repo, "RUSTIC_PASSWORD=" + password, "RUSTIC_CACHE_DIR=" + p.Cache}
		},
		init: all("init"),
		steps: map[Step]func(place) []call{First: backup, Unchanged: backup, Changed: backup,
			Restore: func(p place) []call { return calls("--no-progress", "restore", "latest", p.Target) },
			Check:   all("--no-progress", "check"),
			Prune:   all("--no-progress", "forget", "--keep-last", "1", "--prune", "--instant-delete", "--keep-delete", "0s")},
	}
}

// references are what the machine can do: what finds the entries, reads them, copies them, and what Pipe does.
func references(self string) []Peer {
	none := func(place) []string { return nil }
	find := func(p place) []call { return calls(p.Source, "-printf", `%s %T@ %C@ %i\n`) }
	return []Peer{
		{Name: "find", About: "find -printf '%s %T@ %C@ %i' on the folder itself", program: "find", version: []string{"--version"}, env: none,
			steps: map[Step]func(place) []call{Unchanged: find, MountFind: find}},
		{Name: "cp", About: "cp -a", program: "cp", version: []string{"--version"}, env: none,
			steps: map[Step]func(place) []call{Restore: func(p place) []call { return calls("-a", p.Source, p.Target) }}},
		{Name: "tar", About: "tar of the folder itself", program: "tar", version: []string{"--version"}, env: none,
			steps: map[Step]func(place) []call{MountTar: func(p place) []call { return tarOf(p.Source) }}},
		{Name: "pipe", About: "reads, hashes (BLAKE3) and compresses (zstd default, 4 MiB) on all processors, and writes nothing", program: self,
			version: []string{"version"}, env: none,
			steps: map[Step]func(place) []call{First: func(p place) []call { return calls("bench", "pipe", "--json", p.Source) }}},
	}
}

// tarOf reads all of a folder. tar knows /dev/null and then reads nothing, so it gets a pipe.
func tarOf(dir string) []call {
	return []call{{args: []string{"-c", "-C", dir, "."}, piped: true}}
}

func findOf(dir string) []call { return calls(dir, "-printf", `%s %m %T@ %p\n`) }

// Tool is a program that was measured.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	About   string `json:"about"`
}

// find looks for the program and asks for its version.
func (p *Peer) find(ctx context.Context, scratch string) (Tool, error) {
	path, err := exec.LookPath(p.program)
	if err != nil {
		return Tool{}, fmt.Errorf("%s: %w", p.program, ErrAbsent)
	}
	p.program = path
	at := place{Repo: filepath.Join(scratch, "none"), Cache: filepath.Join(scratch, "cache")}
	line, err := output(ctx, Command{Args: append([]string{path}, p.version...), Env: p.env(at)})
	return Tool{Name: p.Name, Version: strings.TrimSpace(line), About: p.About}, err
}

// can reports whether the program has a step.
func (p *Peer) can(step Step) bool {
	if step == MountFind || step == MountTar {
		return p.mount != nil || p.steps[step] != nil
	}
	return p.steps[step] != nil
}
