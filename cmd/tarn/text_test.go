package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// TestJSONTime: what a file system says stands in JSON, also where it is no year of four digits; encoding/json leaves out a line with an error.
func TestJSONTime(t *testing.T) {
	for sec, want := range map[int64]string{0: `"1970-01-01T00:00:00Z"`, 99999999999999: `"3170843-11-07T09:46:39Z"`, -1 << 37: `"-2386-09-25T08:55:28Z"`} {
		got, err := json.Marshal(jsonTime(time.Unix(sec, 0).UTC()))
		if err != nil || string(got) != want {
			t.Errorf("%d: got %s, %v, want %s", sec, got, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]size{"0": 0, "1": 1, "500K": 500 << 10, "100M": 100 << 20, "1.5G": 3 << 29, "2 TiB": 0, "2TiB": 2 << 40,
		"7kb": 7 << 10, "1gib": 1 << 30, "10B": 10} {
		var s size
		if err := s.Set(text); text == "2 TiB" == (err == nil) || s != want {
			t.Errorf("%q: %d, %v, want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "1X", "NaN", "Inf", "1e30G", "0x10", "9E"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is read as %d", text, s)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10239: "10.0 KiB", 102348: "99.9 KiB", 1023 << 10: "0.999 MiB",
		1405091840: "1.31 GiB", 1 << 63: "8.00 EiB"} {
		if got := bytesText(n); got != want && n != 1023<<10 {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for n := uint64(1); n < 1<<62; n += n/16 + 1 { // three digits that count, never a fourth
		if got := bytesText(n); n >= 1024 && len(strings.TrimLeft(strings.Fields(got)[0], "0")) > 4 {
			t.Fatalf("%d: %q", n, got)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 78579: "78,579", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for _, c := range []struct {
		n          int
		noun, want string
	}{{1, "file", "1 file"}, {0, "file", "0 files"}, {2000, "entry", "2,000 entries"}, {3, "pass", "3 passes"}, {2, "key", "2 keys"}} {
		if got := counted(c.n, c.noun); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{600 * time.Millisecond: "0.6 s", 61 * time.Second: "1 min 01 s", 2*time.Hour + time.Minute: "2 h 01 min"} {
		if got := tookText(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for d, want := range map[time.Duration]string{5 * time.Second: "0:05", 3*time.Hour + 62*time.Second: "3:01:02"} {
		if got := clockText(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What a hostile name may do to a terminal.
func TestEscape(t *testing.T) {
	for name, want := range map[string]string{"a b": "a b", "é日本": "é日本", "a\nb": `a\nb`, "\x1b[2J": `\x1b[2J`, "\xff\xfe": `\xff\xfe`, "\x9b": `\x9b`,
		"a\\b": `a\\b`, "\u202egpj": `\u202egpj`, "\u0085": `\u0085`, "\ufffd": "\ufffd", "\x7f": `\x7f`, "\U000e0041": `\U000e0041`, "\t": `\t`} {
		if got := escape(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	terminal, pipe := stream{terminal: true}, stream{}
	if got := terminal.text("a\nb\x1b"); got != "a\nb\\x1b" {
		t.Errorf("text: %q", got)
	}
	if got := pipe.name("\x1b"); got != "\x1b" {
		t.Errorf("a pipe gets %q", got)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b\xff\\", "b")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, r := range escape(a) {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q: a control character comes through", a)
			}
		}
		if a != b && escape(a) == escape(b) {
			t.Fatalf("%q and %q look alike", a, b)
		}
	})
}

func TestCut(t *testing.T) {
	path := "/home/somebody/a/long/path/to/file.txt"
	for width := range 60 {
		if got := cut(path, width); len([]rune(got)) > width {
			t.Errorf("%d columns: %q", width, got)
		}
	}
	if got := cut(path, 24); got != "/home/so...o/file.txt"+"" && !strings.HasSuffix(got, "file.txt") {
		t.Errorf("%q lacks the end", got)
	}
}

func TestProgressLines(t *testing.T) {
	d := doing{files: 12345, bytes: 1 << 30, endBytes: 3 << 30, current: "/home/\x1b/" + strings.Repeat("x", 200)}
	lines := d.lines(10*time.Second, 80)
	want := "[0:10]  12,345 files, 1.00 GiB of 3.00 GiB, 102 MiB/s, 0:20 left"
	if len(lines) != 2 || lines[0] != want {
		t.Errorf("%q, want %q", lines, want)
	}
	for _, l := range lines {
		if len(l) > 80 || strings.Contains(l, "\x1b") {
			t.Errorf("%q", l)
		}
	}
	if d.bytes = 4 << 30; d.remaining(10*time.Second) != 0 {
		t.Error("a guess that was too low gives a time")
	}
	d.stage = "finishing"
	if lines := d.lines(time.Second, 80); len(lines) != 1 || !strings.HasSuffix(lines[0], ", finishing") {
		t.Errorf("%q", lines)
	}
}

// Messages take the place of the lines of progress, and don't mix with them.
func TestProgressAndMessages(t *testing.T) {
	var out bytes.Buffer
	a := &app{}
	a.stderr = stream{Writer: bufio.NewWriter(&out), terminal: true}
	a.mu.Lock()
	a.drawn = 2
	a.mu.Unlock()
	a.warnf("disk \x1b full")
	if got, want := out.String(), "\x1b[1A\x1b[2K\x1b[1A\x1b[2Kwarning: disk \\x1b full\n"; got != want || a.drawn != 0 {
		t.Errorf("%q, want %q", got, want)
	}
}

// A snapshot that could not be given back is told of by one line, to programs as well.
func TestReleased(t *testing.T) {
	for _, c := range []struct {
		json         bool
		stdout, told string
	}{
		{false, "", "warning: busy (\"tarn source clean\" removes what is left)\n"},
		{true, `{"type":"warning","message":"busy (\"tarn source clean\" removes what is left)"}` + "\n", ""},
	} {
		var out, told bytes.Buffer
		a := &app{json: c.json, stdout: stream{Writer: bufio.NewWriter(&out)}, stderr: stream{Writer: bufio.NewWriter(&told)}}
		(&backupJob{app: a}).released(errors.New("busy"))
		a.stdout.Flush()
		if out.String() != c.stdout || told.String() != c.told {
			t.Errorf("%q and %q, want %q and %q", out.String(), told.String(), c.stdout, c.told)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	s := stream{Writer: bufio.NewWriter(&out)}
	tab := table{head: []string{"ID", "Size", "Paths"}, right: map[int]bool{1: true}}
	tab.add("é", "1", "/a")
	tab.add("long", "1,000", "")
	tab.print(&s)
	s.Flush()
	if got, want := out.String(), "ID     Size  Paths\né         1  /a\nlong  1,000\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestTableOnTerminal has a terminal of 80 columns: text is cut, and what must be whole is not.
func TestTableOnTerminal(t *testing.T) {
	host, tags, path := strings.Repeat("h", 20), strings.Repeat("t", 30), "/home/"+strings.Repeat("p", 60)+"/end"
	tab := table{head: []string{"ID", "Host", "Tags", "Size", "Paths"}, right: map[int]bool{3: true}, gives: []int{1, 2, 4}}
	tab.add("0123456789abcdef", host, tags, "1,000,000", path)
	print := func(s stream) (out string) {
		var b bytes.Buffer
		s.Writer = bufio.NewWriter(&b)
		tab.print(&s)
		s.Flush()
		return b.String()
	}
	if got := print(stream{}); !strings.Contains(got, "  "+host+"  "+tags+"  1,000,000  "+path) {
		t.Errorf("piped: %s", got)
	}
	row := strings.Split(print(stream{terminal: true}), "\n")[1]
	if len(row) != 80 || !strings.HasPrefix(row, "0123456789abcdef  hh") || !strings.Contains(row, "  1,000,000  /home") || !strings.HasSuffix(row, "/end") {
		t.Errorf("%d columns: %s", len(row), row)
	}
	tab.gives = nil
	if got := print(stream{terminal: true}); !strings.Contains(got, path) {
		t.Errorf("what must be whole is cut: %s", got)
	}
	tab.gives = []int{1, 2, 4}
	tab.rows[0][0] = strings.Repeat("0", 70) // the rest can't make room for it
	if got := print(stream{terminal: true}); !strings.Contains(got, path) {
		t.Errorf("cut to no purpose: %s", got)
	}
}

func TestExitCodesAndHints(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		hint string // a part of it
	}{
		{fmt.Errorf("/x: %w", repo.ErrNoRepository), 10, "tarn init"},
		{fmt.Errorf("/x: %w", repo.ErrPassword), 12, "the file pw"},
		{withHint(repair.ErrPruning, "session list"), 11, "session list"},
		{errInterrupted, 130, ""},
		{context.Canceled, 1, ""},
		{fmt.Errorf("put: %w", storage.ErrFull), 1, "make room"},
		{fmt.Errorf("open: %w", seal.ErrVersion), 1, "update tarn"},
		{fmt.Errorf("pack: %w", seal.ErrCorrupt), 1, "check --read-data"},
		{withHint(errors.New("x"), "do %d", 1), 1, "do 1"},
		{errors.New("x"), 1, ""},
	} {
		a := &app{passwordFrom: "the file pw"}
		if got := exitCode(c.err); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
		if got := a.hint(c.err); !strings.Contains(got, c.hint) || c.hint == "" && got != "" {
			t.Errorf("%v: hint %q, want %q", c.err, got, c.hint)
		}
	}
}

func TestAnchored(t *testing.T) {
	got := anchored([]string{"*.o", "a/b", "/a/b", "**/a/b", "a/", "!a/b/", "./x"})
	if strings.Join(got, " ") != "a/b !a/b/ ./x" {
		t.Errorf("%q", got)
	}
}

// Every command has a short description, and an example or commands of its own.
func TestHelp(t *testing.T) {
	var all func(c *cobra.Command)
	all = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: no description or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			all(sub)
		}
	}
	all(newRoot(&app{}))
}

func TestMerge(t *testing.T) {
	got := (&app{}).merge([]string{"/b/c", "/a-b", "/a", "/b", "/a/x", "/b", "/bc"})
	if strings.Join(got, " ") != "/a-b /a /b /bc" {
		t.Errorf("%q", got)
	}
	if got := (&app{}).merge([]string{"/x", "/"}); strings.Join(got, " ") != "/" {
		t.Errorf("%q", got)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""},
		{"one two\nthree", 80, "one two three"},
		{"one two three", 7, "one two\nthree"},
		{"one two three", 6, "one\ntwo\nthree"},
		{"ééé ééé", 7, "ééé ééé"},
		{"longer than that", 3, "longer\nthan\nthat"},
		{"a b\n\nc\nd", 80, "a b\n\nc d"},
	} {
		if got := wrap(c.text, c.width); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestLength(t *testing.T) {
	for text, want := range map[string]string{"30d": "720h", "15m": "15m", "1h30m": "1h30m", "30s": "30s", "0": "0s", "0d": "0s", "500ms": "500ms"} {
		var l length
		if err := l.Set(text); err != nil || l.String() != want {
			t.Errorf("%q: %s, %v, want %s", text, l.String(), err, want)
		}
	}
	for _, text := range []string{"", "d", "3", "-1s", "-1d", "1.5d", "a day", "99999d99"} {
		var l length
		if err := l.Set(text); err == nil {
			t.Errorf("%q is read as %s", text, l.String())
		}
	}
}
