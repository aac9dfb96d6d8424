package fssnap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/source/fssnap"
)

func TestName(t *testing.T) {
	r := fssnap.Request{Repository: "0badcafe", Session: strings.Repeat("0123456789abcdef", 2)}
	n, err := fssnap.NewName(r, "any origin")
	if err != nil {
		t.Fatal(err)
	}
	const want = "tarn-0badcafe-0123456789abcdef0123456789abcdef-3f906861"
	if n.String() != want {
		t.Errorf("%s, want %s: names of older versions must be known", n, want)
	}
	if back, err := fssnap.ParseName(n.String()); err != nil || back != n {
		t.Errorf("%+v, %v", back, err)
	}
	if other, _ := fssnap.NewName(r, "other origin"); other == n {
		t.Error("two origins have one name")
	}
	for _, bad := range []string{"", "tarn-", "tarn--", "snapshot", want + "-", want + "0", want[:len(want)-1], "x" + want,
		strings.ToUpper(want), strings.Replace(want, "0badcafe", "0badcafg", 1), strings.Replace(want, "3f90", "../a", 1), want + "\n"} {
		if n, err := fssnap.ParseName(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, n)
		}
	}
	for _, bad := range []fssnap.Request{{}, {Repository: "0badcafe"}, {Repository: "0BADCAFE", Session: r.Session}, {Repository: "0badcafe", Session: "-rf"}} {
		if n, err := fssnap.NewName(bad, ""); err == nil {
			t.Errorf("%+v gets the name %s", bad, n)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("tarn-0badcafe-0123456789abcdef0123456789abcdef-3f906861")
	f.Add("tarn-0badcafe--")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := fssnap.ParseName(s); err == nil && n.String() != s {
			t.Errorf("%q is read as %q", s, n)
		}
	})
}

func FuzzParseOwner(f *testing.F) {
	f.Add("00000000-0000-0000-0000-000000000000.4026531836.17.4711")
	f.Add("a.1.-1.1")
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := fssnap.ParseOwner(s); err == nil && o.String() != s {
			t.Errorf("%q is read as %q", s, o)
		}
	})
}

func TestFind(t *testing.T) {
	mounts := []fssnap.Mount{
		{ID: 1, Parent: 0, Point: "/", Root: "/", Device: "a"},
		{ID: 2, Parent: 1, Point: "/home", Root: "/@home", Device: "b", Major: 1},
		{ID: 3, Parent: 2, Point: "/home/ann/mnt", Root: "/", Device: "c"},
		{ID: 4, Parent: 1, Point: "/srv", Root: "/", Device: "d"},
		{ID: 5, Parent: 4, Point: "/srv/data", Root: "/", Device: "e"},
		{ID: 6, Parent: 4, Point: "/srv", Root: "/", Device: "f"},                     // over 4, and so over 5
		{ID: 7, Parent: 1, Point: "/bind", Root: "/@home/ann", Device: "b", Major: 1}, // a part of 2
	}
	for path, want := range map[string]string{"/": "a", "/homework": "a", "/home": "b", "/home/ann": "b", "/home/ann/mnt": "c",
		"/home/ann/mnt/x": "c", "/home/ann/mnt2": "b", "/srv": "f", "/srv/data": "f", "/bind/x": "b"} {
		if m, ok := fssnap.Find(mounts, path); !ok || m.Device != want {
			t.Errorf("%s lies in %+v, want %s", path, m, want)
		}
	}
	if m, ok := fssnap.Find(nil, "/"); ok {
		t.Errorf("found %+v in no table", m)
	}
	var below []string
	for _, m := range fssnap.Below(mounts, "/") {
		below = append(below, m.Device+m.Point)
	}
	if got := strings.Join(below, " "); got != "b/bind b/home c/home/ann/mnt f/srv" {
		t.Errorf("below /: %s", got)
	}
	seen := fssnap.Elsewhere(mounts, mounts[6], "/bind/x")
	if len(seen) != 1 || seen[0].Path != "/home/ann/x" {
		t.Errorf("/bind/x is elsewhere at %+v", seen)
	}
	if inside, ok := mounts[6].Inside("/bind/x"); !ok || inside != "/@home/ann/x" {
		t.Errorf("inside: %q", inside)
	}
}

// TestFindCircle: a table that changes while it is read may say anything, and must not hang a backup.
func TestFindCircle(t *testing.T) {
	fssnap.Find([]fssnap.Mount{{ID: 1, Parent: 1, Point: "/"}, {ID: 2, Parent: 3, Point: "/"}, {ID: 3, Parent: 2, Point: "/"},
		{ID: 4, Parent: 1, Point: "/"}, {ID: 1, Parent: 4, Point: "/"}}, "/x")
}

func TestMapping(t *testing.T) {
	m := fssnap.Mapping{From: "/home/ann", To: "/held"}
	for path, want := range map[string]string{"/home/ann": "/held", "/home/ann/": "/held", "/home/ann/a/b": "/held/a/b",
		"/home/anna": "", "/home": "", "/": "", "/home/ann/../bob": ""} {
		if got, ok := m.Path(path); got != want || ok != (want != "") {
			t.Errorf("%s is mapped to %q, want %q", path, got, want)
		}
	}
	if got, ok := (fssnap.Mapping{From: "/", To: "/held"}).Path("/etc"); !ok || got != "/held/etc" {
		t.Errorf("/etc is mapped to %q", got)
	}
}

func TestRemoveRefuses(t *testing.T) {
	destroyed := 0
	destroy := func(context.Context) error { destroyed++; return nil }
	for _, l := range []fssnap.Leftover{{Doubt: "it has no mark", Life: fssnap.Gone, Destroy: destroy}, {Life: fssnap.Alive, Destroy: destroy}} {
		if err := l.Remove(t.Context()); !errors.Is(err, fssnap.ErrDoubt) || destroyed > 0 {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if err := (fssnap.Leftover{Life: fssnap.Gone, Destroy: destroy}).Remove(t.Context()); err != nil || destroyed != 1 {
		t.Errorf("%v, %d destroyed", err, destroyed)
	}
}

// fake is a provider with one plan.
type fake struct{ plan fssnap.Plan }

func (f fake) Plan(context.Context, fssnap.Mount, string) fssnap.Plan { return f.plan }

func (f fake) Take(context.Context, fssnap.Request) (fssnap.Snapshot, error) {
	return nil, errors.ErrUnsupported
}

func (f fake) Leftovers(context.Context, []fssnap.Mount) ([]fssnap.Leftover, error) { return nil, nil }

func ExampleDecide() {
	mount := fssnap.Mount{Point: "/", FSType: "overlay"}
	other := fake{}
	declines := fake{fssnap.Plan{Why: "btrfs as a plain user: the mount lacks user_subvol_rm_allowed: not taken"}}
	takes := fake{fssnap.Plan{Kind: fssnap.LVMThin, ID: "lvm 1", Why: "ext4 on LVM vg/home: thin snapshot"}}
	for _, providers := range [][]fssnap.Provider{{other}, {other, declines, takes}, {other, takes}} {
		plan, provider := fssnap.Decide(context.Background(), providers, mount, "/home")
		fmt.Println(plan.Why, provider != nil)
	}
	// Output:
	// overlay: no snapshots here false
	// btrfs as a plain user: the mount lacks user_subvol_rm_allowed: not taken false
	// ext4 on LVM vg/home: thin snapshot true
}

func TestLookPath(t *testing.T) {
	t.Setenv("PATH", "")
	if p, err := fssnap.LookPath("no-such-program"); err == nil {
		t.Errorf("found %s", p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := fssnap.Query(ctx, "no-such-program"); err == nil {
		t.Error("a program that is not there was run")
	}
}
