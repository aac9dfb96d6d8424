package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{})
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = errors.Join(
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.Symlink("/etc/passwd", filepath.Join(dir, "symlink")),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"fifo": live.ErrNotRegular, "symlink": live.ErrNotRegular, "folder": live.ErrNotRegular, "socket": live.ErrNotRegular,
		"missing": fs.ErrNotExist, strings.Repeat("x", 256): unix.ENAMETOOLONG,
	} {
		for _, pass := range []live.Pass{live.First, live.Second} {
			f, err := c.Open(t.Context(), dirfd, name, pass)
			if !errors.Is(err, want) {
				t.Errorf("open %s: %v, want %v", name, err, want)
			}
			if err == nil {
				f.Close()
			}
		}
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	for _, name := range []string{strings.Repeat("\xff", 255), "new\nline", " ", "-", "ä", "\x01\x02"} {
		fresh(t, dir, name)
		data, r, err := capture(t.Context(), c, dirfd, name, live.First)
		if err != nil || string(data) != string(generation(1)) || r.State != snapshot.Whole {
			t.Errorf("%q: %d bytes, %+v, %v", name, len(data), r, err)
		}
	}
}

// TestSizes reads files around the edges of the buffer.
func TestSizes(t *testing.T) {
	const step = 16 << 10 // of readAll
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	c := newCapturer(t, live.Options{Now: inAnHour})
	data := generation(1)
	for _, size := range []int{0, 1, step - 1, step, step + 1, 2 * step, len(data)} {
		if err := os.WriteFile(filepath.Join(dir, "file"), data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		got, r, err := capture(t.Context(), c, dirfd, "file", live.Second)
		if err != nil || string(got) != string(data[:size]) || r.State != snapshot.Whole || r.Method != snapshot.MethodLease {
			t.Errorf("%d bytes: got %d, %+v, %v", size, len(got), r, err)
		}
	}
}

// TestYoung sets the clock to both sides of the edges.
func TestYoung(t *testing.T) {
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	var now time.Time
	c := newCapturer(t, live.Options{Now: func() time.Time { return now }})
	fresh(t, dir, "full")
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		name  string
		age   time.Duration
		later bool
	}{
		{"full", 200 * time.Millisecond, false},
		{"full", 200*time.Millisecond - 1, true},
		{"full", 0, true},
		{"full", 1 - 200*time.Millisecond, true},
		{"full", -200 * time.Millisecond, false},
		{"full", -time.Hour, false},
		{"empty", 200 * time.Millisecond, true},
		{"empty", 10*time.Second - 1, true},
		{"empty", 10 * time.Second, false},
		{"empty", -time.Hour, false},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, k.name), &st); err != nil {
			t.Fatal(err)
		}
		now = time.Unix(st.Ctim.Unix()).Add(k.age)
		_, r, err := capture(t.Context(), c, dirfd, k.name, live.First)
		if errors.Is(err, live.ErrLater) != k.later || !k.later && (err != nil || r.State != snapshot.Whole) {
			t.Errorf("%s changed %v ago: %+v, %v", k.name, k.age, r, err)
		}
		if data, r, err := capture(t.Context(), c, dirfd, k.name, live.Second); err != nil || r.State != snapshot.Whole ||
			int64(len(data)) != st.Size {
			t.Errorf("%s changed %v ago, second pass: %+v, %v", k.name, k.age, r, err)
		}
	}
}

// writing opens a file for writing, so that no lease is to be had.
func writing(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// TestOpenAndYoung has a program that has saved half of a file, and keeps it open. Soon after that the file is put off; and in the second
// pass the program is waited for.
func TestOpenAndYoung(t *testing.T) {
	dir := t.TempDir()
	dirfd := openDir(t, dir)
	path := filepath.Join(dir, "file")
	fresh(t, dir, "file")
	program := writing(t, path)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	changed := time.Unix(st.Ctim.Unix())
	clock := func() time.Time { return changed }
	c := newCapturer(t, live.Options{Now: func() time.Time { return clock() }})
	for _, k := range []struct {
		age   time.Duration
		later bool
	}{
		{200 * time.Millisecond, true},
		{time.Second - 1, true},
		{time.Second, false},
		{-200 * time.Millisecond, false},
		{-time.Hour, false},
	} {
		clock = func() time.Time { return changed.Add(k.age) }
		_, r, err := capture(t.Context(), c, dirfd, "file", live.First)
		if errors.Is(err, live.ErrLater) != k.later {
			t.Errorf("open, and changed %v ago: %+v, %v", k.age, r, err)
		}
	}
	looks := 0
	clock = func() time.Time {
		if looks++; looks == 2 { // it is known to be open
			if _, err := program.WriteAt(generation(2), 0); err != nil {
				t.Error(err)
			}
			if err := program.Close(); err != nil {
				t.Error(err)
			}
		}
		if looks <= 2 {
			return changed.Add(time.Second - 1)
		}
		return time.Now()
	}
	data, r, err := capture(t.Context(), c, dirfd, "file", live.Second)
	if err != nil || string(data) != string(generation(2)) || r.Method != snapshot.MethodLease {
		t.Errorf("closed while it was waited for: %d bytes, %+v, %v", len(data), r, err)
	}
}

// scribble changes some bytes of a file.
func scribble(t *testing.T, file *os.File, off int64) {
	t.Helper()
	if _, err := file.WriteAt([]byte("scribble"), off); err != nil {
		t.Fatal(err)
	}
}

// TestTwoLooks makes changes between the two looks at a file that its writer keeps open.
func TestTwoLooks(t *testing.T) {
	dir := mount(t, "ext4")
	dirfd := openDir(t, dir)
	size := int64(blocks * blockLen)
	grow := func(t *testing.T, file *os.File) { scribble(t, file, size) }
	overwrite := func(t *testing.T, file *os.File) { scribble(t, file, 0) }
	both := func(t *testing.T, file *os.File) {
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		scribble(t, file, 0)
		scribble(t, file, info.Size())
	}
	shrink := func(t *testing.T, file *os.File) {
		if err := file.Truncate(5000); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []struct {
		name   string
		change func(*testing.T, *os.File)
		state  snapshot.State
		length int64
	}{
		{"nothing", func(*testing.T, *os.File) {}, snapshot.Whole, size},
		{"grow", grow, snapshot.Appended, size},
		{"overwrite", overwrite, snapshot.Torn, size},
		{"both", both, snapshot.Torn, size},
		{"shrink", shrink, snapshot.Torn, 5000},
	} {
		t.Run(k.name, func(t *testing.T) {
			file := writing(t, fresh(t, dir, k.name))
			c := newCapturer(t, live.Options{Now: inAnHour, Settle: -1, Reread: -1})
			f := begin(t, c, dirfd, k.name, live.Second)
			k.change(t, file)
			r := end(t, f)
			if r.State != k.state || r.Stat.Size != k.length || r.Method != snapshot.MethodStable || r.Again || r.Later {
				t.Errorf("%+v", r)
			}
			if (r.Reason == "") != (k.state == snapshot.Whole) {
				t.Errorf("%v because of %q", r.State, r.Reason)
			}
			f.Close()
			f = begin(t, c, dirfd, k.name, live.First)
			k.change(t, file)
			if r := end(t, f); r.Later != (k.state != snapshot.Whole) && k.name != "shrink" {
				t.Errorf("first pass: %+v", r)
			}
		})
	}
}

// TestTriesAreBounded changes a file each time it is read.
func TestTriesAreBounded(t *testing.T) {
	dir := mount(t, "ext4")
	dirfd := openDir(t, dir)
	file := writing(t, fresh(t, dir, "file"))
	size := int64(blocks * blockLen)
	for _, k := range []struct {
		name string
		o    live.Options
		want int
	}{
		{"by number", live.Options{}, 6},
		{"by time", live.Options{Settle: 150 * time.Millisecond}, 3}, // 50 and 100
		{"by bytes", live.Options{Reread: 3 * size}, 4},
		{"not at all", live.Options{Settle: -1}, 1},
	} {
		t.Run(k.name, func(t *testing.T) {
			k.o.Now = inAnHour
			c := newCapturer(t, k.o)
			f := begin(t, c, dirfd, "file", live.Second)
			for tries := 1; ; tries++ {
				scribble(t, file, 0)
				r := end(t, f)
				if r.Again {
					if err := f.Restart(t.Context()); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if r.State != snapshot.Torn || tries != k.want {
					t.Errorf("after %d readings, want %d: %+v", tries, k.want, r)
				}
				return
			}
		})
	}
}

// TestLog captures a log that grows all the time.
func TestLog(t *testing.T) {
	dir := mount(t, "ext4")
	dirfd := openDir(t, dir)
	file := writing(t, fresh(t, dir, "log"))
	c := newCapturer(t, live.Options{Now: inAnHour})
	f := begin(t, c, dirfd, "log", live.Second)
	scribble(t, file, blocks*blockLen)
	if r := end(t, f); !r.Again {
		t.Fatalf("what grew once may be a file that is being saved: %+v", r)
	}
	if err := f.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	scribble(t, file, blocks*blockLen+8)
	if r := end(t, f); r.State != snapshot.Appended || r.Stat.Size != blocks*blockLen+8 || r.Again {
		t.Errorf("%+v", r)
	}
}

// TestCutShort captures a file that is emptied just after it was opened, when there is no time to wait. It may be in the
// middle of being saved.
func TestCutShort(t *testing.T) {
	for _, disk := range []string{"ext4", "xfs"} {
		for _, size := range []int64{0, 5000} {
			t.Run(fmt.Sprint(disk, " ", size), func(t *testing.T) {
				dir := mount(t, disk)
				file := writing(t, fresh(t, dir, "file"))
				var cut time.Time
				c := newCapturer(t, live.Options{Settle: -1, Now: func() time.Time {
					if !cut.IsZero() {
						return cut // for this clock it has always just happened, however slow the machine is
					}
					if err := file.Truncate(size); err != nil {
						t.Error(err)
					}
					cut = changeTime(t, file)
					return inAnHour()
				}})
				_, r, err := capture(t.Context(), c, openDir(t, dir), "file", live.Second)
				if err != nil || r.State != snapshot.Torn || r.Stat.Size != size || r.Reason == "" {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
	}
}

func changeTime(t *testing.T, file *os.File) time.Time {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return time.Unix(st.Ctim.Unix())
}

// TestContext gives up where it would wait.
func TestContext(t *testing.T) {
	dir := mount(t, "ext4")
	dirfd := openDir(t, dir)
	file := writing(t, fresh(t, dir, "file"))
	c := newCapturer(t, live.Options{Now: inAnHour})
	f := begin(t, c, dirfd, "file", live.Second)
	scribble(t, file, 0)
	if r := end(t, f); !r.Again {
		t.Fatalf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Restart(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("restart: %v", err)
	}
	scribble(t, file, 0)
	now := changeTime(t, file)
	young := newCapturer(t, live.Options{Now: func() time.Time { return now }})
	if _, err := young.Open(ctx, dirfd, "file", live.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
}

// TestFinishTooEarly refuses to call whole what was not read.
func TestFinishTooEarly(t *testing.T) {
	dir := t.TempDir()
	fresh(t, dir, "file")
	c := newCapturer(t, live.Options{Now: inAnHour})
	f := begin(t, c, openDir(t, dir), "file", live.First)
	if r, err := f.Finish(t.Context()); err == nil {
		t.Errorf("%+v", r)
	}
}
