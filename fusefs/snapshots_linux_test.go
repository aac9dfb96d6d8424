package fusefs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/fusefs"
	"github.com/tarn-backup/tarn/snapshot"
)

func TestLayout(t *testing.T) {
	f := newFixture(t)
	rec := at(1)
	rec.Tags = []string{"daily", "a/b", ".."}
	first := f.save(rec, file("a", "one"))
	second := f.save(at(1), file("a", "two")) // in the same second
	rec = at(2)
	rec.Host = "mail"
	third := f.save(rec, file("a", "three"))
	m := f.mount(fusefs.Options{})
	for p, want := range map[string]string{
		"":          "history hosts ids snapshots tags",
		"snapshots": "2026-05-01T10-20-30 2026-05-01T10-20-30-2 2026-05-02T10-20-30 latest",
		"hosts":     "mail web", "hosts/mail": "2026-05-02T10-20-30 latest",
		"tags": "__ a_b daily", "tags/a_b": "2026-05-01T10-20-30 latest",
		"history": "a", "history/a": "2026-05-01T10-20-30_3B 2026-05-01T10-20-30_3B-2 2026-05-02T10-20-30_5B",
	} {
		if got := m.names(t, p); got != want {
			t.Errorf("%s has %q, want %q", p, got, want)
		}
	}
	contents := map[string]string{}
	for _, n := range []string{"snapshots/2026-05-01T10-20-30", "snapshots/2026-05-01T10-20-30-2"} {
		id := make([]byte, 100)
		size, err := unix.Getxattr(m.path(n), "user.tarn.snapshot", id)
		if err != nil {
			t.Fatal(err)
		}
		contents[string(id[:size])] = m.read(t, n+"/a")
	}
	want := map[string]string{first.String(): "one", second.String(): "two"}
	if d := cmp.Diff(want, contents); d != "" {
		t.Error(d)
	}
	for _, p := range []string{"snapshots/latest", "hosts/mail/latest", "ids/" + third.Short()} {
		if got := m.read(t, p+"/a"); got != "three" {
			t.Errorf("%s/a is %q", p, got)
		}
	}
	if got := m.read(t, "tags/daily/latest/a"); got != contents[first.String()] {
		t.Errorf("the tagged snapshot has %q", got)
	}
	if _, err := os.Stat(m.path("snapshots/nonsense")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot that is not there: %v", err)
	}
}

// TestVersionsOfOneTime has more versions of a file than its times and sizes tell apart: each has a name and can be read.
func TestVersionsOfOneTime(t *testing.T) {
	f := newFixture(t)
	var want []string
	for n := range 4 {
		text := fmt.Sprint(n)
		f.save(at(n+1), file("a.txt", text))
		want = append(want, text)
	}
	m := f.mount(fusefs.Options{TimeForm: "2006/01"})
	if got := m.names(t, "history/a.txt"); got != "2026_05_1B-2.txt 2026_05_1B-3.txt 2026_05_1B-4.txt 2026_05_1B.txt" {
		t.Errorf("versions %s", got)
	}
	var got []string
	for name := range strings.FieldsSeq(m.names(t, "history/a.txt")) {
		got = append(got, m.read(t, "history/a.txt/"+name))
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTemplates(t *testing.T) {
	f := newFixture(t)
	rec := at(1)
	rec.User = "me"
	name := f.save(rec, file("a", "one"))
	m := f.mount(fusefs.Options{Templates: []string{"%h-%u/%T 100%%", "all/%I"}, TimeForm: "2006"})
	if got := m.read(t, "web-me/2026 100%/a"); got != "one" {
		t.Error(got)
	}
	if got := m.names(t, "all"); got != name.String() {
		t.Error(got)
	}
	for _, bad := range []string{"", "/%T", "a//%T", "../%T", "history/%T", "%T/%x", "%h", "%T/%t", "%"} {
		if fusefs.ParseTemplate(bad) == nil {
			t.Errorf("template %q is taken", bad)
		}
	}
}

func TestMatchAndOwner(t *testing.T) {
	f := newFixture(t)
	f.save(at(1), file("a", "one").with(func(n *snapshot.Node) { n.UID, n.GID = 1, 2 }))
	rec := at(2)
	rec.Host = "mail"
	f.save(rec, file("a", "two"))
	rec = at(3)
	rec.Partial = true
	f.save(rec, file("a", "three"))
	m := f.mount(fusefs.Options{Owner: &fusefs.Owner{UID: 77, GID: 88}})
	if got := m.names(t, "snapshots"); got != "2026-05-01T10-20-30 2026-05-02T10-20-30 latest" {
		t.Errorf("a partial snapshot shows: %s", got)
	}
	st := stat(t, m.path("snapshots/2026-05-01T10-20-30/a"))
	if st.Uid != 77 || st.Gid != 88 {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
	m = f.mount(fusefs.Options{Match: func(r *snapshot.Record) bool { return r.Host == "mail" }})
	if got := m.names(t, "snapshots"); got != "2026-05-02T10-20-30 latest" {
		t.Errorf("of one host: %s", got)
	}
}

func TestHistory(t *testing.T) {
	f := newFixture(t)
	torn := func(n *snapshot.Node) { n.State = snapshot.Torn }
	f.save(at(1), folder("etc", file("conf.txt", "needle 1"), file("same", "s")), file("was", "file"))
	f.save(at(2), folder("etc", file("conf.txt", "needle two"), file("same", "s")), folder("was", file("inner", "i")))
	f.save(at(3), folder("etc", file("conf.txt", "needle two"), file("same", "s"), file("new", "n").with(torn)))
	m := f.mount(fusefs.Options{Fresh: atOnce})
	for p, want := range map[string]string{
		"history/etc":          "conf.txt new same",
		"history/etc/conf.txt": "2026-05-01T10-20-30_8B.txt 2026-05-02T10-20-30_10B.txt",
		"history/etc/same":     "2026-05-01T10-20-30_1B",
		"history/etc/new":      "2026-05-03T10-20-30_1B_torn",
		"history/was":          "2026-05-01T10-20-30_4B inner",
	} {
		if got := m.names(t, p); got != want {
			t.Errorf("%s has %q, want %q", p, got, want)
		}
	}
	out, err := exec.Command("grep", "-r", "needle", m.path("history")).Output()
	if got := strings.Count(string(out), "needle"); got != 2 || err != nil {
		t.Errorf("grep found %q, %v", out, err)
	}
	if _, err := os.Stat(m.path("history/etc/none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	f.save(at(4), folder("etc", file("conf.txt", "needle four")))
	if got := m.names(t, "history/etc/conf.txt"); !strings.Contains(got, "2026-05-04") {
		t.Errorf("the version of a new snapshot is not among %q", got)
	}
}

// atOnce lets a mount show at each question what is there then.
const atOnce = -time.Nanosecond

func TestSnapshotsComeAndGo(t *testing.T) {
	f := newFixture(t)
	m := f.mount(fusefs.Options{Fresh: atOnce})
	shows := func(when, want string) {
		t.Helper()
		if got := m.names(t, "snapshots"); got != want {
			t.Errorf("%s it shows %q, want %q", when, got, want)
		}
	}
	shows("empty,", "")
	first := f.save(at(1), file("a", "one"))
	shows("after a backup", "2026-05-01T10-20-30 latest")
	if got := m.read(t, "snapshots/latest/a"); got != "one" {
		t.Errorf("latest has %q", got)
	}
	f.save(at(2), file("a", "two"))
	if got := m.read(t, "snapshots/latest/a"); got != "two" {
		t.Errorf("latest has %q, not what the second backup saved", got)
	}
	r, err := os.Open(m.path("snapshots/2026-05-01T10-20-30/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := f.RemoveSnapshot(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.path("snapshots/2026-05-01T10-20-30/a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was forgotten: %v", err)
	}
	shows("after the first was forgotten", "2026-05-02T10-20-30 latest")
	if data, err := io.ReadAll(r); string(data) != "one" || err != nil {
		t.Errorf("who had opened a file of it reads %q, %v", data, err)
	}
}
