package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/source/fssnap/fssnaptest"
)

// TestKilledWhileHeld kills whole backups with SIGKILL at moments when a file system snapshot is in place. The next backup must remove what is
// left of them, and nothing else. TARN_SOAK=1 makes it 50 moments; TARN_TEST_KILLS another number.
func TestKilledWhileHeld(t *testing.T) {
	moments := 5
	if os.Getenv("TARN_SOAK") != "" {
		moments = 50
	}
	moments = fssnaptest.Kills(t, moments)
	t.Run("btrfs", func(t *testing.T) {
		point := btrfsDisk(t, 512<<20)
		own := filepath.Join(point, "own")
		fssnaptest.Run(t, "btrfs", "subvolume", "create", own)
		fssnaptest.Run(t, "btrfs", "subvolume", "snapshot", "-r", own, filepath.Join(point, "tarn-my-own"))
		killWhileHeld(t, point, moments, func() (names []string) {
			for line := range strings.Lines(fssnaptest.Run(t, "btrfs", "subvolume", "list", point)) {
				names = append(names, line[strings.LastIndexByte(line, ' ')+1:])
			}
			return names
		})
	})
	for _, l := range volumeLayouts {
		t.Run("lvm "+l.String(), func(t *testing.T) {
			point := l.mount(t)
			killWhileHeld(t, point, moments, func() []string { return volumes(t) })
		})
	}
}

// killWhileHeld kills backups of a folder until so many have left something. list names all snapshots, the user's own ones included.
func killWhileHeld(t *testing.T, point string, moments int, list func() []string) {
	tarn := newProgram(t)
	work := filepath.Join(point, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 20 {
		data := make([]byte, 100_000)
		for k := range data {
			data[k] = byte(random.Uint32())
		}
		if err := os.WriteFile(filepath.Join(work, fmt.Sprint(i)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := list()
	begin := time.Now()
	tarn.must("backup", "--fs-snapshot", "required", work)
	whole := time.Since(begin)
	if got := list(); !slices.Equal(got, before) {
		t.Fatalf("a backup that ended by itself left something: %q, before %q", got, before)
	}
	kills, left := 0, 0
	for ; left < moments; kills++ {
		if kills == 20*moments+80 { // about one in four leaves something, and by chance none of twenty may
			t.Fatalf("only %d of %d killed backups left something", left, kills)
		}
		cmd := tarn.command("backup", "--force", "--fs-snapshot", "required", work)
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(random.Int64N(int64(whole)))
		timer := time.AfterFunc(moment, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			whole = time.Since(begin) // the machine may be faster or slower now
		}
		if slices.Equal(list(), before) {
			continue
		}
		left++
		t.Logf("killed after %v of %v: something is left, %d of %d", moment.Round(time.Millisecond), whole.Round(time.Millisecond), left, moments)
		said := tarn.must("backup", "--force", "--fs-snapshot", "required", work)
		if got := list(); !slices.Equal(got, before) {
			t.Fatalf("after the next backup there are %q, want %q\n%s", got, before, said)
		}
		if !strings.Contains(said, "removed the snapshot ") {
			t.Errorf("it does not say that it removed something:\n%s", said)
		}
	}
	t.Logf("%d backups killed, %d of them left something, and the next one removed it", kills, left)
	tarn.must("check", "--read-data")
}
