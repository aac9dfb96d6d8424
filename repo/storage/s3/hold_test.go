package s3_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/s3"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
	"github.com/tarn-backup/tarn/testing/servers"
)

const pack = "data/ab/abcdef"

// locking opens a bucket with object lock.
func locking(t *testing.T, server *servers.S3, bucket string, hold time.Duration) *s3.Store {
	t.Helper()
	s, err := s3.Open(s3.Options{Endpoint: server.Addr, Plain: true, Bucket: bucket, Prefix: "repo", Transport: transport(t), Hold: hold,
		Credentials: credentials.NewStaticV4(server.AccessKey, server.SecretKey, "")})
	if err == nil {
		err = s.Create(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestObjectLock is about what a server that has object lock does with what tarn asks of it.
func TestObjectLock(t *testing.T) {
	server := servers.StartS3(t)
	s := locking(t, server, "locked", time.Hour)
	ctx := t.Context()
	for _, name := range []string{"config", pack, "snapshots/01", "sessions/01"} {
		if err := s.Put(ctx, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	until := func(name string) time.Time {
		t.Helper()
		at, err := s.Held(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	begin := time.Now()
	if left := until(pack).Sub(begin); left < time.Hour || left > 2*time.Hour {
		t.Errorf("a pack that was put is locked for %s", left)
	}
	if at := until("sessions/01"); !at.IsZero() {
		t.Errorf("a session is locked until %s", at)
	}
	if at := until("snapshots/02"); !at.IsZero() {
		t.Errorf("what is not there is locked until %s", at)
	}

	// A lock can be made longer, and not shorter.
	longer := begin.Add(5 * time.Hour)
	for _, at := range []time.Time{longer, begin.Add(time.Hour)} {
		if err := s.Hold(ctx, pack, at); err != nil {
			t.Errorf("hold until %s: %v", at, err)
		}
		if got := until(pack); got.Sub(longer).Abs() > time.Second {
			t.Errorf("a pack is locked until %s, want %s", got, longer)
		}
	}
	if err := s.Hold(ctx, "data/ab/ab0000", longer); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("hold what is not there: %v", err)
	}

	// A pack that is locked stays, whoever asks; other objects go out of sight.
	if at, held := storage.HeldUntil(s.Remove(ctx, pack)); !held || at.Sub(longer).Abs() > time.Second {
		t.Errorf("removed a locked pack, or said %s", at)
	}
	for _, name := range []string{"snapshots/01", "sessions/01"} {
		if err := s.Remove(ctx, name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
		if _, err := s.Get(ctx, name, 0, -1); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	if err := s.Hold(ctx, "snapshots/01", longer); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("hold what was removed: %v", err)
	}
	// A Put whose answer was lost is tried again.
	if err := s.Put(ctx, pack, []byte(pack)); err != nil {
		t.Errorf("put a locked pack again: %v", err)
	}
	got, err := storage.ReadAll(ctx, s, pack, 100)
	if err != nil || string(got) != pack {
		t.Errorf("read %q, %v", got, err)
	}
	thief(t, server)
	if got, err := storage.ReadAll(ctx, s, "snapshots/01", 100); err != nil || string(got) != "snapshots/01" {
		t.Errorf("a snapshot whose delete marker was removed: %q, %v", got, err)
	}
}

// thief has all rights and bad intentions, and removes delete markers, too.
func thief(t *testing.T, server *servers.S3) {
	t.Helper()
	c, err := minio.New(server.Addr, &minio.Options{Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), Transport: transport(t)})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for info := range c.ListObjectsIter(t.Context(), "locked", minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		if info.Err != nil {
			t.Fatal(info.Err)
		}
		if strings.Contains(info.Key, "sessions/") {
			continue
		}
		if info.IsDeleteMarker {
			if err := c.RemoveObject(t.Context(), "locked", info.Key, minio.RemoveObjectOptions{VersionID: info.VersionID}); err != nil {
				t.Errorf("remove the delete marker of %s: %v", info.Key, err)
			}
			continue
		}
		found++
		err := c.RemoveObject(t.Context(), "locked", info.Key, minio.RemoveObjectOptions{VersionID: info.VersionID, GovernanceBypass: true})
		if minio.ToErrorResponse(err).StatusCode != http.StatusForbidden {
			t.Errorf("remove version %s of %s: %v", info.VersionID, info.Key, err)
		}
	}
	if found < 3 {
		t.Errorf("found %d versions", found)
	}
}

// TestVersions runs the contract on a bucket that keeps versions.
func TestVersions(t *testing.T) {
	server := servers.StartS3(t)
	locking(t, server, "versions", time.Hour)
	storagetest.Run(t, func(t *testing.T) storage.Storage { return contract(t, server, "versions") })
}

func TestNoObjectLock(t *testing.T) {
	server := servers.StartS3(t)
	s, err := s3.Open(s3.Options{Endpoint: server.Addr, Plain: true, Bucket: server.Bucket, Transport: transport(t), Hold: time.Hour,
		Credentials: credentials.NewStaticV4(server.AccessKey, server.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Put(t.Context(), pack, []byte("pack"))
	if !storage.IsPermanent(err) || !strings.Contains(err.Error(), "has no object lock") {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Held(t.Context(), pack); err != nil && !storage.IsPermanent(err) {
		t.Errorf("held: %v", err)
	}
}
