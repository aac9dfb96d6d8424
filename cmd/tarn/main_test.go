package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tarn": main, "scribble": scribble, "flip": flip})
}

// TestScripts runs the files in testdata: each is a flow, typed as a user types it.
func TestScripts(t *testing.T) {
	far := &farServers{t: t}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TARN_REPOSITORY", filepath.Join(env.WorkDir, "repo"))
			env.Setenv("TARN_PASSWORD", "secret")
			env.Setenv("TZ", "UTC")
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
			env.Setenv("SELF", os.Args[0])
			return os.Chmod(filepath.Dir(env.WorkDir), 0o755) // other users must come through
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "mkfs.ext4":
				_, err := exec.LookPath("mkfs.ext4")
				return err == nil, nil
			case "root":
				return os.Geteuid() == 0, nil
			case "setpriv":
				_, err := exec.LookPath("setpriv")
				return err == nil, nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": cmdCode, "age": cmdAge, "tmpfs": cmdTmpfs, "ext4": cmdExt4, "capture": cmdCapture, "interrupt": cmdInterrupt,
			"serve": far.serve,
		},
	})
}

// cmdCode runs a program and wants an exit code: code 12 tarn snapshots
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], got, want)
	}
}

// cmdAge waits until all that is below a folder is so old that a stat proves that nothing changed: age src. Nothing can make a ctime older.
func cmdAge(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(filepath.Walk(ts.MkAbs(args[0]), func(path string, info os.FileInfo, err error) error {
		if err == nil {
			time.Sleep(time.Until(info.ModTime().Add(2200 * time.Millisecond)))
		}
		return err
	}))
}

// cmdTmpfs mounts a file system of a size: tmpfs folder 3m
func cmdTmpfs(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(path, 0o755))
	ts.Check(ts.Exec("mount", "-t", "tmpfs", "-o", "size="+args[1], "tmpfs", path))
	ts.Defer(func() { exec.Command("umount", path).Run() })
}

// cmdExt4 mounts a new ext4 of a size from a loop device: ext4 folder 64m
func cmdExt4(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(path, 0o755))
	ts.Check(ts.Exec("truncate", "-s", args[1], path+".img"))
	ts.Check(ts.Exec("mkfs.ext4", "-q", "-m", "0", path+".img"))
	ts.Check(ts.Exec("mount", "-o", "loop", path+".img", path))
	ts.Defer(func() { exec.Command("umount", path).Run() })
}

// cmdCapture sets a variable to the standard output of a program, without its end of line: capture ID tarn ...
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec(args[1], args[2:]...))
	out := ts.ReadFile("stdout")
	for len(out) > 0 && out[len(out)-1] == '\n' {
		out = out[:len(out)-1]
	}
	ts.Setenv(args[0], out)
}

// cmdInterrupt starts a program, waits until somebody writes to a named pipe, sends SIGINT, and wants exit code 130. What it said goes
// to a file: interrupt pipe said tarn ...
func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	if runtime.GOOS == "windows" {
		ts.Fatalf("there is no SIGINT on Windows")
	}
	said, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	defer said.Close()
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), said, said
	cmd.Env = append(os.Environ(), "TARN_REPOSITORY="+ts.Getenv("TARN_REPOSITORY"), "TARN_PASSWORD=secret", "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"), "XDG_STATE_HOME="+ts.Getenv("XDG_STATE_HOME"))
	ts.Check(cmd.Start())
	_, err = os.ReadFile(ts.MkAbs(args[0])) // ends when the writer is done
	ts.Check(err)
	ts.Check(cmd.Process.Signal(os.Interrupt))
	if cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		ts.Fatalf("%v: %v, want exit code %d", args[2:], cmd.ProcessState, exitInterrupted)
	}
}

// scribble writes to a file without an end, all over it, and first creates another one to say that it has begun: scribble file begun
func scribble() {
	f, err := os.OpenFile(os.Args[1], os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	block := make([]byte, 64<<10)
	for n := 0; ; n++ {
		for i := range block {
			block[i] = byte(n)
		}
		for off := int64(0); off < 16<<20; off += int64(len(block)) {
			if _, err := f.WriteAt(block, off); err != nil {
				os.Exit(0)
			}
		}
		if n == 1 {
			if err := os.WriteFile(os.Args[2], nil, 0o600); err != nil {
				panic(err)
			}
		}
	}
}

// flip changes a byte of a file, whatever it is. A byte that is given could be the one that is there: flip offset file
func flip() {
	at, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		panic(err)
	}
	f, err := os.OpenFile(os.Args[2], os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		panic(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b[:], at); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
}
