package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/limit"
)

// Times after which a connection counts as one that failed.
const (
	dialTime  = 8 * time.Second
	tlsTime   = 8 * time.Second
	stallTime = time.Minute // without a byte in either direction
	idleTime  = 50 * time.Second
)

// bufferSize is what is written to a connection at once, in bytes.
const bufferSize = 64 << 10

// certSizeMax bounds a file of certificates, in bytes.
const certSizeMax = 16 << 20

// Options say how to connect. The zero value is right.
type Options struct {
	CACert      string // a file of certificates (PEM) that are trusted besides the system's
	Connections int    // at most; 0 for no bound
	Limits      *limit.Limits
}

// NewTransport returns a transport. Its CloseIdleConnections ends it.
func NewTransport(o Options) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CACert != "" {
		pool, err := certPool(o.CACert)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	dialer := &net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return o.Limits.Conn(&stallConn{c}), nil
		},
		TLSHandshakeTimeout: tlsTime,
		MaxConnsPerHost:     o.Connections,
		MaxIdleConnsPerHost: max(o.Connections, 2),
		IdleConnTimeout:     idleTime,
		DisableCompression:  true,
		ReadBufferSize:      bufferSize,
		WriteBufferSize:     bufferSize,
	}, nil
}

func certPool(path string) (*x509.CertPool, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > certSizeMax {
		err = storage.ErrTooLarge
	}
	var pem []byte
	if err == nil {
		pem, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read certificates: %v", err) // a file that is not there is no object that is not
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificates: %s has none in PEM form", path)
	}
	return pool, nil
}

// stallConn is a connection that fails when nothing moves on it.
type stallConn struct{ net.Conn }

func (c *stallConn) Read(p []byte) (int, error) {
	c.moved()
	n, err := c.Conn.Read(p)
	c.moved()
	return n, err
}

func (c *stallConn) Write(p []byte) (int, error) {
	done := 0
	for {
		// For the reader too: while a long body is sent, it is right that no answer comes.
		c.moved()
		n, err := c.Conn.Write(p[done:min(done+bufferSize, len(p))])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

func (c *stallConn) moved() {
	_ = c.SetDeadline(time.Now().Add(stallTime)) // fails on a closed connection alone, as the next call will
}
