package bench_test

import (
	"context"
	"fmt"
	"os"

	"github.com/tarn-backup/tarn/bench"
)

func ExampleReport() {
	r := &bench.Report{Tools: []bench.Tool{{Name: "tarn"}}, Workloads: []bench.WorkloadInfo{{Name: "linux"}}}
	for round, seconds := range []float64{5.2, 5.0, 5.9} {
		m := bench.Measurement{Workload: "linux", Tool: "tarn", Step: bench.First, Round: round}
		m.Seconds = seconds
		r.Measured = append(r.Measured, m)
	}
	s := r.Summary("linux", "tarn", bench.First, bench.Seconds)
	fmt.Println(s.Median, s.Min, s.Max)
	// Output: 5.2 5 5.9
}

func ExamplePipe() {
	dir, err := os.MkdirTemp("", "pipe")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/file", make([]byte, 1000), 0o600); err != nil {
		fmt.Println(err)
	}
	done, err := bench.Pipe(context.Background(), dir)
	fmt.Println(done.Files, done.Read, err)
	// Output: 1 1000 <nil>
}
