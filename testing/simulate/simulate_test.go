package simulate_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/testing/simulate"
	"go.uber.org/goleak"
)

// TestMain lets all goroutines share a processor: one of them runs at a time, and handing over is cheap then.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(128 << 20)
	goleak.VerifyTestMain(m)
}

// How many seeds are run.
const (
	seedsUsual = 10_000
	seedsShort = 300
	seedsSoak  = 1_000_000
)

// template makes an empty repository.
func template(t *testing.T) (*repo.Repo, map[string][]byte) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 0) // the keys decide the order of names
	ctx := context.Background()
	s := memory.New()
	r, err := repo.Init(ctx, s, []byte("p"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Now: time.Unix(1, 0)})
	if err == nil {
		r, err = r.Short()
	}
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string][]byte{}
	err = s.List(ctx, "", func(name string, size int64) error {
		objects[name], err = storage.ReadAll(ctx, s, name, 1<<20)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, objects
}

// seeds are the first seed, and how many there are. TARN_SEED says with which to begin, TARN_SEEDS how many to run: one if only the
// first is given. So a long run can be cut into parts, and gone on with.
func seeds(t *testing.T) (first, n uint64) {
	t.Helper()
	number := func(variable string) (v uint64, ok bool) {
		v, err := strconv.ParseUint(os.Getenv(variable), 10, 64)
		return v, err == nil
	}
	first, n = 1, seedsUsual
	switch {
	case testing.Short():
		n = seedsShort
	case os.Getenv("TARN_SOAK") != "":
		n = seedsSoak
	}
	if v, ok := number("TARN_SEED"); ok {
		first, n = v, 1
	}
	if v, ok := number("TARN_SEEDS"); ok {
		n = v
	}
	return first, n
}

// run runs one seed, with all that is random decided by it.
func run(t *testing.T, r *repo.Repo, config map[string][]byte, seed uint64, o simulate.Options) (simulate.Report, error) {
	cryptotest.SetGlobalRandom(t, seed)
	return simulate.Run(t.Context(), r, config, seed, o)
}

// batch is how many seeds are one subtest, after which it is told how far the run has come.
const batch = 5000

// TestSeeds runs them all, and stops at the first that breaks a promise.
func TestSeeds(t *testing.T) {
	r, config := template(t)
	first, n := seeds(t)
	var sum simulate.Report
	for seed := first; seed < first+n; seed += batch {
		last := min(seed+batch, first+n) - 1
		ok := t.Run(fmt.Sprintf("%d-%d", seed, last), func(t *testing.T) {
			for seed := seed; seed <= last; seed++ {
				o := simulate.Options{Quiet: seed%5 == 0}
				if n == 1 {
					o.Log = func(line string) { t.Log(line) }
				}
				report, err := run(t, r, config, seed, o)
				if err != nil {
					t.Fatalf("%v\nto see it again: TARN_SEED=%d go test ./testing/simulate -run TestSeeds", err, seed)
				}
				sum.Add(report)
			}
			t.Logf("%d of %d seeds; so far %d operations, %d crashes, %d power cuts; the next part begins at TARN_SEED=%d",
				last-first+1, n, sum.Steps, sum.Crashes, sum.Cuts, last+1)
		})
		if !ok {
			return
		}
	}
	sum.Trace = 0
	t.Logf("seeds %d to %d: %+v", first, first+n-1, sum)
	if n >= seedsShort && (sum.Rescued == 0 || sum.PacksRemoved == 0 || sum.Crashes == 0 || sum.Cuts == 0 || sum.Late == 0 || sum.Evictions == 0 ||
		sum.Copies == 0 || sum.Checks == 0 || sum.Tags == 0) {
		t.Errorf("something never happens: %+v", sum)
	}
}

// TestReplay runs seeds twice: everything happens again.
func TestReplay(t *testing.T) {
	r, config := template(t)
	for seed := uint64(1); seed <= 20; seed++ {
		var reports [2]simulate.Report
		for i := range reports {
			var err error
			if reports[i], err = run(t, r, config, seed, simulate.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if reports[0] != reports[1] {
			t.Errorf("seed %d: %+v, then %+v", seed, reports[0], reports[1])
		}
	}
}

// TestForgetfulStorage: a storage that does not sync what it should is found out.
func TestForgetfulStorage(t *testing.T) {
	r, config := template(t)
	for what, forget := range map[string]crash.Forget{"files": crash.ForgetFile, "folders": crash.ForgetFolder} {
		found := false
		for seed := uint64(1); seed <= seedsUsual && !found; seed++ {
			_, err := run(t, r, config, seed, simulate.Options{Forget: forget})
			if found = err != nil; found {
				t.Logf("%s are not synced: %v", what, err)
			}
		}
		if !found {
			t.Errorf("%s are not synced, and nobody notices", what)
		}
	}
}
