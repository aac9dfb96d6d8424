package live_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source/live"
)

// tally counts what captures were.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (y *tally) add(key string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.counts == nil {
		y.counts = make(map[string]int)
	}
	y.counts[key]++
}

func (y *tally) log(t *testing.T) {
	keys := make([]string, 0, len(y.counts))
	for key := range y.counts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		t.Logf("%6d %s", y.counts[key], key)
	}
}

// with counts the keys that begin so.
func (y *tally) with(start string) (n int) {
	for key, count := range y.counts {
		if strings.HasPrefix(key, start) {
			n += count
		}
	}
	return n
}

// allowed says which verdicts a state with a method may have for a kind of writer. A clone and two equal looks are one
// moment, which may lie between two writes; a lease is refused while the file is open for being saved, so what it gives
// is complete.
func allowed(kind string, method snapshot.Method, v verdict) bool {
	switch {
	case v == complete:
		return true
	case v == torn:
		return false
	case method == snapshot.MethodLease:
		return v == empty && kind == "emptied" // emptied and closed is a state that somebody left it in
	case v == between:
		return kind == "parts" || kind == "mmap"
	case v == empty || v == prefix:
		return kind == "truncate" || kind == "emptied"
	}
	return false
}

// has reports whether a key begins so. It may be called while captures go on.
func (y *tally) has(start string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.with(start) > 0
}

// lasting returns a context that ends after span, or as much later as it takes until seen reports true: a test must not fail because the
// machine is slow.
func lasting(t *testing.T, span time.Duration, seen func() bool) context.Context {
	const most, step = 2 * time.Minute, 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), span+most)
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		defer cancel()
		for begin := time.Now(); ctx.Err() == nil && (time.Since(begin) < span || !seen()); {
			select {
			case <-ctx.Done():
			case <-time.After(step):
			}
		}
	}()
	return ctx
}

// run captures random files until the time is up, in both passes, by several goroutines.
func (y *tally) run(ctx context.Context, t *testing.T, c *live.Capturer, dirfd int, names []string, seed uint64) {
	var wg sync.WaitGroup
	for i := range 40 { // most of them wait
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil {
				name := names[rnd.IntN(len(names))]
				data, r, err := capture(ctx, c, dirfd, name, live.First)
				if errors.Is(err, live.ErrLater) {
					y.add("put off")
					data, r, err = capture(ctx, c, dirfd, name, live.Second)
				}
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("capture %s: %v", name, err)
					return
				}
				y.judge(t, name, data, r)
			}
		})
	}
	wg.Wait()
}

func (y *tally) judge(t *testing.T, name string, data []byte, r live.Result) {
	kind, _, _ := strings.Cut(name, "-")
	v := judge(kind, data)
	y.add(fmt.Sprintf("%v %v %s: %s", r.State, r.Method, kind, v))
	switch {
	case (r.State == snapshot.Whole) != (r.Reason == ""):
		t.Errorf("%s: %v with the reason %q", name, r.State, r.Reason)
	case r.Method == snapshot.MethodUnproven: // and said so
	case r.State == snapshot.Whole && !allowed(kind, r.Method, v):
		t.Errorf("%s: called whole by %v, but is %s", name, r.Method, v)
	case r.State == snapshot.Appended && (v == torn || v == between || v == empty):
		t.Errorf("%s: called appended, but is %s", name, v)
	}
}

// TestLadder captures files that are being saved all the time, by all rungs and in both passes, and believes only what
// the files say of themselves. A reader that looks before and after, as other tools do, must be caught at the same files.
func TestLadder(t *testing.T) {
	span := 4 * time.Second
	if testing.Short() {
		span = time.Second
	}
	naive := new(tally)
	for _, disk := range disks {
		t.Run(disk, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			dir := mount(t, disk)
			names := startWriters(t, dir, 4, seed)
			dirfd := openDir(t, dir)
			c := newCapturer(t, live.Options{Settle: time.Hour, Reread: 1 << 40})
			y := new(tally)
			ctx := lasting(t, span, func() bool {
				switch disk {
				case "overlay":
					return true
				case "ext4": // the first one, where the naive reader is sure to be caught at last
					return y.has("whole lease") && y.has("whole stable") && naive.has("torn")
				case "xfs", "btrfs":
					return y.has("whole lease") && y.has("whole reflink")
				}
				return y.has("whole lease")
			})
			var wg sync.WaitGroup
			for i := range uint64(6) {
				wg.Go(func() { naive.runNaive(ctx, dir, names, seed+i) })
			}
			y.run(ctx, t, c, dirfd, names, seed)
			wg.Wait()
			y.log(t)
			unproven := y.with("whole unproven") + y.with("torn unproven") + y.with("appended unproven")
			if disk == "overlay" && y.with("") != y.with("put off")+unproven {
				t.Error("something was called proven on overlay")
			}
			if disk != "overlay" && y.with("whole lease") == 0 {
				t.Error("nothing was captured by lease")
			}
			if (disk == "xfs" || disk == "btrfs") && y.with("whole reflink") == 0 {
				t.Error("nothing was captured by reflink")
			}
			if disk == "ext4" && y.with("whole stable") == 0 {
				t.Error("nothing was captured by two looks")
			}
		})
	}
	naive.log(t)
	if naive.with("") > 0 && naive.with("torn") == 0 {
		t.Error("a reader without protection was not caught: this test proves nothing")
	}
}

// runNaive reads files as many tools do, and counts what it would have called whole.
func (y *tally) runNaive(ctx context.Context, dir string, names []string, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 99))
	for ctx.Err() == nil {
		name := names[rnd.IntN(len(names))]
		data, ok := readNaively(filepath.Join(dir, name))
		if kind, _, _ := strings.Cut(name, "-"); ok {
			if v := judge(kind, data); !allowed(kind, snapshot.MethodStable, v) {
				y.add(fmt.Sprintf("%s %s by looking before and after", v, kind))
			} else {
				y.add("whole")
			}
		}
	}
}

func readNaively(path string) ([]byte, bool) {
	file, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer file.Close()
	var a, b unix.Stat_t
	if unix.Fstat(int(file.Fd()), &a) != nil {
		return nil, false
	}
	data, err := readAll(file)
	if err != nil || unix.Fstat(int(file.Fd()), &b) != nil {
		return nil, false
	}
	return data, a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim && int64(len(data)) == b.Size
}

const bigLen = 64 << 20

// writeBig overwrites a file in one write that takes long, each time it is told.
func writeBig(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	data := make([]byte, bigLen)
	in := bufio.NewScanner(os.Stdin)
	for gen := uint64(1); gen == 1 || in.Scan(); gen++ {
		for i := 0; i < bigLen; i += blockLen {
			binary.LittleEndian.PutUint64(data[i:], gen)
		}
		if _, err := file.WriteAt(data, 0); err != nil {
			return err
		}
		if gen == 1 {
			fmt.Println("ready")
		}
	}
	return nil
}

// TestWriteInFlight captures a file whose ctime was set when a write began that is still going on.
func TestWriteInFlight(t *testing.T) {
	count := 8
	if testing.Short() {
		count = 3
	}
	for _, disk := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(disk, func(t *testing.T) {
			dir := mount(t, disk)
			path := filepath.Join(dir, "big")
			writer := startRole(t, "big "+path)
			dirfd := openDir(t, dir)
			// The clock is ahead, so that a write that has gone on for 10 ms seems to be one that has ended long ago.
			c := newCapturer(t, live.Options{Now: func() time.Time { return time.Now().Add(190 * time.Millisecond) }})
			y := new(tally)
			for range count {
				var before, now unix.Stat_t
				err := unix.Lstat(path, &before)
				writer.tell("write")
				for now = before; now.Ctim == before.Ctim && err == nil; {
					err = unix.Lstat(path, &now)
				}
				if err != nil {
					t.Fatal(err)
				}
				f, err := c.Open(t.Context(), dirfd, "big", live.First)
				for errors.Is(err, live.ErrLater) {
					f, err = c.Open(t.Context(), dirfd, "big", live.First)
				}
				if err != nil {
					t.Fatal(err)
				}
				data := make([]byte, bigLen)
				if _, err := io.ReadFull(f, data); err != nil {
					t.Fatal(err)
				}
				r, err := f.Finish(t.Context())
				f.Close()
				if err != nil {
					t.Fatal(err)
				}
				v := judgeOrder(data, blockLen, func(b []byte, _ uint64) (uint64, bool) {
					return binary.LittleEndian.Uint64(b), true
				})
				y.add(fmt.Sprintf("%v %v: %s", r.State, r.Method, v))
				if r.State != snapshot.Whole || r.Later || v != complete {
					t.Errorf("is %s, and the result is %+v", v, r)
				}
			}
			y.log(t)
		})
	}
}

// TestLeaseAlone lets the clock run an hour ahead, so that every file seems to be at rest and a lease is asked for at any
// moment. What is captured by lease must be complete all the same.
func TestLeaseAlone(t *testing.T) {
	span := 2 * time.Second
	if testing.Short() {
		span = 500 * time.Millisecond
	}
	for _, disk := range []string{"ext4", "xfs", "btrfs", "tmpfs"} {
		t.Run(disk, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			dir := mount(t, disk)
			names := startWriters(t, dir, 2, seed)
			names = slices.DeleteFunc(names, func(name string) bool {
				return strings.HasPrefix(name, "held") || strings.HasPrefix(name, "append") || strings.HasPrefix(name, "mmap")
			})
			dirfd := openDir(t, dir)
			c := newCapturer(t, live.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
			y := new(tally)
			ctx := lasting(t, span, func() bool { return y.has("whole lease") })
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(i)))
					for ctx.Err() == nil {
						name := names[rnd.IntN(len(names))]
						data, r, err := capture(ctx, c, dirfd, name, live.First)
						switch {
						case errors.Is(err, live.ErrLater):
							y.add("put off")
						case err != nil && ctx.Err() == nil:
							t.Errorf("capture %s: %v", name, err)
							return
						case err == nil && r.Method == snapshot.MethodLease:
							y.judge(t, name, data, r)
						default:
							y.add("not by lease")
						}
					}
				})
			}
			wg.Wait()
			y.log(t)
			if y.with("whole lease") == 0 {
				t.Error("nothing was captured by lease")
			}
		})
	}
}
