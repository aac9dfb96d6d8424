package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/testing/servers"
)

// certificate makes a self-signed one for 127.0.0.1, good until a time, and a file by which it is trusted.
func certificate(t *testing.T, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// answering serves an answer to whatever is asked, over TLS if there is a certificate.
func answering(t *testing.T, status int, body string, c *tls.Certificate) (address string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if c != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*c}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestWhatIsWrongFarAway wants one sentence for each thing that users get wrong, and the right exit code, soon. (That of sftp is in far_sftp.txtar, and
// what a real S3 server says in far_s3.txtar.)
func TestWhatIsWrongFarAway(t *testing.T) {
	good, trusted := certificate(t, time.Now().Add(24*time.Hour))
	old, trustedOld := certificate(t, time.Now().Add(-time.Hour))
	s3Error := func(code string) string {
		return "<Error><Code>" + code + "</Code><Message>of the server</Message></Error>"
	}
	expired := answering(t, http.StatusForbidden, s3Error("ExpiredToken"), nil)
	unknown := answering(t, http.StatusForbidden, s3Error("InvalidToken"), nil)
	skewed := answering(t, http.StatusForbidden, s3Error("RequestTimeTooSkewed"), nil)
	ours := answering(t, http.StatusNotFound, "", &good)
	past := answering(t, http.StatusNotFound, "", &old)
	plain := answering(t, http.StatusNotFound, "", nil)
	_, port, _ := net.SplitHostPort(ours)
	real := servers.StartS3(t)
	for _, c := range []struct {
		name, repository string
		args             []string
		code             int
		says             string
	}{
		{"expired token", "s3:http://" + expired + "/bucket/repo", nil, exitFailed, "the session token has expired: permission denied"},
		{"unknown token", "s3:http://" + unknown + "/bucket/repo", nil, exitFailed, "the server does not accept the session token: permission denied"},
		{"wrong clock", "s3:http://" + skewed + "/bucket/repo", nil, exitFailed, "the clocks of this machine and of the server differ too much"},
		{"token of another server", "s3:http://" + real.Addr + "/bucket/repo", nil, exitFailed, "the server does not accept the session token: permission denied"},
		{"S3, nobody's certificate", "s3:https://" + ours + "/bucket/repo", nil, exitFailed, "nobody that this machine trusts vouches for the server's certificate"},
		{"REST, nobody's certificate", "rest:https://" + ours + "/repo", nil, exitFailed, "nobody that this machine trusts vouches for the server's certificate"},
		{"S3, other name", "s3:https://localhost:" + port + "/bucket/repo", []string{"--cacert", trusted}, exitFailed, "the server's certificate is for another name"},
		{"REST, other name", "rest:https://localhost:" + port + "/repo", []string{"--cacert", trusted}, exitFailed, "the server's certificate is for another name"},
		{"S3, certificate of the past", "s3:https://" + past + "/bucket/repo", []string{"--cacert", trustedOld}, exitFailed, "the server's certificate is not valid: "},
		{"REST, certificate of the past", "rest:https://" + past + "/repo", []string{"--cacert", trustedOld}, exitFailed, "the server's certificate is not valid: "},
		{"S3, no TLS", "s3:https://" + plain + "/bucket/repo", nil, exitFailed, "the server does not speak TLS there"},
		{"REST, no TLS", "rest:https://" + plain + "/repo", nil, exitFailed, "the server does not speak TLS there"},
		{"S3, TLS wanted", "s3:http://" + ours + "/bucket/repo", nil, exitFailed, "the server answers 400 Bad Request: if it speaks TLS, write https://"},
		{"REST, TLS wanted", "rest:http://" + ours + "/repo", []string{"--retry-for", "1ms"}, exitFailed, "the server answers 400 Bad Request: if it speaks TLS, write https://"},
		{"REST, no repository", "rest:https://" + ours + "/repo", []string{"--cacert", trusted}, exitNoRepository, "no tarn repository there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newClient(t, c.repository, "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secretkey", "AWS_SESSION_TOKEN=secrettoken")
			// Minutes are for a machine with much else to do: what this is about is a budget of 5 seconds that ends.
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			begin := time.Now()
			cmd := exec.CommandContext(ctx, cl.bin, append(c.args, "snapshots")...)
			cmd.Env = cl.env
			out, err := cmd.CombinedOutput()
			text := strings.TrimSpace(string(out))
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.code {
				t.Errorf("%v, want exit code %d", err, c.code)
			}
			line, hint, _ := strings.Cut(text, "\n")
			if !strings.HasPrefix(line, "tarn: ") || !strings.Contains(line, c.says) || strings.Contains(hint, "\n") || strings.Contains(text, "secret") {
				t.Errorf("it says\n%s\nwant %q", text, c.says)
			}
			t.Logf("%.1f s: %s", time.Since(begin).Seconds(), line)
		})
	}
}
