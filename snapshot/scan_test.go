package snapshot_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// build encodes a scan record from words: "+a" enters a folder, "-" leaves it, "@x" is a mount, anything else an entry. Each entry's
// inode is its place.
func build(t testing.TB, l *snapshot.Lists, words string) snapshot.Content {
	t.Helper()
	ctx := context.Background()
	b := l.NewScanBuilder()
	for i, w := range strings.Fields(words) {
		seen := &snapshot.Seen{Name: strings.TrimPrefix(w, "+"), Inode: uint64(i), ChangeTime: snapshot.Time{Sec: -5, Nsec: 7}, Method: snapshot.MethodLease}
		switch {
		case w == "-":
			must(t, b.Leave(ctx))
		case w[0] == '@':
			must(t, b.Mount(ctx, w[1:]))
		case w[0] == '+':
			must(t, b.Enter(ctx, seen))
		default:
			must(t, b.Entry(ctx, seen))
		}
	}
	c, err := b.Finish(ctx)
	must(t, err)
	return c
}

func TestGoldenScan(t *testing.T) {
	s := newStore()
	c := build(t, s.lists(64<<10), "@fs1 +a b - c")
	data, err := s.Load(context.Background(), blob.Scan, c.Elements[0].ID)
	must(t, err)
	if got, want := hex.EncodeToString(data), "04036673310704016101090702070101620209070201020701016304090702"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestFind goes along with walks that see other entries than the record has.
func TestFind(t *testing.T) {
	record := "@root a +d b +e c1 c2 - f - g @usb +m x y - n @net +o - p"
	for name, test := range map[string]struct {
		steps string // "name" asks for an entry, ">n" leaves until n folders are open
		want  string // per name: the place that was found with the file system in front of it, or a dash
	}{
		"all":                        {"a d b e c1 c2 >1 f >0 g m x y >0 n o >0 p", "root/1 2 3 4 5 6 8 10 usb/12 13 14 16 net/18 20"},
		"only top":                   {"a d >0 g m >0 n o >0 p", "root/1 2 10 usb/12 16 net/18 20"},
		"folders that are passed":    {"a g n p", "root/1 10 16 20"},
		"the last":                   {"p", "20"},
		"none":                       {"0 aa dd q", "- - - -"},
		"new ones in between":        {"0 a b d a b c e b c1 c11 >1 ee f z >0 dd g", "- root/1 - 2 - 3 - 4 - 5 - - 8 - - 10"},
		"backwards":                  {"g a", "10 -"},
		"left in the middle":         {"a d b e c1 >0 g", "root/1 2 3 4 5 10"},
		"mount after what is gone":   {"h m x", "- usb/12 13"},
		"mount that is passed":       {"h n", "- 16"},
		"mount passed when leaving":  {"m w >0 n", "usb/12 - 16"},
		"mount of a passed entry":    {"l >0 mm n", "- - 16"},
		"inside a passed mount":      {"n o a >0 p", "16 net/18 - 20"},
		"leave more than was opened": {"a >0 >0 g", "root/1 10"},
	} {
		for _, max := range []int{32, 64 << 10} { // one item per blob, and all in one
			s := newStore()
			r := snapshot.NewScanReader(context.Background(), s, build(t, s.lists(max), record))
			var got []string
			for _, step := range strings.Fields(test.steps) {
				var level int
				if n, _ := fmt.Sscanf(step, ">%d", &level); n == 1 {
					if r.LeaveTo(level); r.Level() != level {
						t.Errorf("%s: level %d after %s", name, r.Level(), step)
					}
					continue
				}
				seen, fsID, ok := r.Find(step)
				switch {
				case !ok:
					if seen != (snapshot.Seen{}) || fsID != "" {
						t.Errorf("%s: %s was not found and is %+v on %q", name, step, seen, fsID)
					}
					got = append(got, "-")
				case seen.Name != step || seen.ChangeTime != (snapshot.Time{Sec: -5, Nsec: 7}) || seen.Method != snapshot.MethodLease:
					t.Errorf("%s: %s is %+v", name, step, seen)
				case fsID != "":
					got = append(got, fmt.Sprintf("%s/%d", fsID, seen.Inode))
				default:
					got = append(got, fmt.Sprint(seen.Inode))
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" || r.Err() != nil {
				t.Errorf("%s: %v %s", name, r.Err(), diff)
			}
			r.Close()
		}
	}
}

// TestMountBeforeAPassedEntry: the file system of an entry that is passed over when its folder is left is not the next entry's.
func TestMountBeforeAPassedEntry(t *testing.T) {
	s := newStore()
	r := snapshot.NewScanReader(context.Background(), s, build(t, s.lists(64<<10), "+d @usb m - z"))
	defer r.Close()
	r.Find("d")
	if _, _, ok := r.Find("a"); ok { // reads the mount, and sees that m is no a
		t.Error("there is no a")
	}
	r.LeaveTo(0)
	if _, fsID, ok := r.Find("z"); !ok || fsID != "" {
		t.Errorf("z: %v, on %q", ok, fsID)
	}
}

func TestAll(t *testing.T) {
	s := newStore()
	r := snapshot.NewScanReader(context.Background(), s, build(t, s.lists(32), "@root a +d b +e c - - g"))
	defer r.Close()
	var got []string
	for path, seen := range r.All() {
		got = append(got, fmt.Sprintf("%s:%d", path, seen.Inode))
	}
	if want := "a:1 d:2 d/b:3 d/e:4 d/e/c:5 g:8"; strings.Join(got, " ") != want || r.Err() != nil {
		t.Errorf("got %v, %v", got, r.Err())
	}
}

func TestScanEdges(t *testing.T) {
	ctx := context.Background()
	s := newStore()
	b := s.lists(64 << 10).NewScanBuilder()
	want := []snapshot.Seen{
		{},
		{Name: "\x00", Inode: math.MaxUint64, ChangeTime: snapshot.Time{Sec: math.MaxInt64, Nsec: 999_999_999}, Method: 255},
		{Name: strings.Repeat("n", snapshot.NameSizeMax), ChangeTime: snapshot.Time{Sec: math.MinInt64}},
	}
	for i := range want {
		must(t, b.Entry(ctx, &want[i]))
	}
	for _, fsID := range []string{"", strings.Repeat("x", 10_000)} {
		if err := b.Mount(ctx, fsID); err == nil {
			t.Errorf("a file system with an id of %d bytes was taken", len(fsID))
		}
	}
	c, err := b.Finish(ctx)
	must(t, err)
	r := snapshot.NewScanReader(ctx, s, c)
	defer r.Close()
	for _, w := range want {
		if got, _, ok := r.Find(w.Name); !ok || got != w {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
}

func TestEmptyScan(t *testing.T) {
	s := newStore()
	c := build(t, s.lists(256), "")
	r := snapshot.NewScanReader(context.Background(), s, c)
	defer r.Close()
	if _, _, ok := r.Find("a"); ok || len(c.Elements) > 0 || r.Err() != nil {
		t.Errorf("%+v, %v", c, r.Err())
	}
}

// TestScanLost loses each blob of a record: what comes before it is found, then nothing is, and the reader says why.
func TestScanLost(t *testing.T) {
	s := newStore()
	var words []string
	for i := range 200 {
		words = append(words, fmt.Sprintf("%03d", i))
	}
	c := build(t, s.lists(128), strings.Join(words, " "))
	for lost := range s.blobs {
		s.gone = map[blob.ID]bool{lost: true}
		r := snapshot.NewScanReader(context.Background(), s, c)
		ended := false
		for _, name := range words {
			_, _, ok := r.Find(name)
			if ok && ended {
				t.Errorf("%s is found after the end", name)
			}
			ended = !ok
		}
		if !ended || !errors.Is(r.Err(), errGone) {
			t.Errorf("got %v", r.Err())
		}
		r.LeaveTo(0)
		r.Close()
	}
}

// raw is a record of one blob with any content.
func raw(t testing.TB, s *store, data string) snapshot.Content {
	t.Helper()
	id, err := s.Save(context.Background(), blob.Scan, []byte(data))
	must(t, err)
	return snapshot.Content{Elements: []snapshot.Element{{ID: id, Length: uint64(len(data))}}}
}

func TestBadScanItems(t *testing.T) {
	s := newStore()
	for what, test := range map[string]struct {
		data string
		good bool
	}{
		"entry":               {"\x07\x01\x01a\x05\x02\x00\x03", true},
		"empty item":          {"\x00", false},
		"unknown item":        {"\x01\x09", false},
		"leave with more":     {"\x02\x02x", false},
		"mount without an id": {"\x01\x03", false},
		"long name":           {"\x07\x01\x09a\x05\x02\x00\x03", false},
		"no method":           {"\x06\x01\x01a\x05\x02\x00", false},
		"more":                {"\x08\x01\x01a\x05\x02\x00\x03\x03", false},
		"whole second":        {"\x0b\x01\x01a\x05\x02\x80\x94\xeb\xdc\x03\x03", false},
		"cut":                 {"\x07\x01\x01a\x05\x02\x00", false},
		"too long":            {"\xff\xff\x7f", false},
		"left too often":      {"\x01\x02", false},
	} {
		r := snapshot.NewScanReader(context.Background(), s, raw(t, s, test.data))
		n := 0
		for range r.All() {
			n++
		}
		if (r.Err() == nil) != test.good || test.good != (n == 1) {
			t.Errorf("%s: %d entries, %v", what, n, r.Err())
		}
		if _, _, ok := r.Find("a"); ok {
			t.Errorf("%s: an entry after the end", what)
		}
		r.Close()
	}
}

// FuzzScanReader reads any bytes as a record: it must end, and what is found is what was asked for.
func FuzzScanReader(f *testing.F) {
	s := newStore()
	for _, words := range []string{"@fs1 +a b - c", "+a +b +c", "- - -"} {
		c := build(f, s.lists(64<<10), words)
		data, err := s.Load(context.Background(), blob.Scan, c.Elements[0].ID)
		must(f, err)
		f.Add(string(data), "a/b/c")
	}
	f.Fuzz(func(t *testing.T, data, names string) {
		if data == "" {
			return
		}
		s := newStore()
		c := raw(t, s, data)
		r := snapshot.NewScanReader(context.Background(), s, c)
		defer r.Close()
		for i, name := range strings.Split(names, "/") {
			if seen, _, ok := r.Find(name); ok && seen.Name != name {
				t.Errorf("%q was asked for, got %q", name, seen.Name)
			}
			if i%3 == 2 {
				r.LeaveTo(max(0, r.Level()-1))
			}
			if r.Level() < 0 {
				t.Fatalf("level %d", r.Level())
			}
		}
		r.LeaveTo(0)
		all := snapshot.NewScanReader(context.Background(), s, c)
		defer all.Close()
		n := 0
		for range all.All() {
			if n++; n > len(data) {
				t.Fatal("there are more entries than bytes")
			}
		}
	})
}
