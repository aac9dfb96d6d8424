package filter_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/filter"
)

func parse(t testing.TB, c filter.Case, patterns ...string) *filter.Rules {
	t.Helper()
	r, err := filter.Parse(patterns, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		patterns string // with spaces between
		yes, no  string // paths; those that end with a slash are folders
	}{
		{"*.o", "/a.o /x/y/.o /x/a.o/", "/a.oo /a.o.c /o"},
		{"core", "/core /x/core /x/core/", "/cores /x/core.c /score"},
		{"cache/", "/cache/ /x/cache/", "/cache /x/cache"},
		{"/cache", "/cache /cache/", "/x/cache"},
		{"x/cache", "/x/cache", "/y/x/cache /cache"},
		{"/x/cache/", "/x/cache/", "/x/cache"},
		{"**/cache", "/cache /x/cache /x/y/cache", "/cached"},
		{"**/x/cache", "/x/cache /y/x/cache /z/y/x/cache", "/cache /yx/cache"},
		{"/x/**", "/x/a /x/a/b", "/x /x/ /xy/a"},
		{"/x/**/y", "/x/y /x/a/y /x/a/b/y", "/xy /x/ay /y"},
		{"/x/*", "/x/a", "/x /x/a/b"},
		{"/x/*.o", "/x/a.o", "/x/a/b.o /a.o"},
		{"a**b", "/ab /axxb", "/a/b"},
		{"?", "/a /é /x/b", "/ab"},
		{"[a-c]x", "/ax /cx", "/dx /x"},
		{"[!a-c]x", "/dx", "/ax /x"},
		{"[]a]", "/] /a", "/b"},
		{"[[:digit:]]x", "/1x", "/ax"},
		{`\!a`, "/!a", "/a"},
		{`\*a`, "/*a", "/xa"},
		{"{a,b}", "/{a,b}", "/a /b"},
		{"*{a,b}", "/x{a,b}", "/xa /xb"},
		{"*-x", "/a-x", "/ax"},
		{"foo*", "/foo /foobar /x/food", "/xfoo"},
		{"*.o !keep.o", "/a.o", "/keep.o /x/keep.o"},
		{"*.o !keep.o /x/keep.o", "/x/keep.o /y.o", "/keep.o"},
		{"!a a/", "/a/", "/a"},
		{"a !a/ ", "/a", "/a/"},
		{"** !*/ !*.jpg", "/x/a.txt", "/x/ /x/a.jpg"},
		{"é*", "/éa", "/ea /\xe9a"},
		{"caf\xe9", "/caf\xe9", "/caf\xe8 /café /caf\ufffd"},
		{"caf?", "/caf\xe9 /café", "/caf"},
		{"\ufffd", "/\ufffd", "/\xff"},
		{"*\xff.o", "/a\xff.o", "/a\xfe.o"},
		{"[\xfe]", "/\xfe", "/\xff"},
		{"\xf4\x8f\xbc\x80", "/\xf4\x8f\xbc\x80", "/\xff"},
	} {
		r := parse(t, filter.Exact, strings.Fields(c.patterns)...)
		check := func(paths string, want bool) {
			for _, p := range strings.Fields(paths) {
				full, isDir := strings.CutSuffix(p, "/")
				if got := r.Match(full, isDir); got != want {
					t.Errorf("%q: %q: %v, want %v", c.patterns, p, got, want)
				}
			}
		}
		check(c.yes, true)
		check(c.no, false)
	}
}

func TestFold(t *testing.T) {
	r := parse(t, filter.Fold, "*.JPG", "/Home/ME", "straße", "[[:upper:]]1", "[X-Z]2", "Σ\xff")
	for _, p := range []string{"/a.jpg", "/A.JpG", "/home/me", "/x/STRAßE", "/a1", "/B1", "/y2", "/ς\xff"} {
		if !r.Match(p, false) {
			t.Errorf("%q does not match", p)
		}
	}
	for _, p := range []string{"/a.png", "/1", "/σ\xfe", "/a2"} {
		if r.Match(p, false) {
			t.Errorf("%q matches", p)
		}
	}
	both := filter.Join(parse(t, filter.Fold, "*.o"), parse(t, filter.Exact, "!A.o"), parse(t, filter.Fold, "a.o/"))
	for p, want := range map[string]bool{"/B.O": true, "/A.o": false, "/a.o": true, "/A.o/": true} {
		full, isDir := strings.CutSuffix(p, "/")
		if both.Match(full, isDir) != want {
			t.Errorf("joined: %q: want %v", p, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, p := range []string{"[a", "[", "[!]", "[]", `a\`, "/", "//", "a//b", "a/[/]", "[[:word:]]", "!/", "!a//"} {
		if _, err := filter.Parse([]string{p}, filter.Exact); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", p)) {
			t.Errorf("%q: error %v, want one that names it", p, err)
		}
	}
	if r := parse(t, filter.Exact, "", "!"); !r.Empty() {
		t.Error("nothing is something")
	}
}

func TestNil(t *testing.T) {
	var r *filter.Rules
	if r.Match("/a", false) || r.Covers("/a", false) || r.Reaches("/") || !r.Empty() || r.Patterns() != nil {
		t.Error("the nil Rules says something")
	}
}

func TestLines(t *testing.T) {
	got := filter.Lines("\ufeff# comment\n\n*.o\r\n\\#x\n  a b  \nc\\ \nd\\\\ \n   \n!last")
	want := []string{"*.o", `\#x`, "  a b", `c\ `, `d\\`, "!last"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r := parse(t, filter.Exact, got...)
	for _, p := range []string{"/#x", "/  a b", "/c ", `/d\`} {
		if !r.Match(p, false) {
			t.Errorf("%q does not match", p)
		}
	}
}

func TestCovers(t *testing.T) {
	r := parse(t, filter.Exact, "/home/me", "!*.tmp", "/x/etc/", "etc")
	for p, want := range map[string]bool{"/home": false, "/home/me": true, "/home/me/a/b": true, "/home/me/a.tmp": false, "/x/etc/y": true,
		"/etc/y": true, "/etc": true, "/x": false, "/": false} {
		if got := r.Covers(p, false); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	}
}

func TestReaches(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"*.jpg", "/ /a /a/b", ""},
		{"/home/me/x", "/ /home /home/me", "/etc /home/me/x /home/m /homes"},
		{"/home/*/x", "/ /home /home/me", "/etc /homes"},
		{"/home/m*/x", "/home /home/me", "/home/x /etc"},
		{"/home/**", "/home /home/a/b", "/etc"},
		{"**/a/b", "/ /x/y", ""},
		{"!/etc/x", "", "/ /etc"},
	} {
		r := parse(t, filter.Exact, c.pattern)
		for _, p := range strings.Fields(c.yes) {
			if !r.Reaches(p) {
				t.Errorf("%q does not reach below %q", c.pattern, p)
			}
		}
		for _, p := range strings.Fields(c.no) {
			if r.Reaches(p) && p != "/" {
				t.Errorf("%q reaches below %q", c.pattern, p)
			}
		}
	}
	if !parse(t, filter.Fold, "/Home/X").Reaches("/hOME") {
		t.Error("Reaches tells case apart")
	}
}

// FuzzMatch holds the compiled rules against a plain reading of the last pattern that matches, and Reaches and Covers against Match.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"*.o", "!a\nb/", "/a/**/b", "[!a]\xff*", "**", "a/**", "*\\*", "É"} {
		f.Add(s, "/a/b/x.o", true)
		f.Add(s, "/\xff/É", false)
	}
	f.Fuzz(func(t *testing.T, file, p string, isDir bool) {
		p = path.Clean("/" + p)
		for _, c := range []filter.Case{filter.Exact, filter.Fold} {
			patterns := filter.Lines(file)
			r, err := filter.Parse(patterns, c)
			if err != nil {
				continue
			}
			want := filter.Silent
			for _, one := range patterns {
				if v := parse(t, c, one).Verdict(p, isDir); v != filter.Silent {
					want = v
				}
			}
			if got := r.Verdict(p, isDir); got != want {
				t.Fatalf("%q: %q: %v, one by one %v", patterns, p, got, want)
			}
			if want != filter.Named {
				continue
			}
			if !r.Covers(p, isDir) {
				t.Fatalf("%q: %q is named and not covered", patterns, p)
			}
			for up := path.Dir(p); ; up = path.Dir(up) {
				if !r.Reaches(up) {
					t.Fatalf("%q: %q is named, but out of reach of %q", patterns, p, up)
				}
				if up == "/" {
					break
				}
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	patterns := strings.Fields("*.o *.tmp *.pyc *~ node_modules/ .cache/ /proc /sys /tmp/* .git core *.swp Thumbs.db .DS_Store " +
		"/home/*/.cache /var/cache/** **/target/debug *.log.[0-9] /swapfile lost+found/ !keep.o .#* *.bak")
	var paths []string
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("/home/user%d/src/linux-6.1/drivers/net/ethernet/file%d.c", i%7, i))
	}
	for name, r := range map[string]*filter.Rules{"exact": parse(b, filter.Exact, patterns...), "fold": parse(b, filter.Fold, patterns...)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if r.Match(paths[i%len(paths)], false) {
					b.Fatal("no C file is left out")
				}
			}
		})
	}
}

func ExampleRules_Match() {
	rules, err := filter.Parse([]string{"*.o", "!keep.o", "/home/*/.cache/"}, filter.Exact)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rules.Match("/src/main.o", false))
	fmt.Println(rules.Match("/src/keep.o", false))
	fmt.Println(rules.Match("/home/me/.cache", true))
	// Output:
	// true
	// false
	// true
}
