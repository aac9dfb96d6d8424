package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/web"
)

// roleTime bounds the look for the role of a machine, which hangs where there is none.
const roleTime = 3 * time.Second

// Style says how a bucket is named in a request.
type Style string

// The styles. The empty one finds out.
const (
	StylePath Style = "path" // https://host/bucket/object
	StyleHost Style = "dns"  // https://bucket.host/object
)

// Options say where the bucket is. Endpoint, Bucket and Transport must be set.
type Options struct {
	Endpoint     string // host, and port if it is not the usual one
	Plain        bool   // http instead of https
	Bucket       string
	Prefix       string // without slashes at its ends; may be empty
	Region       string // empty: asked for
	Style        Style
	StorageClass string        // of packs alone; what is read often stays in the standard class
	Hold         time.Duration // lock what lasts for so long after the last backup; 0: no lock
	Transport    http.RoundTripper
	Credentials  *credentials.Credentials // nil: the usual chain
}

// Store is a prefix in a bucket.
type Store struct {
	options Options
	client  minio.Core
	prefix  string // empty, or with a slash behind it
}

// Open returns a store. It sends nothing.
func Open(o Options) (*Store, error) {
	if o.Credentials == nil {
		o.Credentials = chain(o.Transport)
	}
	lookup := map[Style]minio.BucketLookupType{"": minio.BucketLookupAuto, StylePath: minio.BucketLookupPath, StyleHost: minio.BucketLookupDNS}
	style, ok := lookup[o.Style]
	if !ok {
		return nil, fmt.Errorf("bucket style %q: want %s or %s", o.Style, StylePath, StyleHost)
	}
	if o.Region == "" {
		o.Region = os.Getenv("AWS_REGION")
	}
	if o.Region == "" {
		o.Region = os.Getenv("AWS_DEFAULT_REGION")
	}
	c, err := minio.NewCore(o.Endpoint, &minio.Options{Creds: o.Credentials, Secure: !o.Plain, Transport: o.Transport, Region: o.Region,
		BucketLookup: style, MaxRetries: 1}) // whoever wraps this store tries again
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", o.Bucket, err)
	}
	s := &Store{options: o, client: *c}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	return s, nil
}

// chain is where credentials come from, see doc.go.
func chain(t http.RoundTripper) *credentials.Credentials {
	return credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Transport: t, Timeout: roleTime}}})
}

// String is the address.
func (s *Store) String() string {
	scheme := "https"
	if s.options.Plain {
		scheme = "http"
	}
	return fmt.Sprintf("s3:%s://%s/%s", scheme, s.options.Endpoint, strings.TrimSuffix(s.options.Bucket+"/"+s.prefix, "/"))
}

// Create makes the bucket unless it is there. A user who may not look for it is told when he puts something.
func (s *Store) Create(ctx context.Context) error {
	there, err := s.client.BucketExists(ctx, s.options.Bucket)
	if err == nil && !there {
		err = s.client.MakeBucket(ctx, s.options.Bucket, minio.MakeBucketOptions{Region: s.options.Region, ObjectLocking: s.options.Hold > 0})
	}
	if code(err) == minio.AccessDenied {
		return nil
	}
	return s.failed("create bucket", s.options.Bucket, err)
}

// Put puts an object by one request.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.failed("put", name, s.put(ctx, name, data, s.putOptions(name)))
}

// PutNew puts an object on the condition that there is none, which AWS, MinIO, Ceph and others know. See storage.Creator.
func (s *Store) PutNew(ctx context.Context, name string, data []byte) error {
	o := s.putOptions(name)
	o.SetMatchETagExcept("*")
	err := s.put(ctx, name, data, o)
	switch {
	case status(err) == http.StatusPreconditionFailed:
		there, readErr := storage.ReadAll(ctx, s, name, int64(len(data)))
		switch {
		case errors.Is(readErr, storage.ErrTooLarge) || readErr == nil && !bytes.Equal(there, data):
			err = storage.ErrExist
		default:
			err = readErr
		}
	case status(err) == http.StatusNotImplemented:
		err = fmt.Errorf("put on a condition: %w", errors.ErrUnsupported)
	}
	return s.failed("put", name, err)
}

func (s *Store) putOptions(name string) minio.PutObjectOptions {
	o := minio.PutObjectOptions{DisableContentSha256: true} // the signature has the hash of all of it instead of one for each piece
	if isPack(name) {
		o.StorageClass = s.options.StorageClass
	}
	if s.options.Hold > 0 && lasting(name) {
		o.Mode, o.RetainUntilDate = minio.Compliance, storage.HoldUntil(time.Now(), s.options.Hold)
	}
	return o
}

func (s *Store) put(ctx context.Context, name string, data []byte, o minio.PutObjectOptions) error {
	if err := refused(ctx, storage.CheckName(name)); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if o.Mode != "" { // AWS takes no lock without a checksum in a header of its own
		o.UserMetadata = map[string]string{"x-amz-checksum-sha256": base64.StdEncoding.EncodeToString(sum[:])}
	}
	err := web.Upload(ctx, data, func(ctx context.Context, body io.Reader) error {
		_, err := s.client.PutObject(ctx, s.options.Bucket, s.prefix+name, body, int64(len(data)), "", hex.EncodeToString(sum[:]), o)
		return err
	})
	if o.Mode != "" && code(err) == "InvalidRequest" && strings.Contains(response(err).Message, "Lock") {
		err = storage.Permanent(fmt.Errorf("bucket %s has no object lock, which has to be turned on when it is made (%s)", s.options.Bucket, response(err).Message))
	}
	return err
}

// Get asks for a range of an object.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	err := refused(ctx, storage.CheckName(name))
	if err == nil && off < 0 {
		err = fmt.Errorf("read from %d: %w", off, fs.ErrInvalid)
	}
	var r io.ReadCloser
	if err == nil {
		r, err = s.get(ctx, name, off, n)
	}
	if err != nil {
		return nil, s.failed("get", name, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if n != 0 {
		var o minio.GetObjectOptions
		text, whole := web.Range(off, n)
		if !whole {
			o.Set("Range", text)
		}
		r, info, header, err := s.client.GetObject(ctx, s.options.Bucket, s.prefix+name, o)
		if err == nil {
			return web.Answer(r, name, info.Size, header.Get("Content-Range") != "", off, n)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) { // of the answer that says why not; that of an object is another matter
			return nil, errors.New("the connection was cut")
		}
		if code(err) != minio.InvalidRange && status(err) != http.StatusRequestedRangeNotSatisfiable {
			return nil, err
		}
	}
	// Nothing is asked for, or begins behind the end: its length says whether that is right.
	info, err := s.client.StatObject(ctx, s.options.Bucket, s.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return nil, err
	}
	left, err := storage.Range(info.Size, off, n)
	if err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, fmt.Errorf("the server has %d bytes, and none from %d on", info.Size, off)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// List lists in the order of the names, a thousand a request.
func (s *Store) List(ctx context.Context, prefix string, fn func(name string, size int64) error) error {
	return s.ListAfter(ctx, prefix, "", fn)
}

// ListAfter is List without the objects up to the one called after. See storage.Ordered.
func (s *Store) ListAfter(ctx context.Context, prefix, after string, fn func(name string, size int64) error) error {
	if err := refused(ctx, storage.CheckPrefix(prefix)); err != nil {
		return s.failed("list", prefix, err)
	}
	o := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
	if after != "" {
		o.StartAfter = s.prefix + after
	}
	for info := range s.client.ListObjectsIter(ctx, s.options.Bucket, o) {
		err := info.Err
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return s.failed("list", prefix, err)
		}
		name := strings.TrimPrefix(info.Key, s.prefix)
		if storage.CheckName(name) != nil {
			continue // none of ours
		}
		if err := fn(name, info.Size); err != nil {
			return err
		}
	}
	return s.failed("list", prefix, ctx.Err())
}

func refused(ctx context.Context, invalid error) error {
	if invalid != nil {
		return invalid
	}
	return ctx.Err()
}

// failed says what failed, and why.
func (s *Store) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", op, strings.TrimSuffix(name, "/"), s.explain(err))
}

func response(err error) minio.ErrorResponse {
	var r minio.ErrorResponse
	errors.As(err, &r)
	return r
}

func code(err error) string { return response(err).Code }
func status(err error) int  { return response(err).StatusCode }

// noBucket is the error of a bucket that is not there.
type noBucket string

func (b noBucket) Error() string { return "there is no bucket " + string(b) }

func (noBucket) Is(target error) bool {
	return target == storage.ErrNoPlace || target == storage.ErrNotExist
}

// explain turns an answer of the server's into a sentence.
func (s *Store) explain(err error) error {
	r := response(err)
	if r.Code == "" && r.StatusCode == 0 {
		return web.Explain(err)
	}
	text := strings.TrimRight(strings.TrimSpace(r.Error()), ".")
	bucket := s.options.Bucket
	switch r.Code {
	case minio.NoSuchKey:
		return fmt.Errorf("%s: %w", text, storage.ErrNotExist)
	case minio.NoSuchBucket:
		return noBucket(bucket)
	case "InvalidAccessKeyId", "XAdminUserNotFound": // the second is versitygw's
		return fmt.Errorf("the server does not know the access key: %w", fs.ErrPermission)
	case "SignatureDoesNotMatch":
		return fmt.Errorf("the secret key does not belong to the access key: %w", fs.ErrPermission)
	case "ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException", "RequestExpired":
		return fmt.Errorf("the session token has expired: %w", fs.ErrPermission)
	case "InvalidToken", "InvalidClientTokenId":
		return fmt.Errorf("the server does not accept the session token: %w", fs.ErrPermission)
	case minio.AccessDenied, "AllAccessDisabled", "AccountProblem":
		return fmt.Errorf("the credentials may not do this in bucket %s (%s): %w", bucket, text, fs.ErrPermission)
	case "RequestTimeTooSkewed":
		return storage.Permanent(errors.New("the clocks of this machine and of the server differ too much"))
	case "QuotaExceeded", "XMinioStorageFull", "EntityTooLarge", "XAmzQuotaExceeded":
		return fmt.Errorf("%s: %w", text, storage.ErrFull)
	case "InvalidBucketName", "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion", "InvalidRequest", "NotImplemented":
		return storage.Permanent(fmt.Errorf("%s (%s)", text, r.Code))
	}
	if r.StatusCode == http.StatusBadRequest && strings.HasPrefix(r.Code, "400 ") { // in no words of S3's
		return storage.Permanent(fmt.Errorf("the server answers %s%s", r.Code, web.NoTLS))
	}
	if r.StatusCode == http.StatusNotFound { // of something that is no object
		return storage.Permanent(fmt.Errorf("%s (%s)", text, r.Code))
	}
	if r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("the server refuses this (%s): %w", text, fs.ErrPermission)
	}
	says := fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
	err = fmt.Errorf("the server answers %s", says)
	if r.Code != says { // the answer has a body of S3's
		err = fmt.Errorf("the server answers %s (%s, %s)", says, r.Code, text)
	}
	if web.Busy(r.StatusCode) {
		return storage.Busy(err)
	}
	return err
}
