package sftp_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/sftp"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
	"github.com/tarn-backup/tarn/testing/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(server *servers.SSHD, folder string) sftp.Options {
	return sftp.Options{Host: "127.0.0.1", Port: server.Port, Path: folder, Args: server.Args}
}

func create(t *testing.T, o sftp.Options) *sftp.Store {
	t.Helper()
	s := sftp.New(o)
	t.Cleanup(func() { s.Close() })
	if err := s.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStorage(t *testing.T) {
	server := servers.StartSSHD(t)
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		return create(t, options(server, filepath.Join(t.TempDir(), "repo")))
	})
}

// TestLeftovers has a server with temporaries of two sessions, and things of others.
func TestLeftovers(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "repo")
	s := create(t, options(servers.StartSSHD(t), folder))
	var _ storage.Cleaner = s
	if found, err := s.Leftovers(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("before anything was put: got %v and %v", found, err)
	}
	if err := s.WithSession("abc").Put(t.Context(), "config", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"abc-0123456789abcdef", "def-0123456789abcdef", "photo.jpg", "abc-0123"} {
		if err := os.WriteFile(filepath.Join(folder, "tmp", name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := s.RemoveLeftovers(t.Context(), func(l storage.Leftover) bool { return l.Session == "abc" && l.Size == 4 })
	if err != nil || len(removed) != 1 || removed[0].Name != "tmp/abc-0123456789abcdef" {
		t.Errorf("removed %v: %v", removed, err)
	}
	if found, err := s.Leftovers(t.Context()); err != nil || len(found) != 1 || found[0].Session != "def" {
		t.Errorf("left are %v: %v", found, err)
	}
}

// TestTheConnectionIsMadeAgain kills ssh between two operations, and in the middle of one.
func TestTheConnectionIsMadeAgain(t *testing.T) {
	server := servers.StartSSHD(t)
	s := create(t, options(server, filepath.Join(t.TempDir(), "repo")))
	if err := s.Put(t.Context(), "config", []byte("x")); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "config", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	server.Restart(t) // its connections go on in processes of their own
	for _, pid := range s.Processes() {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "ssh to 127.0.0.1: ") {
		t.Errorf("read from a connection that is gone: %v", err)
	}
	if got, err := storage.ReadAll(t.Context(), s, "config", 10); err != nil || string(got) != "x" {
		t.Errorf("got %q and %v", got, err)
	}
}
