package live_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	blockLen = 4096
	blocks   = 48
)

// kinds are the ways of saving a file.
var kinds = []string{
	"single",   // open, overwrite all in one write, close
	"parts",    // open, overwrite in four writes, close
	"truncate", // open and empty, four writes, close
	"emptied",  // empty it through a descriptor for reading, which breaks no lease; then open, write, close
	"rename",   // another file, renamed over it
	"held",     // kept open, overwritten in one write
	"append",   // kept open, one block more
	"mmap",     // kept mapped, stored to from the start to the end
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// generation is the whole file as it is saved for the gen-th time. Each block says which it is.
func generation(gen uint64) []byte {
	data := make([]byte, 0, blocks*blockLen)
	for i := range uint64(blocks) {
		data = append(data, block(gen, i)...)
	}
	return data
}

func block(gen, place uint64) []byte {
	b := make([]byte, blockLen)
	binary.LittleEndian.PutUint64(b, gen)
	binary.LittleEndian.PutUint64(b[8:], place)
	for i := 16; i < blockLen-8; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], gen*0x9e3779b97f4a7c15+uint64(i))
	}
	binary.LittleEndian.PutUint64(b[blockLen-8:], crc64.Checksum(b[:blockLen-8], crcTable))
	return b
}

// words is the file of the mmap writer: all words are the generation.
func words(gen uint64) []byte {
	data := make([]byte, blocks*blockLen)
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], gen)
	}
	return data
}

// verdict says what a captured file is.
type verdict string

const (
	complete verdict = "complete" // one generation
	empty    verdict = "empty"
	between  verdict = "between" // a moment at which it was being saved
	prefix   verdict = "prefix"  // the start of a complete one
	torn     verdict = "torn"    // never in the file at one moment
)

// judge says what the content of a file tells about itself.
func judge(kind string, data []byte) verdict {
	switch {
	case len(data) == 0:
		return empty
	case kind == "append":
		for i := 0; i < len(data); i += blockLen {
			n := min(blockLen, len(data)-i)
			if want := block(1, uint64(i/blockLen)); string(data[i:i+n]) != string(want[:n]) {
				return torn
			}
		}
		return complete
	case kind == "mmap":
		return judgeOrder(data, 8, func(b []byte, _ uint64) (uint64, bool) { return binary.LittleEndian.Uint64(b), true })
	}
	v := judgeOrder(data[:len(data)/blockLen*blockLen], blockLen, func(b []byte, place uint64) (uint64, bool) {
		gen := binary.LittleEndian.Uint64(b)
		sum := crc64.Checksum(b[:blockLen-8], crcTable)
		return gen, binary.LittleEndian.Uint64(b[8:]) == place && binary.LittleEndian.Uint64(b[blockLen-8:]) == sum
	})
	if v == complete && len(data) < blocks*blockLen {
		return prefix
	}
	return v
}

// judgeOrder judges pieces that are written from the start to the end: at any moment the first ones are of one
// generation, and the others, if there are any, of the one before.
func judgeOrder(data []byte, size int, genOf func(piece []byte, place uint64) (uint64, bool)) verdict {
	v := complete
	var last uint64
	for i := 0; i < len(data); i += size {
		gen, ok := genOf(data[i:i+size], uint64(i/size))
		switch {
		case !ok:
			return torn
		case i == 0 || gen == last:
		case gen+1 == last && v == complete:
			v = between
		default:
			return torn
		}
		last = gen
	}
	return v
}

// play is the program that works on the files of a folder until its standard input ends.
func play(role string) {
	args := strings.Fields(role)
	switch args[0] {
	case "write":
		seed, _ := strconv.ParseUint(args[2], 10, 64)
		stop := make(chan struct{})
		done := make(chan error)
		names, err := filepath.Glob(filepath.Join(args[1], "*-*"))
		exitOn(err)
		for i, name := range names {
			go func() { done <- save(name, rand.New(rand.NewPCG(seed, uint64(i))), stop) }()
		}
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
		for range names {
			exitOn(<-done)
		}
	case "big":
		exitOn(writeBig(args[1]))
	case "hold":
		exitOn(hold(args[1]))
	case "capture":
		exitOn(captureOnce(args[1]))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// save saves a file again and again: some times in a hurry, then a rest.
func save(path string, rnd *rand.Rand, stop chan struct{}) error {
	kind, _, _ := strings.Cut(filepath.Base(path), "-")
	w := &writer{path: path, kind: kind, gen: 1}
	defer w.close()
	for {
		for range 1 + rnd.IntN(20) {
			w.gen++
			if err := w.save(); err != nil {
				return err
			}
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(rnd.IntN(600)) * time.Millisecond):
		}
	}
}

type writer struct {
	path, kind string
	gen        uint64
	file       *os.File
	mapped     []byte
}

func (w *writer) close() {
	if w.mapped != nil {
		_ = unix.Munmap(w.mapped)
	}
	if w.file != nil {
		w.file.Close()
	}
}

func (w *writer) save() error {
	data := generation(w.gen)
	switch w.kind {
	case "single":
		return saveParts(w.path, os.O_WRONLY, data, 1)
	case "parts":
		return saveParts(w.path, os.O_WRONLY, data, 4)
	case "truncate":
		return saveParts(w.path, os.O_WRONLY|os.O_TRUNC, data, 4)
	case "emptied":
		fd, err := unix.Open(w.path, unix.O_RDONLY|unix.O_TRUNC, 0)
		if err != nil {
			return err
		}
		return errors.Join(unix.Close(fd), saveParts(w.path, os.O_WRONLY, data, 4))
	case "rename":
		tmp := filepath.Join(filepath.Dir(w.path), "."+filepath.Base(w.path))
		return errors.Join(saveParts(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, data, 1), os.Rename(tmp, w.path))
	}
	if w.file == nil {
		file, err := os.OpenFile(w.path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		w.file = file
	}
	switch w.kind {
	case "held":
		_, err := w.file.WriteAt(data, 0)
		return err
	case "append":
		info, err := w.file.Stat()
		if err != nil || info.Size() > 4<<20 {
			return err
		}
		_, err = w.file.WriteAt(block(1, uint64(info.Size()/blockLen)), info.Size())
		return err
	}
	if w.mapped == nil {
		mapped, err := unix.Mmap(int(w.file.Fd()), 0, len(data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		w.mapped = mapped
	}
	for i := 0; i < len(w.mapped); i += 8 {
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&w.mapped[i])), w.gen) // in this order
	}
	return nil
}

func saveParts(path string, flags int, data []byte, parts int) error {
	file, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	for n := len(data) / parts; len(data) > 0 && err == nil; data = data[n:] {
		_, err = file.Write(data[:n])
	}
	return errors.Join(err, file.Close())
}

// startWriters makes count files of each kind in dir and starts a program that saves them, until the test ends or it is
// told to stop.
func startWriters(t *testing.T, dir string, count int, seed uint64) (names []string) {
	t.Helper()
	for _, kind := range kinds {
		for i := range count {
			name := fmt.Sprintf("%s-%d", kind, i)
			data := generation(1)
			switch kind {
			case "append":
				data = block(1, 0)
			case "mmap":
				data = words(1)
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
	}
	startRole(t, fmt.Sprintf("write %s %d", dir, seed))
	return names
}

// startRole starts this program in another role, and returns it when it is ready.
func startRole(t *testing.T, role string) *part {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that it can be stopped
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	})
	p := &part{t: t, cmd: cmd, in: stdin, out: bufio.NewReader(stdout)}
	if line := p.hear(); line != "ready" {
		t.Fatalf("%s: said %q", role, line)
	}
	return p
}

// part is this program in another role.
type part struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	killed bool
}

// hear waits for a line.
func (p *part) hear() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("heard %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// tell says a line.
func (p *part) tell(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatal(err)
	}
}
