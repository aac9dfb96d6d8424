package s3_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/retry"
	"github.com/tarn-backup/tarn/repo/storage/s3"
	"github.com/tarn-backup/tarn/repo/storage/storagetest"
	"github.com/tarn-backup/tarn/repo/storage/web"
	"github.com/tarn-backup/tarn/testing/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func transport(t *testing.T) *http.Transport {
	t.Helper()
	tr, err := web.NewTransport(web.Options{Connections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func open(t *testing.T, server *servers.S3, addr, prefix string) *s3.Store {
	t.Helper()
	s, err := s3.Open(s3.Options{Endpoint: addr, Plain: true, Bucket: server.Bucket, Prefix: prefix, Transport: transport(t),
		Credentials: credentials.NewStaticV4(server.AccessKey, server.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStorage(t *testing.T) {
	server := servers.StartS3(t)
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		// versitygw answers 409 when a folder is emptied and filled at the same moment; what stands above every S3 store tries again.
		return retry.Wrap(open(t, server, server.Addr, strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(t.Name()))), retry.Options{})
	})
}
