package filter_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/filter"
)

// TestGit holds random patterns against what git itself says of every path of a small tree.
func TestGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git: apt-get install git")
	}
	top := t.TempDir()
	paths := makeTree(t, top)
	git(t, top, nil, "init", "-q")
	const seed = 11
	t.Logf("seed %d, %d paths", seed, len(paths))
	rnd := rand.New(rand.NewPCG(seed, 0))
	lists, named := 0, 0
	for range 400 {
		patterns := randomPatterns(rnd)
		r, err := filter.Parse(patterns, filter.Exact)
		if err != nil {
			continue // git says that these never match
		}
		lists++
		if err := os.WriteFile(filepath.Join(top, ".git/info/exclude"), []byte(strings.Join(patterns, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range paths {
			names = append(names, strings.TrimSuffix(p, "/"))
		}
		ignored := map[string]bool{}
		out := git(t, top, []byte(strings.Join(names, "\x00")), "check-ignore", "--no-index", "--stdin", "-z")
		for _, p := range strings.Split(out, "\x00") {
			ignored[p] = true
		}
		for _, p := range paths {
			name, isDir := strings.CutSuffix(p, "/")
			got := excluded(r, name, isDir)
			if got != ignored[name] {
				t.Errorf("%q: %q: %v, git says %v", patterns, p, got, ignored[name])
			}
			if got {
				named++
			}
		}
	}
	if lists < 200 || named < 1000 {
		t.Errorf("%d lists named %d paths: the test tests little", lists, named)
	}
}

// excluded asks as a walk does: nothing below a folder that is named is asked about.
func excluded(r *filter.Rules, name string, isDir bool) bool {
	for i := range name {
		if name[i] == '/' && r.Match("/"+name[:i], true) {
			return true
		}
	}
	return r.Match("/"+name, isDir)
}

func makeTree(t *testing.T, top string) (paths []string) {
	names := []string{"a", "b", "ab", "a.o", "*"}
	for _, x := range names {
		for _, y := range names {
			dir := "d" + x + "/" + y
			if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, dir+"/")
			for _, z := range names {
				if err := os.WriteFile(filepath.Join(top, dir, z), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				paths = append(paths, dir+"/"+z)
			}
		}
		paths = append(paths, "d"+x+"/")
	}
	return paths
}

func randomPatterns(rnd *rand.Rand) (list []string) {
	pieces := []string{"a", "b", "d", "ab", "*", "**", "?", "[ab]", "[!a]", "/", "/", `\*`, ".o", "**/", "/**", "/**/", "da/"}
	for range 1 + rnd.IntN(3) {
		var b strings.Builder
		if rnd.IntN(4) == 0 {
			b.WriteByte('!')
		}
		for range 1 + rnd.IntN(4) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		list = append(list, b.String())
	}
	return list
}

func git(t *testing.T, dir string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: nothing is ignored
		t.Fatalf("git %v: %v", args, err)
	}
	return string(out)
}
