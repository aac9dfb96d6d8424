package sftp_test

import (
	"path/filepath"
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
	s, err := sftp.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStorage(t *testing.T) {
	server := servers.StartSSHD(t)
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		return create(t, options(server, filepath.Join(t.TempDir(), "repo")))
	})
}
