package s3

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

// Remove removes an object, or in a bucket with versions its newest version. A pack that is locked is a storage.HeldError: the server would
// take it out of sight and keep its bytes, and nobody would know what they cost.
func (s *Store) Remove(ctx context.Context, name string) error {
	err := refused(ctx, storage.CheckName(name))
	if err == nil && s.options.Hold > 0 && isPack(name) {
		err = s.free(ctx, name)
	}
	if err == nil {
		err = web.Settle(ctx, func(ctx context.Context) error {
			return s.client.RemoveObject(ctx, s.options.Bucket, s.prefix+name, minio.RemoveObjectOptions{})
		})
		if status(err) == http.StatusForbidden { // maybe the bucket locks by itself what is put
			if held := s.free(ctx, name); isHeld(held) {
				err = held
			}
		}
	}
	if code(err) == minio.NoSuchKey {
		return nil
	}
	return s.failed("remove", name, err)
}

// free returns a storage.HeldError if an object is locked.
func (s *Store) free(ctx context.Context, name string) error {
	until, err := s.held(ctx, name)
	if err == nil && until.After(time.Now()) {
		return storage.HeldError{Until: until}
	}
	return err
}

func isHeld(err error) bool {
	_, held := storage.HeldUntil(err)
	return held
}

// HoldTime is part of storage.Holder.
func (s *Store) HoldTime() time.Duration { return s.options.Hold }

// Hold locks an object. Who may lock can't shorten a lock.
func (s *Store) Hold(ctx context.Context, name string, until time.Time) error {
	err := refused(ctx, storage.CheckName(name))
	if err == nil {
		mode := minio.Compliance
		err = s.client.PutObjectRetention(ctx, s.options.Bucket, s.prefix+name, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	}
	if s.isGone(err) {
		err = storage.ErrNotExist
	}
	if status(err) == http.StatusForbidden {
		if held, heldErr := s.held(ctx, name); heldErr == nil && !held.Before(until.Truncate(time.Second)) {
			return nil
		}
	}
	return s.failed("lock", name, err)
}

// Held is part of storage.Holder.
func (s *Store) Held(ctx context.Context, name string) (time.Time, error) {
	err := refused(ctx, storage.CheckName(name))
	var until time.Time
	if err == nil {
		until, err = s.held(ctx, name)
	}
	return until, s.failed("ask for the lock of", name, err)
}

// held asks for the object's headers, which say the same as its retention and are alike on all servers.
func (s *Store) held(ctx context.Context, name string) (until time.Time, err error) {
	info, err := s.client.StatObject(ctx, s.options.Bucket, s.prefix+name, minio.StatObjectOptions{})
	if s.isGone(err) {
		return until, nil
	}
	if err != nil {
		return until, fmt.Errorf("ask for its lock: %w", err)
	}
	text := info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")
	if text == "" {
		return until, nil
	}
	return time.Parse(time.RFC3339, text)
}

// isGone reports whether an object that was asked about is not there, or only as an older version.
func (s *Store) isGone(err error) bool {
	return slices.Contains([]string{minio.NoSuchKey, "NoSuchVersion", "MethodNotAllowed"}, code(err))
}

func isPack(name string) bool { return strings.HasPrefix(name, "data/") }

// lasting reports whether an object is one that nobody should be able to remove for a while. Sessions and what else comes and goes is not.
func lasting(name string) bool {
	folder, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"config", "keys", "data", "index", "snapshots"}, folder)
}
