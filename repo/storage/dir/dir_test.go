package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/dir"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
)

var _ storage.Cleaner = (*dir.Dir)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// create returns a new store in a folder of the test's own.
func create(t *testing.T) *dir.Dir {
	t.Helper()
	return createIn(t, t.TempDir())
}

func createIn(t *testing.T, folder string) *dir.Dir {
	t.Helper()
	d, err := dir.Create(filepath.Join(folder, "repo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func put(t *testing.T, s storage.Storage, name string, data string) {
	t.Helper()
	if err := s.Put(t.Context(), name, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// names returns what List reports, in order.
func names(t *testing.T, s storage.Storage) []string {
	t.Helper()
	found := map[string]bool{}
	if err := s.List(t.Context(), "", func(name string, _ int64) error {
		found[name] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}

func TestStorage(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.Storage { return create(t) })
}

func TestOpenOfAMissingFolder(t *testing.T) {
	if _, err := dir.Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestOpenChangesNothing(t *testing.T) {
	folder := t.TempDir()
	d, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := names(t, d); len(got) != 0 {
		t.Errorf("list: got %v", got)
	}
	if l, err := d.Leftovers(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("leftovers: got %v and %v", l, err)
	}
	if err := d.Remove(t.Context(), "data/ab/1"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("got %v and %v in an empty folder", entries, err)
	}
}

func TestCreateCanBeRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "repo")
	first, err := dir.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.Path() != path {
		t.Errorf("path: got %s, want %s", first.Path(), path)
	}
	put(t, first, "config", "x")
	second, err := dir.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := names(t, second); !slices.Equal(got, []string{"config"}) {
		t.Errorf("got %v", got)
	}
}

func TestCreateOverAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Create(path); err == nil {
		t.Error("no error")
	}
}

// TestCreateSyncsEachParent is the bug that others had: a new folder that is not in its parent after a power cut.
func TestCreateSyncsEachParent(t *testing.T) {
	top := t.TempDir()
	var synced []string
	record := func(folder string) error {
		synced = append(synced, folder)
		return nil
	}
	path := filepath.Join(top, "a", "b", "c")
	if err := dir.MakePath(path, record); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Dir(top), top, filepath.Join(top, "a"), filepath.Join(top, "a", "b")}
	if !slices.Equal(synced, want) {
		t.Errorf("synced %v, want %v", synced, want)
	}
	synced = nil
	if err := dir.MakePath(path, record); err != nil || !slices.Equal(synced, want[3:]) {
		t.Errorf("again: got %v, synced %v, want %v", err, synced, want[3:])
	}
	bad := errors.New("bad disk")
	for _, path := range []string{path, filepath.Join(top, "d")} {
		if err := dir.MakePath(path, func(string) error { return bad }); !errors.Is(err, bad) {
			t.Errorf("an fsync failed: got %v", err)
		}
	}
	denied := func(string) error { return fs.ErrPermission }
	if err := dir.MakePath(path, denied); err != nil {
		t.Errorf("a parent that can't be read, of a folder that is there: %v", err)
	}
	if err := dir.MakePath(filepath.Join(top, "e"), denied); err == nil {
		t.Error("a parent that can't be read, of a new folder: no error")
	}
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	d := create(t)
	put(t, d, "data/ab/1", "x")
	err := filepath.WalkDir(d.Path(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if info.Mode() != want {
			t.Errorf("%s: got mode %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestForeignFilesAreIgnored(t *testing.T) {
	d := create(t)
	put(t, d, "data/ab/1", "x")
	put(t, d, "config", "x")
	for _, name := range []string{"README.TXT", ".DS_Store", "data/.nfs0001", "data/ab/._1", "data/ab/a b", "data/ab/1.TMP", "data/lost+found/x",
		"data/ab/deep/1", "tmp/notes", ".snapshots/1/config", "data/@eadir/x"} {
		path := filepath.Join(d.Path(), filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := names(t, d), []string{"config", "data/ab/1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l, err := d.Leftovers(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("leftovers: got %v and %v", l, err)
	}
}

// TestAFolderIsNoObject asks for folders by names that objects could have, and for objects below objects.
func TestAFolderIsNoObject(t *testing.T) {
	d := create(t)
	put(t, d, "data/ab/1", "x")
	put(t, d, "config", "x")
	if err := os.Mkdir(filepath.Join(d.Path(), "data", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data", "data/ab", "data/empty", "config/x"} {
		if _, err := d.Get(t.Context(), name, 0, -1); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("get %s: got %v, want ErrNotExist", name, err)
		}
		if err := d.Remove(t.Context(), name); err != nil {
			t.Error(err)
		}
		if err := d.Put(t.Context(), name, nil); err == nil {
			t.Errorf("put %s: no error", name)
		}
	}
	if _, err := os.Stat(filepath.Join(d.Path(), "data", "empty")); err != nil {
		t.Errorf("remove removed a folder: %v", err)
	}
	if got, want := names(t, d), []string{"config", "data/ab/1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l, err := d.Leftovers(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("failed puts left %v and %v", l, err)
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	d, outside := create(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(
		os.Symlink(outside, filepath.Join(d.Path(), "data")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(d.Path(), "config")),
	)
	if err != nil {
		t.Skipf("no symbolic links: %v", err)
	}
	for _, name := range []string{"data/secret", "config"} {
		if _, err := d.Get(t.Context(), name, 0, -1); err == nil {
			t.Errorf("get %s: no error", name)
		}
	}
	if err := d.Put(t.Context(), "data/new", []byte("x")); err == nil {
		t.Error("put: no error")
	}
	if err := d.Remove(t.Context(), "data/secret"); err == nil {
		t.Error("remove: no error")
	}
	if got := names(t, d); len(got) != 0 {
		t.Errorf("list: got %v", got)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside: got %v and %v", entries, err)
	}
}

// TestTruncatedWhileRead shortens a file between Get and the read, and again between two reads.
func TestTruncatedWhileRead(t *testing.T) {
	d := create(t)
	put(t, d, "data/ab/1", strings.Repeat("x", 1000))
	r, err := d.Get(t.Context(), "data/ab/1", 100, 800)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(d.Path(), "data", "ab", "1"), 500); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if len(got) != 300 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d bytes and %v, want 300 and io.ErrUnexpectedEOF", len(got), err)
	}
}

func TestReaderEndsWithItsContext(t *testing.T) {
	d := create(t)
	put(t, d, "config", "x")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := d.Get(ctx, "config", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestEqualPutLeavesTheFile is what the completeness of List rests on where renaming moves a file in its folder.
func TestEqualPutLeavesTheFile(t *testing.T) {
	d := create(t)
	stat := func() fs.FileInfo {
		info, err := os.Stat(filepath.Join(d.Path(), "config"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	put(t, d, "config", "same")
	first := stat()
	put(t, d, "config", "same")
	if !os.SameFile(first, stat()) {
		t.Error("equal bytes were written to a new file")
	}
	put(t, d, "config", "else")
	if os.SameFile(first, stat()) {
		t.Error("other bytes were written to the old file")
	}
}

func TestLeftovers(t *testing.T) {
	d := create(t)
	put(t, d, "config", "x")
	temp := filepath.Join(d.Path(), "tmp")
	for _, name := range []string{"aa11-0123456789abcdef", "bb22-0123456789abcdef", "-0123456789abcdef", "aa11-0123", "AA-0123456789abcdef",
		"aa11-0123456789abcdeg", "a-b-0123456789abcdef", "notes"} {
		if err := os.WriteFile(filepath.Join(temp, name), []byte("123"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := d.Leftovers(t.Context())
	sessions := map[string]bool{}
	for _, l := range found {
		sessions[l.Session] = true
		if l.Size != 3 || l.ModTime.IsZero() || l.Name != "tmp/"+l.Session+"-0123456789abcdef" {
			t.Errorf("got %+v", l)
		}
	}
	if err != nil || len(found) != 3 || !sessions["aa11"] || !sessions["bb22"] || !sessions[""] {
		t.Fatalf("got %v and %v", found, err)
	}
	removed, err := d.RemoveLeftovers(t.Context(), func(l storage.Leftover) bool { return l.Session == "aa11" })
	if err != nil || len(removed) != 1 || removed[0].Session != "aa11" {
		t.Errorf("removed %v and %v", removed, err)
	}
	if entries, err := os.ReadDir(temp); err != nil || len(entries) != 7 {
		t.Errorf("got %v and %v, want all but the one that was removed", entries, err)
	}
	if got := names(t, d); !slices.Equal(got, []string{"config"}) {
		t.Errorf("got %v", got)
	}
}

func TestWithSession(t *testing.T) {
	for _, label := range []string{"", "a-b", "../x", "A"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("label %q: no panic", label)
				}
			}()
			create(t).WithSession(label)
		}()
	}
}

func TestClosed(t *testing.T) {
	d := create(t)
	put(t, d, "config", "x")
	labeled := d.WithSession("aa")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []storage.Storage{d, labeled} {
		_, getErr := s.Get(t.Context(), "config", 0, -1)
		listErr := s.List(t.Context(), "", func(string, int64) error { return nil })
		putErr, removeErr := s.Put(t.Context(), "config", nil), s.Remove(t.Context(), "config")
		for method, err := range map[string]error{"put": putErr, "get": getErr, "list": listErr, "remove": removeErr} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s: got %v, want fs.ErrClosed", method, err)
			}
		}
	}
}

func TestSpace(t *testing.T) {
	space, err := create(t).Space()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil || space.Total == 0 || space.Free > space.Total {
		t.Errorf("got %+v and %v", space, err)
	}
}

// BenchmarkPut puts a pack of the usual size. Compare with dd bs=32M count=1 conv=fsync in the same folder.
func BenchmarkPut(b *testing.B) {
	d, err := dir.Create(filepath.Join(b.TempDir(), "repo"))
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	data := object(32<<20, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := d.Put(b.Context(), "data/ab/1", data); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := d.Remove(b.Context(), "data/ab/1"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func Example() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	d, err := dir.Create(filepath.Join(folder, "repo"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	if err := d.WithSession("5e55").Put(ctx, "data/ab/abcd", []byte("a sealed pack")); err != nil {
		fmt.Println(err)
	}
	data, err := storage.ReadAll(ctx, d, "data/ab/abcd", 1<<20)
	fmt.Printf("%s %v\n", data, err)
	// Output: a sealed pack <nil>
}
