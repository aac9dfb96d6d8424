package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/tarn-backup/tarn/repo/storage/s3"
	"github.com/tarn-backup/tarn/repo/storage/sftp"
)

// kind is how a repository is reached.
type kind string

// The kinds. A path of this machine that begins like one of the others is written with ./ in front.
const (
	kindFolder kind = "folder"
	kindS3     kind = "s3"
	kindSFTP   kind = "sftp"
	kindRclone kind = "rclone"
	kindREST   kind = "rest"
)

// location says where a repository is.
type location struct {
	kind   kind
	text   string // as people see it, without passwords
	folder string // of this machine; of kindFolder alone
	s3     s3.Options
	sftp   sftp.Options
	remote string   // rclone's
	rest   *url.URL // with the password
}

// parseLocation reads what -r or TARN_REPOSITORY says.
func parseLocation(text string) (location, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	l := location{kind: kind(scheme), text: text}
	var err error
	switch l.kind {
	case kindS3:
		err = l.parseS3(rest)
	case kindSFTP:
		err = l.parseSFTP(rest)
	case kindREST:
		err = l.parseREST(rest)
	case kindRclone:
		l.remote = rest
		if !strings.Contains(rest, ":") {
			err = errors.New("want rclone:REMOTE:PATH")
		}
	default:
		l.kind, l.folder = kindFolder, text
		for _, k := range []string{"b2", "azure", "gs", "swift"} {
			if k == scheme && text != scheme {
				return l, withHint(fmt.Errorf("repository %s: tarn does not speak %s's own protocol", text, k),
					"use its S3 protocol (s3:https://...), or rclone:REMOTE:PATH; ./%s:... if a folder is called so", k)
			}
		}
	}
	if err != nil {
		return l, withHint(fmt.Errorf("repository %s: %w", l.shown(), err), "docs/repositories.md has an example of each kind; ./%s:... if a folder is called so", scheme)
	}
	return l, nil
}

// shown is the text, or as much of it as has no password.
func (l *location) shown() string {
	if before, after, ok := strings.Cut(l.text, "@"); ok && strings.Contains(before, "//") {
		scheme, _, _ := strings.Cut(before, "//")
		return scheme + "//...@" + after
	}
	return l.text
}

// parseS3 reads [https://]host[:port]/bucket[/prefix].
func (l *location) parseS3(text string) error {
	if !strings.Contains(text, "://") {
		text = "https://" + strings.TrimPrefix(text, "//")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want s3:https://HOST/BUCKET/PREFIX")
	}
	if u.User != nil {
		return errors.New("credentials don't belong there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if bucket == "" {
		return errors.New("the bucket is missing: want s3:https://HOST/BUCKET/PREFIX")
	}
	l.s3 = s3.Options{Endpoint: u.Host, Plain: u.Scheme == "http", Bucket: bucket, Prefix: strings.Trim(prefix, "/")}
	return nil
}

// parseSFTP reads [user@]host:path, or //[user@]host[:port]/path, where a second slash begins an absolute path.
func (l *location) parseSFTP(text string) error {
	want := errors.New("want sftp:USER@HOST:PATH, or sftp://USER@HOST:PORT/PATH")
	o := &l.sftp
	if strings.HasPrefix(text, "//") {
		u, err := url.Parse("sftp:" + text)
		if err != nil || u.Hostname() == "" {
			return want
		}
		if _, ok := u.User.Password(); ok {
			return errors.New("a password does not belong there: give ssh a key, or an agent")
		}
		o.User, o.Host, o.Port, o.Path = u.User.Username(), u.Hostname(), u.Port(), strings.TrimPrefix(u.Path, "/")
	} else {
		host, path, ok := cutHost(text)
		if !ok {
			return want
		}
		o.Path = path
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			o.User, host = host[:at], host[at+1:]
		}
		o.Host = strings.Trim(host, "[]")
	}
	if o.Host == "" || o.Path == "" || strings.HasPrefix(o.Host, "-") || strings.HasPrefix(o.User, "-") {
		return want
	}
	return nil
}

// cutHost cuts host:path, where the host may be [an:ipv6::address].
func cutHost(text string) (host, path string, ok bool) {
	if at := strings.Index(text, "]:"); at >= 0 {
		return text[:at+1], text[at+2:], true
	}
	return strings.Cut(text, ":")
}

// parseREST reads http(s)://[user[:password]@]host[:port]/path.
func (l *location) parseREST(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want rest:https://USER@HOST/PATH") // an error of url.Parse would show the password
	}
	user, password := os.Getenv("TARN_REST_USERNAME"), os.Getenv("TARN_REST_PASSWORD")
	if u.User != nil && u.User.Username() != "" {
		user = u.User.Username()
	}
	if p, ok := u.User.Password(); ok {
		if os.Getenv("TARN_REPOSITORY") != l.text && os.Getenv("TARN_FROM_REPOSITORY") != l.text { // it stands in the list of processes, for all to see
			return errors.New("a password does not belong there: set TARN_REST_PASSWORD")
		}
		password = p
	}
	u.User = nil
	if user != "" {
		u.User = url.User(user)
	}
	l.text = "rest:" + u.String()
	if user != "" {
		u.User = url.UserPassword(user, password)
	}
	l.rest = u
	return nil
}
