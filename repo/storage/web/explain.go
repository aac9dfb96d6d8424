package web

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/tarn-backup/tarn/repo/storage"
)

// Explain says in one sentence why a request failed, without its URL.
func Explain(err error) error {
	var full *url.Error
	sent := errors.As(err, &full)
	if sent {
		err = full.Err
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &authority):
		return storage.Permanent(fmt.Errorf("nobody that this machine trusts vouches for the server's certificate: %w", authority))
	case errors.As(err, &host):
		return storage.Permanent(fmt.Errorf("the server's certificate is for another name: %w", host))
	case errors.As(err, &invalid):
		return storage.Permanent(fmt.Errorf("the server's certificate is not valid: %w", invalid))
	case errors.As(err, &verify):
		return storage.Permanent(fmt.Errorf("the server's certificate is not trusted: %w", verify.Err))
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return storage.Permanent(errors.New("the server does not speak TLS there: write http:// if that is right"))
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("there is no host called %s", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers there: %w", err)
	case errors.Is(err, io.EOF), sent && errors.Is(err, io.ErrUnexpectedEOF): // of the connection; that of an object is another matter
		return errors.New("the server closed the connection without an answer")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the server does not answer: %w", err)
	}
	return err
}

// NoTLS is what to think of when a server does not understand a request at all.
const NoTLS = ": if it speaks TLS, write https://"

// Status says in one sentence why a server refused a request.
func Status(code int) error {
	text := fmt.Sprintf("the server answers %d %s", code, http.StatusText(code))
	switch code {
	case http.StatusBadRequest:
		return fmt.Errorf("%s%s", text, NoTLS)
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", text, storage.ErrNotExist)
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: user name or password are not right: %w", text, fs.ErrPermission)
	case http.StatusForbidden:
		return fmt.Errorf("%s: %w", text, fs.ErrPermission)
	case http.StatusInsufficientStorage, http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w", text, storage.ErrFull)
	case http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%s: %w", text, io.ErrUnexpectedEOF)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return storage.Permanent(errors.New(text))
	}
	if Busy(code) {
		return storage.Busy(errors.New(text))
	}
	return errors.New(text)
}

// Busy reports whether a status is that of a server which can't do it now. An error inside of it (500), or of a gateway that finds nobody
// behind it (502, 504), may be there to stay.
func Busy(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return false
}
