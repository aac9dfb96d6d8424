package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tarn-backup/tarn/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%v: install %s", err, program)
	}
	return path
}

func TestMeasure(t *testing.T) {
	sh := need(t, "sh")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	u, err := bench.Measure(t.Context(), bench.Command{Args: []string{sh, "-c", `cat "$0" | wc -c; cat "$0"; echo $GREETING`, file}, Env: []string{"GREETING=hello"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(out.Bytes(), []byte("hello\n")) || out.Len() < 3<<20 {
		t.Errorf("%d bytes of output", out.Len())
	}
	if u.Seconds <= 0 {
		t.Errorf("took %v s", u.Seconds)
	}
	if runtime.GOOS == "linux" {
		if u.Read < 6<<20 || u.Written < 6<<20 || u.Memory == 0 || u.MemoryFloor == 0 { // the shell waits for both cats
			t.Errorf("read %d, wrote %d, memory %d (at least %d)", u.Read, u.Written, u.Memory, u.MemoryFloor)
		}
	}
}

func TestMeasureFails(t *testing.T) {
	sh := need(t, "sh")
	_, err := bench.Measure(t.Context(), bench.Command{Args: []string{sh, "-c", "echo why >&2; exit 7"}})
	if err == nil || !strings.Contains(err.Error(), "exit status 7: why") {
		t.Errorf("%v", err)
	}
	if _, err := bench.Measure(t.Context(), bench.Command{Args: []string{filepath.Join(t.TempDir(), "none")}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestMeasureEnds(t *testing.T) {
	sh := need(t, "sh")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := bench.Measure(ctx, bench.Command{Args: []string{sh, "-c", "echo ready; exec sleep 1000"}, Stdout: onWrite(cancel)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// onWrite is called at each write.
type onWrite func()

func (f onWrite) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestPipe(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "small": 100, "segment": 2 << 20, "large": 3<<20 + 17} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("large", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	done, err := bench.Pipe(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(100 + 2<<20 + 3<<20 + 17); done.Files != 4 || done.Read != want || done.Packed == 0 || done.Packed > want/10 {
		t.Errorf("%+v", done)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bench.Pipe(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestIndexGrowth(t *testing.T) {
	for _, blobs := range []int{1, 499, 1000, 5003} {
		for _, as := range []string{bench.IndexInCache, bench.IndexInMap} {
			dir := t.TempDir()
			if err := bench.FillIndex(t.Context(), dir, blobs); err != nil {
				t.Fatal(err)
			}
			g, err := bench.MeasureIndex(as, dir, blobs)
			if err != nil || g.Blobs != blobs || g.Hits <= 0 || g.Misses <= 0 {
				t.Errorf("%d blobs in a %s: %+v, %v", blobs, as, g, err)
			}
		}
	}
	if _, err := bench.MeasureIndex(bench.IndexInCache, t.TempDir(), 10); err == nil {
		t.Error("an empty cache will do")
	}
}

// sampleReport has two tools, three rounds, and one failure.
func sampleReport() *bench.Report {
	r := &bench.Report{Runs: 3, Machine: bench.Machine{Processor: "a processor", Processors: 2},
		Tools:     []bench.Tool{{Name: "tarn", Version: "1"}, {Name: "other", Version: "2", About: "<otherwise>"}},
		Workloads: []bench.WorkloadInfo{{Name: "w", About: "files", Files: 10, Bytes: 1 << 20}, {Name: "files-1000", Files: 1000}, {Name: "files-10000", Files: 10000}}}
	for round, seconds := range []float64{3, 1, 2} {
		for i, tool := range []string{"tarn", "other"} {
			for _, w := range r.Workloads {
				r.Measured = append(r.Measured, bench.Measurement{Workload: w.Name, Tool: tool, Step: bench.First, Round: round,
					Usage: bench.Usage{Seconds: seconds * float64(i+1), Memory: 50 << 20}, Repository: 1 << 20})
			}
		}
	}
	r.Measured = append(r.Measured, bench.Measurement{Workload: "w", Tool: "other", Step: bench.Check, Round: 1, Error: "it broke"})
	r.Growth = []bench.Growth{{As: bench.IndexInCache, Blobs: 1000, OpenSeconds: .001, Hits: 3e6}, {As: bench.IndexInCache, Blobs: 10000, OpenSeconds: .002, Hits: 2e6}}
	return r
}

func TestSummary(t *testing.T) {
	r := sampleReport()
	if got := r.Summary("w", "other", bench.First, bench.Seconds); got != (bench.Summary{Median: 4, Min: 2, Max: 6, Count: 3}) {
		t.Errorf("%+v", got)
	}
	if got := r.Summary("w", "other", bench.Check, bench.Seconds); got.Count != 0 {
		t.Errorf("what failed counts: %+v", got)
	}
}

func TestTableAndJSON(t *testing.T) {
	data, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	r, err := bench.ReadReport(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.00 (1.00-3.00)", "4.00 (2.00-6.00)", "failed: other, check, round 2: it broke", "medians of 3", "repository MiB"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if _, err := bench.ReadReport(strings.NewReader("[]")); err == nil {
		t.Error("a list is no report")
	}
}

func TestMerge(t *testing.T) {
	r, o := sampleReport(), sampleReport()
	o.Workloads[0].Name = "another"
	for i := range o.Measured {
		if o.Measured[i].Workload == "w" {
			o.Measured[i].Workload = "another"
		}
	}
	before := len(r.Measured)
	r.Merge(o)
	if len(r.Workloads) != 4 || len(r.Tools) != 2 || len(r.Measured) != before+7 {
		t.Errorf("%d workloads, %d tools, %d more measurements", len(r.Workloads), len(r.Tools), len(r.Measured)-before)
	}
}

func TestStepsAndWorkloads(t *testing.T) {
	for _, s := range bench.Steps() {
		if got, err := bench.ParseStep(string(s)); err != nil || got != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if _, err := bench.ParseStep("second"); err == nil {
		t.Error("second is no step")
	}
	_, err := bench.Run(t.Context(), bench.Options{Dir: t.TempDir(), Peers: []string{"tape"}, Runs: 1, Self: os.Args[0], Say: t.Logf})
	if err == nil || !strings.Contains(err.Error(), `peer "tape" is unknown`) {
		t.Errorf("%v", err)
	}
}
