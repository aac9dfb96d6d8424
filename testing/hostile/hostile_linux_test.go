package hostile_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/restore"
	"github.com/tarn-backup/tarn/snapshot"
	"go.uber.org/goleak"
)

// memoryMax is what a restore of any repository may take, in KiB.
const memoryMax = 512 << 10

// endless is when a restore counts as one that has no end. Those that have one take seconds.
const endless = 3 * time.Minute

func TestMain(m *testing.M) {
	debug.SetGCPercent(50) // as the program does
	goleak.VerifyTestMain(m)
}

var password = []byte("the right key")

// maker makes a hostile repository through one session.
type maker struct {
	t    testing.TB
	s    *memory.Store
	repo *repo.Repo
	w    *repo.Writer
	lane *repo.Lane
}

func newMaker(t testing.TB) *maker {
	t.Helper()
	m := &maker{t: t, s: memory.New()}
	var err error
	m.repo, err = repo.Init(context.Background(), m.s, password, repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	m.must(err)
	m.w, err = m.repo.NewWriter(context.Background(), repo.WriterOptions{Session: repo.NewSession(repo.PurposeBackup, "h", "u", "p")})
	m.must(err)
	m.lane = m.w.Lane()
	return m
}

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) save(kind blob.Kind, data string, length uint64) []snapshot.Element {
	m.t.Helper()
	id, err := m.lane.Save(context.Background(), kind, []byte(data))
	m.must(err)
	if length == 0 {
		length = uint64(len(data))
	}
	return []snapshot.Element{{ID: id, Length: length}}
}

func (m *maker) chunk(data string, length uint64) []snapshot.Element {
	return m.save(blob.Data, data, length)
}

// raw is a tree blob of any bytes.
func (m *maker) raw(data string, length uint64) []snapshot.Element {
	return m.save(blob.Tree, data, length)
}

func (m *maker) list(length uint64, below ...snapshot.Element) []snapshot.Element {
	var data []byte
	for _, e := range below {
		data = snapshot.AppendElement(data, e)
	}
	return m.raw(string(data), length)
}

func (m *maker) file(name, text string) snapshot.Node {
	n := file(name)
	n.Size, n.Content.Elements = uint64(len(text)), m.chunk(text, 0)
	return n
}

func (m *maker) bigXattr() snapshot.Xattr {
	return snapshot.Xattr{Name: "user.big", Ref: m.chunk(strings.Repeat("x", blob.SizeMax), 0)[0].ID}
}

// dir is a folder of entries in the order in which they are given.
func (m *maker) dir(name string, entries ...snapshot.Node) *snapshot.Node {
	n := &snapshot.Node{Name: name, Type: snapshot.Dir, Mode: 0o755}
	var data []byte
	for i := range entries {
		data = snapshot.AppendNode(data, &entries[i])
	}
	if len(data) > 0 {
		n.Content.Elements = m.raw(string(data), 0)
	}
	return n
}

// commit stores the snapshot, and opens the repository as its victim does.
func (m *maker) commit(root *snapshot.Node) (*repo.Repo, *snapshot.Record) {
	m.t.Helper()
	ctx := context.Background()
	rec := snapshot.Record{Time: time.Unix(1e9, 0), Host: "h", Paths: []string{"/"}, Session: m.w.Session(), Root: *root}
	name, err := m.w.Commit(ctx, rec.Encode())
	m.must(err)
	r, err := open(m.s)
	m.must(err)
	data, err := r.LoadSnapshot(ctx, name)
	m.must(err)
	got, err := snapshot.DecodeRecord(data)
	m.must(err)
	return r, got
}

func open(s storage.Storage) (*repo.Repo, error) {
	return repo.Open(context.Background(), s, func() ([]byte, error) { return password, nil }, repo.OpenOptions{})
}

// jail is a folder with something beside the target that must not change.
type jail struct {
	t      testing.TB
	dir    string
	target string
	before string
}

func newJail(t testing.TB) *jail {
	t.Helper()
	j := &jail{t: t, dir: t.TempDir()}
	j.target = filepath.Join(j.dir, "in", "target")
	for _, err := range []error{os.MkdirAll(filepath.Join(j.dir, "outside"), 0o755), os.MkdirAll(filepath.Dir(j.target), 0o755),
		os.WriteFile(filepath.Join(j.dir, "outside", "secret"), []byte("secret"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	j.before = j.listing()
	return j
}

// listing is all that is outside of the target.
func (j *jail) listing() string {
	var b strings.Builder
	err := filepath.WalkDir(j.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == j.target {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data := []byte{}
		if d.Type().IsRegular() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "%s %v %q\n", path, info.Mode(), data)
		return nil
	})
	if err != nil {
		j.t.Error(err)
	}
	return b.String()
}

// restore restores into the target, three times: into nothing, over what is there, and with all that is there removed first.
func (j *jail) restore(r *repo.Repo, rec *snapshot.Record) (first error) {
	j.t.Helper()
	for i, o := range []restore.Options{{Verify: true}, {Overwrite: restore.OverwriteAlways}, {Overwrite: restore.OverwriteIfChanged, Delete: true}} {
		ctx, cancel := context.WithTimeout(context.Background(), endless)
		_, err := restore.Run(ctx, r, rec.Root, j.target, o, nil)
		if ctx.Err() != nil {
			j.t.Errorf("restore %d has no end", i)
		}
		cancel()
		if i == 0 {
			first = err
		}
	}
	if after := j.listing(); after != j.before {
		j.t.Errorf("outside of the target:\n%s, was\n%s", after, j.before)
	}
	return first
}

// TestTrees restores from repositories whose trees are hostile.
func TestTrees(t *testing.T) {
	cases := treeCases()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t)
			r, rec := m.commit(c.make(m))
			var err error
			wantMemory(t, func() {
				err = newJail(t).restore(r, rec)
				ctx, cancel := context.WithTimeout(context.Background(), endless)
				defer cancel()
				if _, err := check.Run(ctx, r, check.Options{ReadData: true}, func(check.Finding) {}); err != nil {
					t.Errorf("check: %v", err)
				}
			})
			switch {
			case c.want == "?": // whatever it does, it stays inside
			case c.want == "" && err != nil && name != "no name":
				t.Errorf("got %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Logf("%d cases", len(cases))
}

// wantMemory runs fn, and fails if it takes more memory than is allowed in each of three runs: when the runtime gives back what is not used is a
// matter of luck. What was taken before does not count.
func wantMemory(t *testing.T, fn func()) {
	t.Helper()
	for try := 1; ; try++ {
		debug.FreeOSMemory()
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // begins VmHWM anew: proc(5)
			t.Fatal(err)
		}
		fn()
		kib := peak(t)
		t.Logf("at most %d MiB of memory", kib>>10)
		switch {
		case kib <= memoryMax:
			return
		case try == 3:
			t.Errorf("%d KiB of memory, the limit is %d", kib, memoryMax)
			return
		}
	}
}

// peak is the most memory that this process had, in KiB.
func peak(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.TrimSpace(strings.Split(rest, "kB")[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
