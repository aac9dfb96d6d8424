package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tarn-backup/tarn/testing/servers"
)

// farServers are real servers, started by the first script that needs them.
type farServers struct {
	t *testing.T

	mu   sync.Mutex // guards what follows
	s3   *servers.S3
	sshd *servers.SSHD
	n    int
}

// serve sets TARN_REPOSITORY to a place of its own on a server, and what else it takes to get there: serve s3
func (f *farServers) serve(ts *testscript.TestScript, neg bool, args []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	switch args[0] {
	case "s3": // with the bucket, which need not be there
		if f.s3 == nil {
			f.s3 = servers.StartS3(f.t)
		}
		ts.Setenv("AWS_ACCESS_KEY_ID", f.s3.AccessKey)
		ts.Setenv("AWS_SECRET_ACCESS_KEY", f.s3.SecretKey)
		ts.Setenv("S3", f.s3.Addr)
		bucket := f.s3.Bucket
		if len(args) > 1 {
			bucket = args[1]
		}
		ts.Setenv("TARN_REPOSITORY", fmt.Sprintf("s3:http://%s/%s/%d/repo", f.s3.Addr, bucket, f.n))
	case "sftp":
		if f.sshd == nil {
			f.sshd = servers.StartSSHD(f.t)
		}
		ts.Setenv("SSH_ARGS", strings.Join(f.sshd.Args, " "))
		ts.Setenv("SSH_KEYS", f.sshd.Folder)
		ts.Setenv("SSH_PORT", f.sshd.Port)
		ts.Setenv("TARN_REPOSITORY", fmt.Sprintf("sftp://127.0.0.1:%s/%s", f.sshd.Port, ts.MkAbs("repo")))
	case "rest": // with more arguments for the server; its folder is in $SERVED
		s := servers.StartREST(f.t, append([]string{"--prometheus-no-auth"}, args[1:]...)...)
		ts.Defer(s.Kill)
		ts.Setenv("SERVED", filepath.Join(s.Folder, "repo"))
		ts.Setenv("TARN_REPOSITORY", "rest:http://"+s.Addr+"/repo")
		ts.Setenv("REST", s.Addr)
	case "rclone":
		servers.Program(f.t, "rclone", "apt-get install rclone")
		ts.Setenv("RCLONE_CONFIG", os.DevNull)
		ts.Setenv("TARN_REPOSITORY", "rclone::local:"+ts.MkAbs("repo"))
	default:
		ts.Fatalf("no server called %s", args[0])
	}
}
