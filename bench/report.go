package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what was measured, one by one.
type Report struct {
	Time      time.Time      `json:"time"`
	Runs      int            `json:"runs"`
	Machine   Machine        `json:"machine"`
	Tools     []Tool         `json:"tools"`
	Workloads []WorkloadInfo `json:"workloads"`
	Measured  []Measurement  `json:"measured"`
	Growth    []Growth       `json:"growth,omitempty"` // of the index, by number of blobs
}

// Machine is where it was measured.
type Machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Memory     uint64 `json:"memory_bytes"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Targets    string `json:"targets,omitempty"` // what each restore is given
}

// WorkloadInfo describes a workload as it was when it was measured.
type WorkloadInfo struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
	Changes int    `json:"changes"`
}

// Measurement is what one step took one program, once.
type Measurement struct {
	Workload string `json:"workload"`
	Tool     string `json:"tool"`
	Step     Step   `json:"step"`
	Round    int    `json:"round"`
	Usage
	Repository uint64  `json:"repository_bytes,omitempty"` // after the step
	Load       float64 `json:"load"`                       // of the machine before the step, in the minute before
	Error      string  `json:"error,omitempty"`
}

func newReport(o Options) *Report {
	return &Report{Time: time.Now().UTC(), Runs: o.Runs, Machine: Machine{Processors: runtime.NumCPU()}}
}

// add notes a measurement. Several changes in one round are one step.
func (r *Report) add(m Measurement) {
	for i := range r.Measured {
		old := &r.Measured[i]
		if old.Workload == m.Workload && old.Tool == m.Tool && old.Step == m.Step && old.Round == m.Round {
			old.Usage.add(m.Usage)
			old.Repository, old.Error = m.Repository, m.Error
			return
		}
	}
	r.Measured = append(r.Measured, m)
}

// Merge adds what another report has measured on the same machine.
func (r *Report) Merge(o *Report) {
	for _, t := range o.Tools {
		if !slices.ContainsFunc(r.Tools, func(have Tool) bool { return have.Name == t.Name }) {
			r.Tools = append(r.Tools, t)
		}
	}
	for _, w := range o.Workloads {
		if !slices.ContainsFunc(r.Workloads, func(have WorkloadInfo) bool { return have.Name == w.Name }) {
			r.Workloads = append(r.Workloads, w)
			for _, m := range o.Measured {
				if m.Workload == w.Name {
					r.Measured = append(r.Measured, m)
				}
			}
		}
	}
	if r.Machine.Targets == "" {
		r.Machine.Targets = o.Machine.Targets
	}
	r.Growth = append(r.Growth, o.Growth...)
}

// ReadReports reads files that each hold a report of the same machine, as one report.
func ReadReports(paths []string) (all *Report, err error) {
	for _, path := range paths {
		r, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if all == nil {
			all = r
		} else {
			all.Merge(r)
		}
	}
	return all, nil
}

func readFile(path string) (*Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadReport(f)
}

// ReadReport reads what json.Marshal wrote.
func ReadReport(in io.Reader) (*Report, error) {
	const reportMax = 64 << 20
	r := new(Report)
	if err := json.NewDecoder(io.LimitReader(in, reportMax)).Decode(r); err != nil {
		return nil, fmt.Errorf("read a report: %w", err)
	}
	return r, nil
}

// Summary is the middle of several numbers, and the ends.
type Summary struct {
	Median, Min, Max float64
	Count            int
}

func summarize(values []float64) (s Summary) {
	n := len(values)
	if n == 0 {
		return s
	}
	slices.Sort(values)
	s = Summary{Median: values[n/2], Min: values[0], Max: values[n-1], Count: n}
	if n%2 == 0 {
		s.Median = (values[n/2-1] + values[n/2]) / 2
	}
	return s
}

// Metric is one number of a measurement.
type Metric func(*Measurement) float64

// The metrics that are shown.
func Seconds(m *Measurement) float64    { return m.Seconds }
func CPUSeconds(m *Measurement) float64 { return m.CPUSeconds }
func Memory(m *Measurement) float64     { return float64(m.Usage.Memory) }
func Read(m *Measurement) float64       { return float64(m.Usage.Read) }
func Written(m *Measurement) float64    { return float64(m.Usage.Written) }
func Repository(m *Measurement) float64 { return float64(m.Repository) }

// Summary is a metric over all rounds in which the step went well.
func (r *Report) Summary(workload, tool string, step Step, metric Metric) Summary {
	var values []float64
	for i := range r.Measured {
		m := &r.Measured[i]
		if m.Workload == workload && m.Tool == tool && m.Step == step && m.Error == "" {
			values = append(values, metric(m))
		}
	}
	return summarize(values)
}

// measured are the tools that did a step of a workload.
func (r *Report) measured(workload string, step Step) (names []string) {
	for _, t := range r.Tools {
		if r.Summary(workload, t.Name, step, Seconds).Count > 0 {
			names = append(names, t.Name)
		}
	}
	return names
}

// Row is a line of a report: what some tools took for a step.
type Row struct {
	Step  Step
	What  string
	Cells []Summary // in the order of the columns
	Text  []string
}

// Table is what was measured of a workload.
type Table struct {
	Workload WorkloadInfo
	Columns  []string // tools
	Rows     []Row
	Errors   []string
}

// Tables are the report as tables, one for each workload.
func (r *Report) Tables() (tables []Table) {
	for _, w := range r.Workloads {
		t := Table{Workload: w}
		for _, tool := range r.Tools {
			if slices.ContainsFunc(Steps(), func(s Step) bool { return slices.Contains(r.measured(w.Name, s), tool.Name) }) {
				t.Columns = append(t.Columns, tool.Name)
			}
		}
		for _, step := range Steps() {
			t.addRow(r, step, "s", Seconds, secondsText)
			t.addRow(r, step, "CPU s", CPUSeconds, shortSeconds)
			t.addRow(r, step, "peak MiB", Memory, mebibytes)
			t.addRow(r, step, "read MiB", Read, mebibytes)
			t.addRow(r, step, "written MiB", Written, mebibytes)
			if step == First || step == Changed || step == Prune {
				t.addRow(r, step, "repository MiB", Repository, mebibytes)
			}
		}
		for i := range r.Measured {
			if m := &r.Measured[i]; m.Workload == w.Name && m.Error != "" {
				t.Errors = append(t.Errors, fmt.Sprintf("%s, %s, round %d: %s", m.Tool, m.Step, m.Round+1, m.Error))
			}
		}
		tables = append(tables, t)
	}
	return tables
}

// addRow adds a line unless it has nothing but zeros.
func (t *Table) addRow(r *Report, step Step, what string, metric Metric, text func(Summary) string) {
	row := Row{Step: step, What: what}
	any := false
	for _, tool := range t.Columns {
		s := r.Summary(t.Workload.Name, tool, step, metric)
		row.Cells = append(row.Cells, s)
		if s.Count == 0 || s.Max == 0 {
			row.Text = append(row.Text, "")
			continue
		}
		row.Text = append(row.Text, text(s))
		any = true
	}
	if any {
		t.Rows = append(t.Rows, row)
	}
}

func secondsText(s Summary) string {
	if s.Count == 1 {
		return shortSeconds(s)
	}
	return fmt.Sprintf("%s (%s-%s)", threeDigits(s.Median), threeDigits(s.Min), threeDigits(s.Max))
}

func shortSeconds(s Summary) string { return threeDigits(s.Median) }

func mebibytes(s Summary) string { return threeDigits(s.Median / (1 << 20)) }

func threeDigits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// WriteTable writes the report for people: the median of each step, and in brackets the least and the most.
func (r *Report) WriteTable(out io.Writer) error {
	m := r.Machine
	fmt.Fprintf(out, "%s; %s, %d processors, %.1f GiB, %s, %s; medians of %d\n", r.Time.Format("2006-01-02 15:04"), m.Processor, m.Processors,
		float64(m.Memory)/(1<<30), m.Kernel, m.FileSystem, r.Runs)
	if m.Targets != "" {
		fmt.Fprintf(out, "each restore goes into %s\n", m.Targets)
	}
	for _, t := range r.Tools {
		fmt.Fprintf(out, "  %s: %s (%s)\n", t.Name, t.Version, t.About)
	}
	for _, t := range r.Tables() {
		fmt.Fprintf(out, "\n%s: %s; %d files, %.1f MiB\n", t.Workload.Name, t.Workload.About, t.Workload.Files, float64(t.Workload.Bytes)/(1<<20))
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(w, "\t\t%s\t\n", strings.Join(t.Columns, "\t"))
		for _, row := range t.Rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t\n", row.Step, row.What, strings.Join(row.Text, "\t"))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, e := range t.Errors {
			fmt.Fprintf(out, "failed: %s\n", e)
		}
	}
	return r.writeGrowth(out)
}

func (r *Report) writeGrowth(out io.Writer) error {
	if len(r.Growth) == 0 {
		return nil
	}
	fmt.Fprintf(out, "\nthe index, by number of blobs\n")
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "blobs\tkept in\topen ms\tmemory MiB\tmapped MiB\tM hits/s\tM misses/s\t\n")
	for _, g := range r.Growth {
		fmt.Fprintf(w, "%d\t%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t\n", g.Blobs, g.As, g.OpenSeconds*1000, float64(g.Anonymous)/(1<<20), float64(g.Mapped)/(1<<20),
			g.Hits/1e6, g.Misses/1e6)
	}
	return w.Flush()
}
