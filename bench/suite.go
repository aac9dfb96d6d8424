package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Options say what to measure.
type Options struct {
	Self      string   // tarn
	Dir       string   // where workloads and repositories are made
	Workloads []string // names, or folders
	Peers     []string // beside tarn; those that are not installed are told of and left out
	Steps     []Step   // none: all
	Runs      int      // rounds
	Say       func(format string, args ...any)
}

// suite is one run.
type suite struct {
	Options
	report  *Report
	peers   []Peer // the references at the end
	targets *targets
}

// Run takes all programs through all steps. When ctx ends the report has what was measured until then.
func Run(ctx context.Context, o Options) (*Report, error) {
	s := &suite{Options: o, report: newReport(o)}
	if len(s.Steps) == 0 {
		s.Steps = Steps()
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	describeMachine(&s.report.Machine, o.Dir)
	if err := s.findPeers(ctx); err != nil {
		return nil, err
	}
	if slices.Contains(s.Steps, Restore) {
		var err error
		if s.targets, err = newTargets(ctx, filepath.Join(o.Dir, "targets")); err != nil {
			return nil, err
		}
		defer s.targets.close()
		s.report.Machine.Targets = s.targets.about()
	}
	for _, name := range o.Workloads {
		if err := s.workload(ctx, name); err != nil {
			return s.report, err
		}
	}
	return s.report, nil
}

func (s *suite) findPeers(ctx context.Context) error {
	known := Peers(s.Self)
	for _, name := range s.Peers {
		if !slices.ContainsFunc(known, func(p Peer) bool { return p.Name == name }) {
			return fmt.Errorf("peer %q is unknown: restic, borg, kopia and rustic are known", name)
		}
	}
	for _, p := range append(known, references(s.Self)...) {
		if p.init != nil && p.Name != "tarn" && !slices.Contains(s.Peers, p.Name) {
			continue
		}
		t, err := p.find(ctx, s.Dir)
		if err != nil && (p.Name == "tarn" || ctx.Err() != nil) {
			return err
		}
		if err != nil { // it is not there, or does not even say its version
			s.Say("%v: going on without it", err)
			continue
		}
		s.report.Tools = append(s.report.Tools, t)
		s.peers = append(s.peers, p)
	}
	return nil
}

func (s *suite) workload(ctx context.Context, name string) error {
	w, err := workloadOf(name)
	if err != nil {
		return err
	}
	s.Say("preparing %s: %s", w.Name, w.About)
	p, err := prepare(ctx, w, s.Dir)
	if err != nil {
		return err
	}
	s.report.Workloads = append(s.report.Workloads, WorkloadInfo{Name: p.Name, About: p.About, Files: p.Files, Bytes: p.Bytes, Changes: p.Changes})
	for round := range s.Runs {
		if err := s.round(ctx, p, round); err != nil {
			return fmt.Errorf("workload %s: %w", p.Name, err)
		}
	}
	return p.restart()
}

// round takes every program through the steps once, the next one first in each round.
func (s *suite) round(ctx context.Context, p *Prepared, number int) error {
	if err := errors.Join(p.restart(), p.rest(ctx)); err != nil {
		return err
	}
	work := filepath.Join(s.Dir, "run")
	defer removeAll(work)
	var rounds []*round
	for i := range s.peers {
		peer := &s.peers[(i+number)%len(s.peers)]
		dir := filepath.Join(work, peer.Name)
		rounds = append(rounds, &round{suite: s, peer: peer, workload: p, number: number,
			place: place{Source: p.Tree, Repo: filepath.Join(dir, "repo"), Cache: filepath.Join(dir, "cache"), Mount: filepath.Join(dir, "mnt")}})
	}
	for _, r := range rounds {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	if err := inTurn(ctx, rounds, First, Unchanged); err != nil {
		return err
	}
	if err := s.changes(ctx, p, rounds); err != nil {
		return err
	}
	return inTurn(ctx, rounds, Restore, MountFind, MountTar, Check, Prune)
}

// inTurn has all programs take one step before they take the next one, so that what is compared was measured at about the same time.
func inTurn(ctx context.Context, rounds []*round, steps ...Step) error {
	for _, step := range steps {
		for _, r := range rounds {
			if err := r.step(ctx, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// changes changes the workload, and lets all programs back up what came of it.
func (s *suite) changes(ctx context.Context, p *Prepared, rounds []*round) error {
	if !slices.Contains(s.Steps, Changed) {
		return nil
	}
	for n := 1; n <= p.Changes; n++ {
		if err := p.next(ctx, n); err != nil {
			return fmt.Errorf("change it: %w", err)
		}
		if err := p.rest(ctx); err != nil {
			return err
		}
		if err := inTurn(ctx, rounds, Changed); err != nil {
			return err
		}
	}
	return nil
}

// round is one program's way through the steps.
type round struct {
	*suite
	peer     *Peer
	workload *Prepared
	number   int
	place    place
	failed   bool // a step failed, so that those after it have nothing to work with
}

func (r *round) begin(ctx context.Context) error {
	if err := os.MkdirAll(r.place.Cache, 0o755); err != nil || r.peer.init == nil {
		return err
	}
	_, err := r.calls(ctx, r.peer.init(r.place))
	if err != nil {
		r.note(ctx, Measurement{Step: First}, err)
	}
	return ctx.Err()
}

// step measures one step and notes what came of it. An error ends the run: a step that failed is none.
func (r *round) step(ctx context.Context, step Step) error {
	if r.failed || !slices.Contains(r.Steps, step) && step != First || !r.peer.can(step) {
		return ctx.Err()
	}
	if step == First || step == Unchanged || step == Changed {
		r.place.Number++
	}
	m := Measurement{Step: step}
	if err := os.MkdirAll(r.place.Mount, 0o755); err != nil {
		return err
	}
	var err error
	switch {
	case step == Restore:
		err = r.restore(ctx, &m)
	case r.peer.steps[step] != nil:
		err = r.take(ctx, step, &m)
	default:
		syncAll()
		m.Load = load()
		m.Usage, err = r.mounted(ctx, step)
	}
	if err == nil && r.peer.init != nil {
		_, size, counting := count(ctx, r.place.Repo)
		m.Repository, err = uint64(size), counting
	}
	r.note(ctx, m, err)
	return ctx.Err()
}

// take measures the command lines of a step. What was written before is on the disk by then, and the files are in memory: borg tells the system to
// forget what it has read.
func (r *round) take(ctx context.Context, step Step, m *Measurement) (err error) {
	if step != Unchanged {
		if err := r.workload.warm(ctx); err != nil {
			return err
		}
	}
	syncAll()
	m.Load = load()
	m.Usage, err = r.calls(ctx, r.peer.steps[step](r.place))
	return err
}

// restore is the step that needs a target. It counts only if everything is there afterwards.
func (r *round) restore(ctx context.Context, m *Measurement) error {
	target, end, err := r.targets.open(ctx, r.workload.Files, r.workload.Bytes)
	if err != nil {
		return fmt.Errorf("make a target: %w", err)
	}
	r.place.Target = target
	if err = r.take(ctx, Restore, m); err == nil {
		err = r.compare(ctx)
	}
	return errors.Join(err, end())
}

// calls runs command lines one after the other.
func (r *round) calls(ctx context.Context, list []call) (sum Usage, err error) {
	for _, c := range list {
		cmd := Command{Args: append([]string{r.peer.program}, c.args...), Env: r.peer.env(r.place), Dir: c.in}
		if c.piped {
			cmd.Stdout = discard{}
		}
		u, err := Measure(ctx, cmd)
		sum.add(u)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// discard is none that a process could be given as it is: what is written comes through a pipe.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// compare counts what was restored.
func (r *round) compare(ctx context.Context) error {
	wantFiles, wantBytes, err := count(ctx, r.place.Source)
	if err != nil {
		return err
	}
	gotFiles, gotBytes, err := count(ctx, r.place.Target)
	if err == nil && (gotFiles != wantFiles || gotBytes != wantBytes) {
		err = fmt.Errorf("restored %d files of %d bytes, want %d of %d", gotFiles, gotBytes, wantFiles, wantBytes)
	}
	return err
}

func (r *round) note(ctx context.Context, m Measurement, err error) {
	if ctx.Err() != nil {
		return
	}
	m.Workload, m.Tool, m.Round = r.workload.Name, r.peer.Name, r.number
	if err != nil {
		m.Error = err.Error()
		r.failed = m.Step == First || m.Step == Unchanged || m.Step == Changed
		r.Say("%s, %s, round %d: %s failed: %v", m.Workload, m.Tool, m.Round+1, m.Step, err)
	} else {
		r.Say("%s, %s, round %d: %s took %.2f s", m.Workload, m.Tool, m.Round+1, m.Step, m.Seconds)
	}
	r.report.add(m)
}

// removeAll removes a folder; restored folders may be read-only.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700) // an error comes up again below
		}
		return nil
	})
	os.RemoveAll(dir) // at worst it stays until the next run
}
