package main

import (
	"strings"
	"testing"
)

func TestParseLocation(t *testing.T) {
	for _, c := range []struct {
		text string
		kind kind
		want string // of what counts
	}{
		{"/backup/repo", kindFolder, "/backup/repo"},
		{"./s3:x", kindFolder, "./s3:x"},
		{`C:\backup`, kindFolder, `C:\backup`},
		{"s3:https://host:9000/bucket/a/b/", kindS3, "host:9000 false bucket a/b"},
		{"s3:http://host/bucket", kindS3, "host true bucket "},
		{"s3:s3.amazonaws.com/bucket/p", kindS3, "s3.amazonaws.com false bucket p"},
		{"sftp:ann@host:/srv/repo", kindSFTP, "ann host  /srv/repo"},
		{"sftp:host:repo", kindSFTP, " host  repo"},
		{"sftp:a@b@host:repo", kindSFTP, "a@b host  repo"},
		{"sftp:[::1]:/repo", kindSFTP, " ::1  /repo"},
		{"sftp://ann@host:2222//srv/repo", kindSFTP, "ann host 2222 /srv/repo"},
		{"sftp://host/repo", kindSFTP, " host  repo"},
		{"rclone:remote:path/x", kindRclone, "remote:path/x"},
		{"rest:https://ann@host:8000/ann/", kindREST, "rest:https://ann@host:8000/ann/"},
	} {
		l, err := parseLocation(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := map[kind]string{
			kindFolder: l.folder,
			kindS3:     strings.Join([]string{l.s3.Endpoint, map[bool]string{true: "true", false: "false"}[l.s3.Plain], l.s3.Bucket, l.s3.Prefix}, " "),
			kindSFTP:   strings.Join([]string{l.sftp.User, l.sftp.Host, l.sftp.Port, l.sftp.Path}, " "),
			kindRclone: l.remote,
			kindREST:   l.text,
		}[l.kind]
		if l.kind != c.kind || got != c.want {
			t.Errorf("%s: got %s %q, want %s %q", c.text, l.kind, got, c.kind, c.want)
		}
	}
}

func TestParseLocationRefuses(t *testing.T) {
	for _, text := range []string{"s3:https://host", "s3:", "s3:ftp://host/bucket", "s3:https://key:secret@host/bucket", "s3:https://host/b?x=secret", "sftp:host",
		"sftp:-oProxyCommand=x:/p", "sftp:host:", "sftp://ann:secret@host/p", "rclone:remote", "rest:host/path", "rest:https://ann:secret@host/",
		"rest:https://ann:secret@ho st/", "b2:bucket"} {
		l, err := parseLocation(text)
		if err == nil {
			t.Errorf("%s: it is a %s", text, l.kind)
		} else if strings.Contains(err.Error(), "secret") && strings.Contains(text, "@") {
			t.Errorf("%s: the error has the password: %v", text, err)
		}
	}
}

func TestPasswordInTheEnvironment(t *testing.T) {
	const text = "rest:https://ann:secret@host/p"
	t.Setenv("TARN_REPOSITORY", text)
	l, err := parseLocation(text)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := l.rest.User.Password(); p != "secret" || strings.Contains(l.text, "secret") {
		t.Errorf("got password %q, and shown is %s", p, l.text)
	}
}
