package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Plan says what to try.
type Plan struct {
	Workload               // its Dir is a folder in which folders are made and removed
	Scratch  string        // a folder for repositories and restored copies
	Runs     int           // backups of each tool, each of another workload
	Before   time.Duration // how long the programs work before the backup begins; longer if none has saved anything by then
}

// Result is what the runs of one tool came to.
type Result struct {
	Tool      string        `json:"tool"`
	Runs      int           `json:"runs"`
	Seconds   float64       `json:"seconds"` // of one backup, on the average
	Idle      Latency       `json:"saves_idle"`
	Busy      Latency       `json:"saves_during_backup"`
	Latencies []Latencies   `json:"saves_of_runs"`     // of each run
	Refused   []string      `json:"refused,omitempty"` // saves that failed
	took      time.Duration // all backups
	idle      []time.Duration
	busy      []time.Duration
	Findings
}

// Latencies says how long the saves of one run took, before and during the backup.
type Latencies struct {
	Idle   Latency `json:"idle"`
	Backup Latency `json:"backup"`
}

// Latency says how long saves took.
type Latency struct {
	Saves  int     `json:"saves"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
	Most   float64 `json:"most_ms"`
}

// Run tries one tool.
func (p *Plan) Run(ctx context.Context, tool Tool) (*Result, error) {
	r := &Result{Tool: tool.Name(), Runs: p.Runs}
	for n := range p.Runs {
		if err := p.once(ctx, tool, n, r); err != nil {
			return nil, fmt.Errorf("%s, run %d: %w", tool.Name(), n+1, err)
		}
	}
	r.Seconds = r.took.Seconds() / float64(max(p.Runs, 1))
	r.Idle, r.Busy = latencyOf(r.idle), latencyOf(r.busy)
	return r, nil
}

// once makes a workload, backs it up, restores it and looks at what came back.
func (p *Plan) once(ctx context.Context, tool Tool, n int, r *Result) (err error) {
	work := p.Workload
	if work.Dir, err = os.MkdirTemp(p.Dir, "inuse-"); err != nil {
		return err
	}
	defer os.RemoveAll(work.Dir)
	scratch, err := os.MkdirTemp(p.Scratch, "inuse-scratch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	repo, target := filepath.Join(scratch, "repo"), filepath.Join(scratch, "target")
	if err := errors.Join(os.Mkdir(repo, 0o755), os.Mkdir(target, 0o755)); err != nil {
		return err
	}
	work.Seed += uint64(n)
	running, err := work.Start(ctx)
	if err != nil {
		return err
	}
	took, err := p.during(ctx, tool, running, repo, work.Dir)
	if saveErr := running.Stop(); saveErr != nil {
		r.Refused = append(r.Refused, saveErr.Error())
	}
	if err != nil {
		return err
	}
	r.took += took
	idle, busy := running.Saves(Idle), running.Saves(Backup)
	r.idle, r.busy = append(r.idle, idle...), append(r.busy, busy...)
	r.Latencies = append(r.Latencies, Latencies{latencyOf(idle), latencyOf(busy)})
	marked, err := tool.Marked(ctx, repo, work.Dir)
	if err != nil {
		return err
	}
	back, err := tool.Restore(ctx, repo, work.Dir, target)
	if err != nil {
		return err
	}
	found, err := work.Check(ctx, back, marked)
	r.Add(found)
	return err
}

// during makes the backup while the programs work.
func (p *Plan) during(ctx context.Context, tool Tool, running *Running, repo, dir string) (time.Duration, error) {
	if err := running.Work(ctx, p.Before); err != nil {
		return 0, err
	}
	running.Enter(Backup)
	defer running.Enter(Idle)
	begin := time.Now()
	err := tool.Backup(ctx, repo, dir)
	return time.Since(begin), err
}

// latencyOf sums up the times that saves took.
func latencyOf(all []time.Duration) Latency {
	l := Latency{Saves: len(all)}
	if len(all) == 0 {
		return l
	}
	slices.Sort(all)
	ms := func(i int) float64 { return float64(all[i]) / float64(time.Millisecond) }
	l.Median, l.P99, l.Most = ms(len(all)/2), ms(len(all)*99/100), ms(len(all)-1)
	return l
}
