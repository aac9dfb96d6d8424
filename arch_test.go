package tarn_test

import (
	"encoding/json"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/tarn-backup/tarn/"

// edges are the imports between the packages of the house, with a reason for each. What is not here must not be.
var edges = map[string]map[string]string{
	"blob": {}, "tlv": {}, "chunker": {}, "filter": {}, "source/fssnap": {},
	"forget":   {"blob": "snapshots have names"},
	"index":    {"blob": "an index says where blobs are", "tlv": "directories have its numbers"},
	"snapshot": {"blob": "nodes refer to blobs", "tlv": "records"},
	"source": {
		"snapshot": "entries are described in the words of nodes", "source/live": "how files in use are captured",
		"source/fssnap": "what holds file systems still", "source/btrfs": "a provider", "source/lvm": "a provider", "source/zfs": "a provider"},
	"source/live":  {"snapshot": "states and methods"},
	"source/btrfs": {"source/fssnap": "what the providers have in common"},
	"source/lvm":   {"source/fssnap": "what the providers have in common"},
	"source/zfs":   {"source/fssnap": "what the providers have in common"},

	"repo/storage":             {},
	"repo/storage/dir":         {"repo/storage": "the interface"},
	"repo/storage/memory":      {"repo/storage": "the interface"},
	"repo/storage/faulty":      {"repo/storage": "the interface"},
	"repo/storage/crash":       {"repo/storage": "the interface"},
	"repo/storage/storagetest": {"repo/storage": "the interface"},
	"repo/cache":               {},
	"repo/storage/limit":       {},
	"repo/storage/retry":       {"repo/storage": "the interface"},
	"repo/storage/locks":       {"repo/storage": "the interface"},
	"repo/storage/web":         {"repo/storage": "kinds of errors", "repo/storage/limit": "connections are held to rates"},
	"repo/storage/pipe":        {"repo/storage": "kinds of errors", "repo/storage/limit": "pipes are held to rates"},
	"repo/storage/s3":          {"repo/storage": "the interface", "repo/storage/web": "how objects are sent"},
	"repo/storage/rest": {
		"repo/storage": "the interface", "repo/storage/web": "how objects are sent", "repo/storage/locks": "what the server does not take"},
	"repo/storage/rclone": {
		"repo/storage": "the interface", "repo/storage/limit": "pipes are held to rates", "repo/storage/pipe": "runs rclone",
		"repo/storage/rest": "rclone speaks it", "repo/storage/locks": "which names rclone takes"},
	"repo/storage/sftp": {
		"repo/storage": "the interface", "repo/storage/limit": "pipes are held to rates", "repo/storage/pipe": "runs ssh"},
	"repo/seal": {"blob": "IDs are keyed hashes", "tlv": "key slots are records"},
	"repo/pack": {
		"blob": "packs hold blobs", "index": "a pack's directory is what an index is made of", "repo/seal": "segments are sealed"},
	"repo/parity": {"blob": "packs have names", "repo/seal": "shards are sealed", "repo/storage": "reads packs and shards", "tlv": "their directories are records"},
	"repo": {
		"blob": "the store of blobs", "chunker": "the config says which", "index": "where blobs are", "repo/pack": "writes packs",
		"repo/parity": "makes parity of them",
		"repo/seal":   "holds the keys", "repo/storage": "where objects are", "tlv": "config and sessions are records"},
	"repo/prune": {
		"blob": "marks blobs", "index": "says which packs hold what", "repo": "what is pruned", "repo/pack": "how hard to compress",
		"repo/parity": "keeps packs that others need for it",
		"repo/seal":   "names kinds of damage", "repo/storage": "names kinds of errors", "snapshot": "walks snapshots"},
	"repo/check": {
		"blob": "walks blobs", "index": "compares it with the packs", "repo": "what is checked", "repo/pack": "opens packs",
		"repo/seal": "names kinds of damage", "repo/storage": "reads objects", "snapshot": "walks snapshots"},
	"repo/repair": {
		"blob": "stores blobs again", "index": "makes it anew", "repo": "what is mended", "repo/parity": "rebuilds packs", "repo/pack": "opens segments one by one",
		"repo/seal": "opens packs whose headers are damaged", "repo/storage": "reads and replaces packs", "rewrite": "makes trees of what is left",
		"snapshot": "makes the best of snapshots"},
	"repo/successor": {
		"blob": "snapshots have names", "repo": "where it is put", "rewrite": "looks up what it needs", "snapshot": "reads and makes records"},
	"rewrite": {"blob": "loads blobs", "snapshot": "reads and makes trees"},

	"backup": {
		"blob": "saves blobs", "chunker": "cuts contents", "snapshot": "makes trees", "source": "reads folders", "source/live": "captures files"},
	"fusefs":  {"blob": "loads blobs", "snapshot": "reads trees"},
	"restore": {"blob": "loads blobs", "snapshot": "reads trees"},

	"testing/servers":          {},
	"testing/servers/cmd/far":  {"testing/servers": "a server as a program"},
	"source/fssnap/fssnaptest": {"source/fssnap": "tests of the providers"},
	"testing/simulate": {
		"blob": "promises are about blobs", "forget": "a client forgets", "index": "the oracle reads indexes", "repo": "clients write",
		"repo/check": "the last word", "repo/pack": "the oracle reads packs", "repo/prune": "clients prune", "repo/storage": "stands between",
		"repo/storage/crash": "the disk", "repo/successor": "a client tags", "rewrite": "a client copies", "snapshot": "clients make trees"},
	"testing/torture":             {},
	"testing/hostile":             {},
	"testing/torture/cmd/torture": {"testing/torture": "the tree as a program"},
}

// anything may be imported by these: they wire.
var free = []string{"cmd/", "bench"}

func TestImportGraph(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(p.ImportPath, module)
		seen[from] = true
		allowed, known := edges[from]
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if strings.HasPrefix(to, "cmd/") {
				t.Errorf("%s imports %s: nothing imports a command", from, to)
			}
			if isFree(from) {
				continue
			}
			if !known {
				t.Errorf("package %s is not in the graph", from)
				break
			}
			if allowed[to] == "" {
				t.Errorf("%s imports %s, which the graph does not allow", from, to)
			}
		}
	}
	var gone []string
	for from := range edges {
		if !seen[from] {
			gone = append(gone, from)
		}
	}
	sort.Strings(gone)
	if len(gone) > 0 {
		t.Errorf("the graph names packages that are gone: %v", gone)
	}
}

func isFree(pkg string) bool {
	for _, prefix := range free {
		if strings.HasPrefix(pkg, prefix) {
			return true
		}
	}
	return false
}
