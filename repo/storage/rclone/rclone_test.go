package rclone_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/rclone"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
	"github.com/tarn-backup/tarn/testing/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, remote string) *rclone.Store {
	t.Helper()
	s := rclone.Open(rclone.Options{Remote: remote, Program: servers.Program(t, "rclone", "apt-get install rclone")})
	t.Cleanup(func() { s.Close() })
	return s
}

// TestStorage has rclone serve its own memory: puts to that are atomic, which those to a folder are not in rclone before 1.63, and Debian 12's
// can't reach S3 at all ("unsupported transport").
func TestStorage(t *testing.T) {
	n := 0
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		n++
		s := open(t, fmt.Sprintf(":memory:bucket%d", n))
		if err := s.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	})
}
