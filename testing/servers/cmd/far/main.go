package main

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/tarn-backup/tarn/testing/servers"
)

// program is a servers.TB that is no test.
type program struct {
	folder  string
	cleanup []func()
}

func (*program) Helper()                           {}
func (*program) Fatal(args ...any)                 { log.Fatal(args...) }
func (*program) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (*program) Skipf(format string, args ...any)  { log.Fatalf(format, args...) }
func (*program) Logf(format string, args ...any)   { log.Printf(format, args...) }
func (*program) Failed() bool                      { return false }
func (p *program) Cleanup(f func())                { p.cleanup = append(p.cleanup, f) }
func (p *program) TempDir() string {
	folder, err := os.MkdirTemp(p.folder, "")
	if err != nil {
		log.Fatal(err)
	}
	return folder
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: far RTT FOLDER")
	}
	rtt, err := time.ParseDuration(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	p := &program{folder: os.Args[2]}
	s3 := servers.StartS3(p)
	counter := servers.StartBad(p, s3.Addr, servers.Faults{})
	far := servers.StartFar(p, counter.Addr, rtt)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		by, all, _ := counter.Requests()
		counter.Set(servers.Faults{})
		fmt.Fprintf(w, "%d requests:", all)
		for _, method := range slices.Sorted(maps.Keys(by)) {
			fmt.Fprintf(w, " %s %d", method, by[method])
		}
		fmt.Fprintln(w)
	}))
	fmt.Printf("FAR=%s NEAR=%s COUNTER=%s BUCKET=%s AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n", far.Addr, counter.Addr, l.Addr(), s3.Bucket, s3.AccessKey,
		s3.SecretKey)
	io.Copy(io.Discard, os.Stdin)
	for _, f := range slices.Backward(p.cleanup) {
		f()
	}
}
