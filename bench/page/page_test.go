package page_test

import (
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/bench"
	"github.com/tarn-backup/tarn/bench/page"
)

func TestWrite(t *testing.T) {
	r := &bench.Report{Runs: 1, Tools: []bench.Tool{{Name: "tarn", About: "<script>alert(1)</script>"}, {Name: "find"}},
		Workloads: []bench.WorkloadInfo{{Name: "w", Files: 3}, {Name: "files-1000"}, {Name: "files-10000"}},
		Growth:    []bench.Growth{{As: bench.IndexInCache, Blobs: 1000, OpenSeconds: 1, Hits: 1}, {As: bench.IndexInCache, Blobs: 100000, OpenSeconds: 2, Hits: 1}}}
	for _, w := range r.Workloads {
		m := bench.Measurement{Workload: w.Name, Tool: "tarn", Step: bench.First, Repository: 1 << 20}
		m.Seconds, m.Usage.Memory = 2, 1<<20
		r.Measured = append(r.Measured, m)
	}
	var b strings.Builder
	if err := page.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if n := strings.Count(text, "<svg"); n != 3+2+3 { // bars of w; time and memory by files; of the index
		t.Errorf("%d plots", n)
	}
	if strings.Contains(text, "<script>") || strings.Contains(text, "<?xml") || !strings.Contains(text, "10,000") {
		t.Error("the page is not as it should be")
	}
	for _, loads := range []string{"<img", "<link", " src=", "url(", "@import"} {
		if strings.Contains(text, loads) {
			t.Errorf("the page has %q", loads)
		}
	}
	if err := page.Write(&b, &bench.Report{}); err != nil {
		t.Errorf("empty report: %v", err)
	}
}
