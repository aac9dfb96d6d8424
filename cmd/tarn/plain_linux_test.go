package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestPlainUser backs up as nobody in particular, on Btrfs: a subvolume of one's own where the mount allows it, and else files, one's own and
// those of others. It must always say what it can't do and why.
func TestPlainUser(t *testing.T) {
	const nobody = 65534
	for _, k := range []struct {
		name, option string
		owner        int
		says         string // source list, and the backup
		own, other   string // classes
		summary      string
	}{
		{"own subvolume", "user_subvol_rm_allowed", nobody, "snapshot as its owner", "snapshot", "snapshot", "everything as it was at one moment"},
		{"mount that does not allow it", "relatime", nobody, "the mount lacks user_subvol_rm_allowed: not taken", "lease", "reflink", "every file whole"},
		{"subvolume of another", "user_subvol_rm_allowed", 0, "is not the user's own: not taken", "lease", "reflink", "every file whole"},
	} {
		t.Run(k.name, func(t *testing.T) {
			point := btrfsDisk(t, 512<<20, k.option)
			tarn := newProgram(t)
			home := filepath.Join(point, "home")
			fssnaptest.Run(t, "btrfs", "subvolume", "create", home)
			work := filepath.Join(home, "work")
			if err := errors.Join(os.Mkdir(work, 0o755), os.WriteFile(filepath.Join(work, "own"), []byte("mine"), 0o644),
				os.WriteFile(filepath.Join(work, "other"), []byte("another's"), 0o644),
				os.Chown(filepath.Join(work, "own"), nobody, nobody), os.Chown(work, nobody, nobody), os.Chown(home, k.owner, k.owner)); err != nil {
				t.Fatal(err)
			}
			age(t, work)
			tarn.giveTo(t, nobody, filepath.Dir(point))
			for _, args := range [][]string{{"source", "list", work}, {"backup", "--verbose", work}} {
				if said := tarn.must(args...); !strings.Contains(said, k.says) {
					t.Errorf("tarn %s does not say %q:\n%s", strings.Join(args, " "), k.says, said)
				}
			}
			if said := tarn.must("backup", "--force", work); !strings.Contains(said, k.summary) {
				t.Errorf("the summary does not say %q:\n%s", k.summary, said)
			}
			classes := map[string]string{}
			for line := range strings.Lines(tarn.must("ls", "latest:"+work, "--json")) {
				var e struct{ Path, Method string }
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				classes[filepath.Base(e.Path)] = e.Method
			}
			if classes["own"] != k.own || classes["other"] != k.other && classes["other"] != "stable" {
				t.Errorf("classes %v, want own %s, other %s", classes, k.own, k.other)
			}
			out, err := tarn.command("backup", "--fs-snapshot", "required", work).CombinedOutput()
			if refused := err != nil; refused != (k.own == "lease") || refused && !strings.Contains(string(out), k.says) {
				t.Errorf("required: %v\n%s", err, out)
			}
			if left := strings.Count(fssnaptest.Run(t, "btrfs", "subvolume", "list", point), "\n"); left != 1 {
				t.Errorf("%d subvolumes, want one", left)
			}
		})
	}
}

// TestSubvolumeOfAnother: a subvolume that a user may not read is an empty folder in the snapshot of his own, and must not be taken for one.
func TestSubvolumeOfAnother(t *testing.T) {
	const nobody = 65534
	point := btrfsDisk(t, 512<<20, "user_subvol_rm_allowed")
	tarn := newProgram(t)
	home := filepath.Join(point, "home")
	closed := filepath.Join(home, "closed")
	fssnaptest.Run(t, "btrfs", "subvolume", "create", home)
	fssnaptest.Run(t, "btrfs", "subvolume", "create", closed)
	if err := errors.Join(os.WriteFile(filepath.Join(closed, "file"), []byte("1"), 0o644), os.Chmod(closed, 0o700), os.Chown(home, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	age(t, home)
	tarn.giveTo(t, nobody, filepath.Dir(point))
	out, err := tarn.command("backup", home).CombinedOutput()
	var exit *exec.ExitError
	if said := string(out); !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(said, home+" is read from a snapshot") || !strings.Contains(said, closed+": ") {
		t.Errorf("%v, want 3, and %s to be named as unreadable:\n%s", err, closed, said)
	}
}

// giveTo lets tarn run as another user, with a copy of itself and its repository in a folder that he may enter.
func (p *builtTarn) giveTo(t *testing.T, uid int, dir string) {
	t.Helper()
	data, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	p.path = filepath.Join(dir, "tarn")
	repo := filepath.Join(dir, "repo")
	if err := errors.Join(os.WriteFile(p.path, data, 0o755), os.Mkdir(repo, 0o755), os.Chown(repo, uid, uid)); err != nil {
		t.Fatal(err)
	}
	p.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	p.env = append(p.env, "TARN_REPOSITORY="+filepath.Join(repo, "r"), "XDG_CACHE_HOME="+filepath.Join(repo, "cache"), "XDG_STATE_HOME="+filepath.Join(repo, "state"))
	p.must("init", "--kdf-memory", "8M", "--kdf-passes", "1")
}
